//! One connection: request by request through all that can happen to it.

use std::io::{self, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Instant;

use serde_json::Value;

use super::Shared;
use super::http::Message;
use super::link::{has_hung_up, has_reset, reset_when_closed};
use super::put_records::{self, FailEntries};
use super::rule::{Chances, Fault, error};
use super::trace::{AnswerFate, Entry, EntryFate, Exchange};

/// What a request has come to.
enum Outcome {
    Answer(Message),
    /// No answer: the connection is reset.
    Reset,
}

/// A request on its way, and what is known of it.
struct Underway<'a> {
    operation: String,
    began: Instant,
    chances: Chances<'a>,
    is_forwarded: bool,
    entries: Vec<Entry>,
}

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
            let target = request.header("X-Amz-Target").unwrap_or_default();
            let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
            let mut underway = Underway {
                chances: self.rules.request(&operation),
                operation,
                began: Instant::now(),
                is_forwarded: false,
                entries: Vec::new(),
            };
            let outcome = self.outcome(request, &mut underway);
            // An outage that began meanwhile takes the answer with it.
            let outcome = self.link.pass().map_or(Outcome::Reset, |()| outcome);
            let (exchange, fate) = self.give(client, outcome, underway);
            if fate == AnswerFate::Lost {
                reset_when_closed(client);
                return Ok(());
            }
            last = Some(exchange);
        }
    }

    /// Takes a request as far as it comes.
    fn outcome(&self, mut request: Message, underway: &mut Underway<'_>) -> Outcome {
        let chances = &mut underway.chances;
        let delays = chances.every(|fault| if let Fault::Delay(time) = fault { Some(*time) } else { None });
        thread::sleep(delays.into_iter().sum());
        let mut put = (underway.operation == put_records::OPERATION)
            .then(|| put_records::Request::read(serde_json::from_slice(&request.body).ok()?))
            .flatten();
        if let Some(put) = &put {
            underway.entries = put.entries_with(&EntryFate::NotForwarded);
        }
        if self.link.pass().is_err()
            || chances.first(|it| matches!(it, Fault::ResetBefore).then_some(())).is_some()
        {
            return Outcome::Reset;
        }
        let largest_entry_bytes = put.as_ref().map_or(0, put_records::Request::largest_entry_bytes);
        if let Some((status, body)) = chances.first(|fault| refusal(fault, largest_entry_bytes)) {
            let mut answer = Message::answer(status, body.to_string().into_bytes());
            set_headers(&mut answer, chances);
            return Outcome::Answer(answer);
        }
        if let Some(put) = &mut put {
            put.fail(|hash| chances.first(|fault| failure(fault, hash)));
            if !put.is_whole() {
                let Some(left) = put.for_server() else {
                    return self.finish_put(put, Message::answer(200, Vec::new()), None, underway);
                };
                request.body = left.to_string().into_bytes();
            }
        }
        self.forward(request, put, underway)
    }

    fn forward(
        &self,
        mut request: Message,
        put: Option<put_records::Request>,
        underway: &mut Underway<'_>,
    ) -> Outcome {
        edit(
            &mut request,
            underway
                .chances
                .every(|it| if let Fault::EditRequest(edit) = it { Some(edit.clone()) } else { None }),
        );
        underway.is_forwarded = true;
        let answer = self.ask(&mut request);
        let Ok(answer) = answer else {
            underway.is_forwarded =
                !answer.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
            let fate = if underway.is_forwarded { EntryFate::Unknown } else { EntryFate::NotForwarded };
            underway.entries = put.map(|put| put.entries_with(&fate)).unwrap_or_default();
            return Outcome::Reset;
        };
        match put {
            Some(put) if answer.status() == 200 => {
                let said = serde_json::from_slice(&answer.body).ok();
                self.finish_put(&put, answer, said, underway)
            }
            Some(put) => {
                underway.entries = put.entries_with(&EntryFate::Refused);
                self.finish(answer, underway)
            }
            None => self.finish(answer, underway),
        }
    }

    /// `said`: by the server, of the entries that it got.
    fn finish_put(
        &self,
        put: &put_records::Request,
        mut message: Message,
        said: Option<Value>,
        underway: &mut Underway<'_>,
    ) -> Outcome {
        let mut answer = put.answer(said.as_ref());
        underway.entries = put.entries_after(&answer);
        let more = |fault: &Fault| if let Fault::MoreEntries(by) = fault { Some(*by) } else { None };
        if let Some(by) = underway.chances.first(more) {
            put_records::change_length(&mut answer, by);
        }
        message.body = answer.to_string().into_bytes();
        self.finish(message, underway)
    }

    /// What happens to an answer before it is sent.
    fn finish(&self, mut answer: Message, underway: &mut Underway<'_>) -> Outcome {
        let chances = &mut underway.chances;
        if underway.is_forwarded
            && chances.first(|it| matches!(it, Fault::HideAnswer).then_some(())).is_some()
        {
            return Outcome::Reset;
        }
        edit(
            &mut answer,
            chances.every(|it| if let Fault::EditAnswer(edit) = it { Some(edit.clone()) } else { None }),
        );
        set_headers(&mut answer, chances);
        if chances.first(|it| matches!(it, Fault::NotJson).then_some(())).is_some() {
            answer = Message::answer(200, b"<html><body>Sign in to the guest network</body></html>".to_vec());
            answer.set_header("Content-Type", "text/html");
        }
        Outcome::Answer(answer)
    }

    /// Over a connection of its own, since one that was kept may be closed at any time.
    fn ask(&self, request: &mut Message) -> io::Result<Message> {
        let server = TcpStream::connect(("127.0.0.1", self.target))?;
        server.set_nodelay(true)?;
        request.set_header("Connection", "close");
        (&server).write_all(&request.to_bytes(request.body.len()))?;
        self.forwarding.fetch_add(1, SeqCst);
        let answer = Message::read_answer(&mut BufReader::new(&server));
        self.forwarding.fetch_sub(1, SeqCst);
        let mut answer = answer?;
        answer.set_header("Connection", "keep-alive");
        Ok(answer)
    }

    /// Writes the trace, sends the answer, and writes what became of that.
    fn give(
        &self,
        client: &TcpStream,
        outcome: Outcome,
        mut underway: Underway<'_>,
    ) -> (Arc<Exchange>, AnswerFate) {
        let sending = Sending::choose(&mut underway.chances);
        let exchange = self.recorder.answer_is_ready(Exchange {
            number: 0,
            operation: underway.operation,
            began: underway.began,
            answered: Instant::now(),
            status: if let Outcome::Answer(answer) = &outcome { Some(answer.status()) } else { None },
            faults: underway.chances.happened,
            is_forwarded: underway.is_forwarded,
            entries: underway.entries,
            answer: AnswerFate::Underway,
        });
        // What is sent to a client that has hung up is lost, though sending succeeds.
        let is_sent = |answer: &Message| {
            !has_hung_up(client) && sending.send(client, answer).is_ok() && !has_reset(client)
        };
        let reached = matches!(&outcome, Outcome::Answer(answer) if is_sent(answer));
        let fate = if reached { AnswerFate::Reached } else { AnswerFate::Lost };
        self.recorder.answer_is(&exchange, fate);
        (exchange, fate)
    }
}

