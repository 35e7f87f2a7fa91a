//! The start screen: where to look and what to try.

use std::fmt::Write;
use std::net::SocketAddr;

use crate::cli::VERSION;
use crate::data::DataDir;

use super::role::Role;

/// This program as it was called: after `cargo run` it is not in the search path.
fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "clickgate".to_owned())
}

/// A few lines for whoever started it. `token` is one that ends with this process: in the
/// fragment of the page's address it is never sent, and the page takes it out of the address bar.
pub fn screen(
    role: Role,
    data: &DataDir,
    hits: Option<SocketAddr>,
    stream: Option<&str>,
    admin: SocketAddr,
    token: Option<&str>,
    first_start: bool,
) -> String {
    let mut text = format!("\nclickgate {VERSION}  {}\n\n", role.name());
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:7} {value}");
    };
    if let Some(hits) = hits {
        line("hits", format!("http://{hits}"));
    }
    let fragment = token.map_or_else(String::new, |token| format!("#token={token}"));
    line("page", format!("http://{admin}/{fragment}"));
    line("data", data.path().display().to_string());
    if let Some(stream) = stream {
        line("stream", format!("{stream}, to which events go"));
    }
    if let Some(hits) = hits.filter(|_| first_start) {
        let command = match data.path().to_str() {
            Some("data") => program(),
            _ => format!("{} --data {}", program(), data.path().display()),
        };
        let what_became = match stream {
            Some(_) => format!("{command} log cursor"),
            None => format!("{command} events tail"),
        };
        let _ = write!(
            text,
            "\nThe first start has imported the sample programs 212312, 212313 and 212314. Try\n\n  \
             a click             curl -i 'http://{hits}/c/212313?utm_campaign=spring'\n  \
             an event            curl 'http://{hits}/event/212312'\n  \
             an impression       curl -o pixel.gif 'http://{hits}/i/212314'\n  \
             what became of it   {what_became}\n"
        );
    }
    text.push_str("\nStop with Ctrl-C.\n\n");
    text
}
