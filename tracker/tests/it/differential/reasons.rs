//! Why ours and hyper may disagree: a table, each row with a predicate on the bytes.

use super::{Answer, Case};

/// Where the two part.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Ours refuses what hyper serves.
    Stricter,
    /// Ours serves what hyper refuses.
    Broader,
    /// Ours answers and closes where hyper goes on.
    Shorter,
}

/// The lines of a case, and what is asked of them often.
struct View<'c> {
    bytes: &'c [u8],
    /// Of the first head, or of everything if that head was served, without their breaks.
    lines: Vec<&'c [u8]>,
    has_served_one: bool,
    /// The name by which ours refused, if it did.
    refused_as: &'c str,
}

type Reason = (Way, &'static str, fn(&View) -> bool);

const REASONS: [Reason; 15] = [
    (Way::Stricter, "a bare LF ends no line", |view| {
        view.refused_as == "malformed_request" && view.has_bare_lf()
    }),
    (Way::Stricter, "a host is needed, one and well formed", |view| {
        view.refused_as == "bad_host" && view.hosts_are_odd()
    }),
    (Way::Stricter, "a target begins with a slash or is a URL", |view| {
        view.refused_as == "bad_target" && view.targets().any(|target| !target.starts_with(b"/"))
    }),
    (Way::Stricter, "one way to say the length, and one time", |view| {
        view.refused_as == "bad_framing"
            && view.count("content-length") + view.count("transfer-encoding") >= 2
    }),
    (Way::Stricter, "HTTP/1.0 has no chunks, and no coding but chunked is the last", |view| {
        view.refused_as == "bad_framing" && view.count("transfer-encoding") == 1
    }),
    (Way::Stricter, "no coding but chunked", |view| {
        view.refused_as == "unsupported_transfer_coding" && view.count("transfer-encoding") >= 1
    }),
    (Way::Stricter, "no expectation but one", |view| {
        view.refused_as == "unsupported_expectation" && view.count("expect") >= 1
    }),
    (Way::Stricter, "the grammar of chunk extensions and trailers", |view| {
        view.refused_as == "bad_chunk" && view.count("transfer-encoding") >= 1
    }),
    (Way::Broader, "browsers send these bytes in a target", |view| {
        view.targets().any(|target| target.iter().any(|b| *b >= 0x80 || b"|{}\"<>^`\\#".contains(b)))
    }),
    (Way::Broader, "hyper knows no other form of a URL", |view| {
        view.targets().any(|target| target.len() > 4 && target[..4].eq_ignore_ascii_case(b"http"))
    }),
    (Way::Broader, "an unread body is not looked at", |view| view.has_unread_body()),
    (Way::Broader, "an answer that needs no body comes before it", |view| view.is_cut_short()),
    (Way::Broader, "a CR without its LF before a request is skipped as well", |view| view.has_bare_cr()),
    (Way::Shorter, "an unread body ends the connection", |view| view.has_unread_body()),
    (Way::Shorter, "an upgrade ends the connection", |view| view.count("upgrade") >= 1),
];

/// All of them.
pub fn all() -> impl Iterator<Item = &'static str> {
    REASONS.iter().map(|(_, name, _)| *name)
}

/// The first reason that explains why the two differ.
pub fn of(case: &Case) -> Option<&'static str> {
    let ours = case.ours.served.len();
    let theirs = case.theirs.served.len();
    let has_closed = case.ours.refused.is_none() && case.ours.served.last().is_some_and(Answer::closes);
    let way = if ours > theirs {
        Way::Broader
    } else if case.ours.refused.is_some() {
        Way::Stricter
    } else if has_closed {
        Way::Shorter
    } else {
        // Ours neither served nor refused: nothing explains that.
        return None;
    };
    let view = View::of(case);
    REASONS.iter().find(|(of, _, holds)| *of == way && holds(&view)).map(|(_, name, _)| *name)
}

impl<'c> View<'c> {
    fn of(case: &'c Case) -> Self {
        let has_served_one = case.ours.served.len().min(case.theirs.served.len()) > 0;
        let is_blank = |line: &&[u8]| line.is_empty();
        let lines = case.bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end).skip_while(is_blank);
        // While none was served, they speak of the first head.
        let lines = lines.take_while(|line| has_served_one || !line.is_empty()).collect();
        let refused_as = case.ours.refused.as_ref().and_then(Answer::error).unwrap_or_default();
        Self { bytes: &case.bytes, lines, has_served_one, refused_as }
    }

    fn has_bare_lf(&self) -> bool {
        let is_bare = |at: usize| self.bytes[at] == b'\n' && (at == 0 || self.bytes[at - 1] != b'\r');
        (0..self.bytes.len()).any(is_bare)
    }

    fn has_bare_cr(&self) -> bool {
        self.bytes.windows(2).any(|two| two[0] == b'\r' && two[1] != b'\n')
    }

    /// The values of all headers of this name, wherever they stand.
    fn values(&self, name: &str) -> impl Iterator<Item = &'c [u8]> {
        self.lines.iter().filter_map(move |line| {
            let (found, value) = line.split_at_checked(name.len())?;
            let value = value.strip_prefix(b":")?;
            found.eq_ignore_ascii_case(name.as_bytes()).then(|| value.trim_ascii())
        })
    }

    fn count(&self, name: &str) -> usize {
        self.values(name).count()
    }

    /// Not one of the hosts of the corpus, once a head.
    fn hosts_are_odd(&self) -> bool {
        let known: [&[u8]; 4] = [b"t", b"t.example", b"t.example:8080", b"[::1]:80"];
        let heads = if self.has_served_one { self.targets().count() } else { 1 };
        self.count("host") != heads || self.values("host").any(|host| !known.contains(&host))
    }

    /// What stands between the first and the last space of lines that end in a version.
    fn targets(&self) -> impl Iterator<Item = &'c [u8]> {
        self.lines.iter().filter_map(|line| {
            let last = line.iter().rposition(|byte| *byte == b' ')?;
            let first = line.iter().position(|byte| *byte == b' ')?;
            (line[last..].starts_with(b" HTTP/1.") && first < last).then(|| &line[first + 1..last])
        })
    }

    fn has_body(&self) -> bool {
        self.count("transfer-encoding") >= 1 || self.values("content-length").any(|length| length != b"0")
    }

    /// A body on another route than the beacon's, or with another method than POST.
    fn has_unread_body(&self) -> bool {
        let posts =
            self.lines.iter().any(|line| line.starts_with(b"POST /b HTTP") || line.starts_with(b"POST /b?"));
        self.has_body() && !posts
    }

    fn length(&self) -> Option<usize> {
        let digits = std::str::from_utf8(self.values("content-length").next()?).ok()?;
        digits.parse().ok()
    }

    /// Bytes behind the first head.
    fn after_head(&self) -> usize {
        let end = self.bytes.windows(4).position(|four| four == b"\r\n\r\n");
        end.map_or(0, |end| self.bytes.len() - end - 4)
    }

    /// A body that swallows all that follows and is not whole then.
    fn is_cut_short(&self) -> bool {
        self.length().is_some_and(|length| length > self.after_head())
            || (self.count("transfer-encoding") >= 1 && self.refused_as.is_empty())
    }
}
