//! The course of one request through all that can happen to it, up to its answer.

use std::io::{self, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;

use serde_json::Value;

use super::Shared;
use super::http::Message;
use super::put_records::{self, FailEntries};
use super::rule::{Chances, Edit, Fault, error};
use super::trace::{Entry, EntryFate};

/// What a request has come to.
pub enum Outcome {
    Answer(Message),
    /// No answer: the connection is reset.
    Reset,
}

/// A request on its way, and what is known of it.
pub struct Course<'a> {
    shared: &'a Shared,
    pub operation: String,
    pub chances: Chances<'a>,
    pub is_forwarded: bool,
    /// Whether the answer does not say what became of the entries.
    pub is_unreadable: bool,
    pub entries: Vec<Entry>,
}

impl<'a> Course<'a> {
    pub fn begin(shared: &'a Shared, request: &Message) -> Self {
        let target = request.header("X-Amz-Target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let chances = shared.rules.request(&operation);
        Self { shared, operation, chances, is_forwarded: false, is_unreadable: false, entries: Vec::new() }
    }

    /// As far as the request comes, and its answer.
    pub fn run(&mut self, mut request: Message) -> Outcome {
        let delays =
            self.chances.every(|fault| if let Fault::Delay(time) = fault { Some(*time) } else { None });
        thread::sleep(delays.into_iter().sum());
        let mut put = self.put_records(&request);
        if self.shared.link.pass().is_err() || self.happens(|fault| matches!(fault, Fault::ResetBefore)) {
            return Outcome::Reset;
        }
        let largest_entry_bytes = put.as_ref().map_or(0, put_records::Request::largest_entry_bytes);
        if let Some((status, body)) = self.chances.first(|fault| refusal(fault, largest_entry_bytes)) {
            let mut answer = Message::answer(status, body.to_string().into_bytes());
            set_headers(&mut answer, &mut self.chances);
            return Outcome::Answer(answer);
        }
        if let Some(put) = &mut put {
            put.fail(|hash| self.chances.first(|fault| failure(fault, hash)));
            if !put.is_whole() {
                // Nothing is left to be asked of the server when all have failed.
                let Some(left) = put.for_server() else {
                    return self.answer_put(put, Message::answer(200, Vec::new()), None);
                };
                request.body = left.to_string().into_bytes();
            }
        }
        self.forward(request, put)
    }

    fn forward(&mut self, mut request: Message, put: Option<put_records::Request>) -> Outcome {
        let edits = |fault: &Fault| {
            if let Fault::EditRequest(edit) = fault { Some(Edit::clone(edit)) } else { None }
        };
        edit(&mut request, &self.chances.every(edits));
        let answer = match ask(self.shared, &mut request) {
            Ok(answer) => answer,
            Err(error) => {
                // One that refuses connections has certainly not got it.
                self.is_forwarded = error.kind() != io::ErrorKind::ConnectionRefused;
                let fate = if self.is_forwarded { EntryFate::Unknown } else { EntryFate::NotForwarded };
                self.entries = put.map(|put| put.entries_with(&fate)).unwrap_or_default();
                return Outcome::Reset;
            }
        };
        self.is_forwarded = true;
        match put {
            Some(put) if answer.status() == 200 => {
                let said = serde_json::from_slice(&answer.body).ok();
                self.answer_put(&put, answer, said)
            }
            Some(put) => {
                self.entries = put.entries_with(&EntryFate::Refused);
                self.answer(answer)
            }
            None => self.answer(answer),
        }
    }

    /// `said`: by the server, of the entries that it got.
    fn answer_put(
        &mut self,
        put: &put_records::Request,
        mut message: Message,
        said: Option<Value>,
    ) -> Outcome {
        let mut answer = put.answer(said.as_ref());
        self.entries = put.entries_after(&answer);
        let more = |fault: &Fault| if let Fault::MoreEntries(by) = fault { Some(*by) } else { None };
        if let Some(by) = self.chances.first(more) {
            put_records::change_length(&mut answer, by);
            self.is_unreadable = true;
        }
        message.body = answer.to_string().into_bytes();
        self.answer(message)
    }

    /// What happens to an answer before it is sent.
    fn answer(&mut self, mut answer: Message) -> Outcome {
        if self.is_forwarded && self.happens(|fault| matches!(fault, Fault::HideAnswer)) {
            return Outcome::Reset;
        }
        let edits =
            |fault: &Fault| if let Fault::EditAnswer(edit) = fault { Some(Edit::clone(edit)) } else { None };
        edit(&mut answer, &self.chances.every(edits));
        set_headers(&mut answer, &mut self.chances);
        if self.happens(|fault| matches!(fault, Fault::NotJson)) {
            answer = Message::answer(200, b"<html><body>Sign in to the guest network</body></html>".to_vec());
            answer.set_header("Content-Type", "text/html");
            self.is_unreadable = true;
        }
        Outcome::Answer(answer)
    }

    /// The request, if it is one of PutRecords that can be read; its entries are noted.
    fn put_records(&mut self, request: &Message) -> Option<put_records::Request> {
        if self.operation != put_records::OPERATION {
            return None;
        }
        let put = put_records::Request::read(serde_json::from_slice(&request.body).ok()?)?;
        self.entries = put.entries_with(&EntryFate::NotForwarded);
        Some(put)
    }

    fn happens(&mut self, is_it: impl Fn(&Fault) -> bool) -> bool {
        self.chances.first(|fault| is_it(fault).then_some(())).is_some()
    }
}

/// Over a connection of its own, since one that was kept may be closed at any time.
fn ask(shared: &Shared, request: &mut Message) -> io::Result<Message> {
    let server = TcpStream::connect(("127.0.0.1", shared.target))?;
    server.set_nodelay(true)?;
    request.set_header("Connection", "close");
    (&server).write_all(&request.to_bytes())?;
    shared.forwarding.fetch_add(1, SeqCst);
    let answer = Message::read_answer(&mut BufReader::new(&server));
    shared.forwarding.fetch_sub(1, SeqCst);
    let mut answer = answer?;
    answer.set_header("Connection", "keep-alive");
    Ok(answer)
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

fn edit(message: &mut Message, edits: &[Edit]) {
    if edits.is_empty() {
        return;
    }
    // What is no JSON is edited as if it were null.
    let mut json = serde_json::from_slice(&message.body).unwrap_or(Value::Null);
    edits.iter().for_each(|edit| edit(&mut json));
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
