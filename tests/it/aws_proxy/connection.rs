//! One connection: its requests, their answers, and whether those arrive.

use std::io::{self, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::Shared;
use super::course::{Course, Outcome};
use super::http::Message;
use super::link::{has_hung_up, has_reset, reset_when_closed};
use super::rule::{Chances, Fault};
use super::trace::{AnswerFate, Exchange};

impl Shared {
    /// Until either side has enough.
    pub fn serve(&self, client: &TcpStream) {
        // A reset is no news: the trace has it.
        let _ = self.serve_requests(client);
    }

    fn serve_requests(&self, client: &TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let mut from_client = BufReader::new(client);
        let mut last: Option<Arc<Exchange>> = None;
        loop {
            let request = match Message::read_request(&mut from_client) {
                Ok(Some(request)) => request,
                Ok(None) => return Ok(()),
                Err(error) => {
                    // It hung up without having read the last answer.
                    if let Some(last) = last {
                        self.recorder.answer_is(&last, AnswerFate::Lost);
                    }
                    return Err(error);
                }
            };
            let began = Instant::now();
            let mut course = Course::begin(self, &request);
            let outcome = course.run(request);
            // An outage that began meanwhile takes the answer with it.
            let outcome = self.link.pass().map_or(Outcome::Reset, |()| outcome);
            let exchange = self.give(client, began, outcome, course);
            if exchange.answer == AnswerFate::Lost {
                reset_when_closed(client);
                return Ok(());
            }
            last = Some(exchange);
        }
    }

    /// Writes the trace, sends the answer, and writes what became of that.
    fn give(
        &self,
        client: &TcpStream,
        began: Instant,
        outcome: Outcome,
        mut course: Course<'_>,
    ) -> Arc<Exchange> {
        let sending = Sending::choose(&mut course.chances);
        let exchange = self.recorder.answer_is_ready(Exchange {
            number: 0,
            operation: course.operation,
            began,
            answered: Instant::now(),
            status: if let Outcome::Answer(answer) = &outcome { Some(answer.status()) } else { None },
            faults: course.chances.happened,
            is_forwarded: course.is_forwarded,
            entries: course.entries,
            answer: AnswerFate::Underway,
        });
        // What is sent to a client that has hung up is lost, though sending succeeds.
        let is_sent = |answer: &Message| {
            !has_hung_up(client) && sending.send(client, answer).is_ok() && !has_reset(client)
        };
        let fate = match &outcome {
            Outcome::Answer(answer) if is_sent(answer) => match course.is_unreadable {
                true => AnswerFate::Unreadable,
                false => AnswerFate::Reached,
            },
            _ => AnswerFate::Lost,
        };
        self.recorder.answer_is(&exchange, fate)
    }
}

/// How an answer is sent.
enum Sending {
    Whole,
    Half,
    Slowly { bytes: usize, pause: Duration },
}

impl Sending {
    fn choose(chances: &mut Chances<'_>) -> Self {
        let sending = chances.first(|fault| match fault {
            Fault::CutAnswer => Some(Self::Half),
            Fault::SlowAnswer { bytes, pause } => Some(Self::Slowly { bytes: *bytes, pause: *pause }),
            _ => None,
        });
        sending.unwrap_or(Self::Whole)
    }

    fn send(&self, mut client: &TcpStream, answer: &Message) -> io::Result<()> {
        let bytes = answer.to_bytes();
        match self {
            Self::Whole => client.write_all(&bytes),
            Self::Half => {
                let missing = answer.body.len().div_ceil(2).max(1);
                client.write_all(&bytes[..bytes.len() - missing])?;
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            Self::Slowly { bytes: few, pause } => bytes.chunks(*few).try_for_each(|piece| {
                thread::sleep(*pause);
                if has_hung_up(client) {
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
                client.write_all(piece)
            }),
        }
    }
}