/// How an answer is sent.
enum Sending {
    Whole,
    Half,
    Slowly { bytes: usize, pause: std::time::Duration },
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
        let bytes = answer.to_bytes(answer.body.len());
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

/// The answer in the place of the server, if this is such a fault.
fn refusal(fault: &Fault, largest_entry_bytes: usize) -> Option<(u16, Value)> {
    match fault {
        Fault::Answer { status, body } => Some((*status, body.clone())),
        Fault::RefuseLarge { entry_bytes_max, status, error_type }
            if largest_entry_bytes > *entry_bytes_max =>
        {
            Some((*status, error(error_type)))
        }
        _ => None,
    }
}

fn failure(fault: &Fault, hash: u128) -> Option<FailEntries> {
    match fault {
        Fault::FailEntries(failing) if failing.is_for(hash) => Some(failing.clone()),
        _ => None,
    }
}

fn edit(message: &mut Message, edits: Vec<super::rule::Edit>) {
    if edits.is_empty() {
        return;
    }
    // What is no JSON is edited as if it were null.
    let mut json = serde_json::from_slice(&message.body).unwrap_or(Value::Null);
    for edit in edits {
        edit(&mut json);
    }
    message.body = json.to_string().into_bytes();
}

fn set_headers(answer: &mut Message, chances: &mut Chances<'_>) {
    let headers = chances.every(|it| match it {
        Fault::AnswerHeader { name, value } => Some((name.clone(), value.clone())),
        _ => None,
    });
    for (name, value) in headers {
        answer.set_header(&name, &value);
    }
}
