//! A STOMP 1.2 frame: command, headers, body.

use bytes::Bytes;

/// What a frame of a server, or of ours, is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Client: opens the connection.
    Connect,
    /// Server: the connection is open.
    Connected,
    /// Client: brings a message.
    Send,
    /// Client: asks for the messages of a destination.
    Subscribe,
    /// Client: wants no more of them.
    Unsubscribe,
    /// Client: a message is done.
    Ack,
    /// Client: a message is refused. The bridge never sends it.
    Nack,
    /// Client: a transaction begins.
    Begin,
    /// Client: a transaction takes effect.
    Commit,
    /// Client: a transaction is given up.
    Abort,
    /// Client: the end, in order.
    Disconnect,
    /// Server: brings a message.
    Message,
    /// Server: a frame with `receipt` was processed.
    Receipt,
    /// Server: a frame could not be processed.
    Error,
}

/// Every command with its word.
const WORDS: [(Command, &str); 14] = [
    (Command::Message, "MESSAGE"),
    (Command::Receipt, "RECEIPT"),
    (Command::Error, "ERROR"),
    (Command::Connected, "CONNECTED"),
    (Command::Connect, "CONNECT"),
    (Command::Send, "SEND"),
    (Command::Subscribe, "SUBSCRIBE"),
    (Command::Unsubscribe, "UNSUBSCRIBE"),
    (Command::Ack, "ACK"),
    (Command::Nack, "NACK"),
    (Command::Begin, "BEGIN"),
    (Command::Commit, "COMMIT"),
    (Command::Abort, "ABORT"),
    (Command::Disconnect, "DISCONNECT"),
];

impl Command {
    /// The command of a first line.
    pub fn of(word: &[u8]) -> Option<Self> {
        WORDS.iter().find(|(_, known)| known.as_bytes() == word).map(|(command, _)| *command)
    }

    /// Its word on the wire.
    pub fn word(self) -> &'static str {
        WORDS.iter().find(|(command, _)| *command == self).map_or("", |(_, word)| word)
    }

    /// Whether its headers are escaped; those of the handshake are not, for the sake of STOMP 1.0.
    pub fn is_escaped(self) -> bool {
        !matches!(self, Self::Connect | Self::Connected)
    }

    /// Whether it may have a body.
    pub fn may_have_body(self) -> bool {
        matches!(self, Self::Send | Self::Message | Self::Error)
    }
}

/// Headers in their order, decoded. One block of text, as a message has twenty of them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    text: String,
    /// Where each name, and its value behind it, ends.
    ends: Vec<(u32, u32)>,
}

impl Headers {
    /// Adds a header behind the others.
    pub fn push(&mut self, name: &str, value: &str) {
        self.text.push_str(name);
        let name_end = self.text.len();
        self.text.push_str(value);
        self.note(name_end);
    }

    /// Adds a header whose name and value `write` appends to the text; it returns where the name ends.
    pub(super) fn push_with<E>(
        &mut self,
        write: impl FnOnce(&mut String) -> Result<usize, E>,
    ) -> Result<(), E> {
        let before = self.text.len();
        match write(&mut self.text) {
            Ok(name_end) => {
                self.note(name_end);
                Ok(())
            }
            Err(error) => {
                self.text.truncate(before);
                Err(error)
            }
        }
    }

    fn note(&mut self, name_end: usize) {
        // A head is bounded far below 4 GiB by the decoder, and ours are short.
        let at = |end: usize| u32::try_from(end).unwrap_or(u32::MAX);
        self.ends.push((at(name_end), at(self.text.len())));
    }

    /// The value of `name`; of a repeated header the first, as STOMP 1.2 says.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut begin = 0;
        self.ends.iter().map(move |(name_end, end)| {
            let name = &self.text[begin as usize..*name_end as usize];
            begin = *end;
            (name, &self.text[*name_end as usize..*end as usize])
        })
    }

    /// Bytes of all names and values.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A passcode must not get into a log.
        let shown = |(name, value)| if name == "passcode" { (name, "…") } else { (name, value) };
        f.debug_map().entries(self.iter().map(shown)).finish()
    }
}

/// What is wrong in the head of a frame whose end is known nevertheless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadFault {
    /// A line without a colon; a property whose name has a newline makes one.
    #[error("header line {line} has no colon")]
    NoColon {
        /// From 1.
        line: usize,
    },
    /// An escape that STOMP 1.2 does not know.
    #[error("header line {line} has an escape that is none of \\r, \\n, \\c and \\\\")]
    Escape {
        /// From 1.
        line: usize,
    },
    /// Not UTF-8; it was read with U+FFFD in place of what is not.
    #[error("the headers are not UTF-8")]
    NotUtf8,
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is for.
    pub command: Command,
    /// Its headers.
    pub headers: Headers,
    /// Its body, a part of what was read; not copied.
    pub body: Bytes,
    /// The first thing that is wrong in its head. Such a frame is whole, and is not to be trusted.
    pub fault: Option<HeadFault>,
}

impl Frame {
    /// A frame without body.
    pub fn new(command: Command, headers: &[(&str, &str)]) -> Self {
        let mut frame = Self { command, headers: Headers::default(), body: Bytes::new(), fault: None };
        headers.iter().for_each(|(name, value)| frame.headers.push(name, value));
        frame
    }

    /// Bytes of head and body, about.
    pub fn bytes(&self) -> usize {
        self.headers.bytes() + self.body.len()
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }
}
