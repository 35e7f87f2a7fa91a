//! The four escapes of STOMP 1.2: `\r`, `\n`, `\c` for a colon, `\\`.

use bytes::{BufMut, BytesMut};

/// Appends `text` without its escapes; `None` if it has another one, and then part of it.
pub fn unescape(text: &str, out: &mut String) -> Option<()> {
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('\\') {
        out.push_str(before);
        let escaped = behind.chars().next()?;
        out.push(match escaped {
            'r' => '\r',
            'n' => '\n',
            'c' => ':',
            '\\' => '\\',
            _ => return None,
        });
        rest = &behind[1..];
    }
    out.push_str(rest);
    Some(())
}

/// Appends `text` with its escapes.
pub fn escape(text: &str, out: &mut BytesMut) {
    for byte in text.bytes() {
        match byte {
            b'\r' => out.put_slice(b"\\r"),
            b'\n' => out.put_slice(b"\\n"),
            b':' => out.put_slice(b"\\c"),
            b'\\' => out.put_slice(b"\\\\"),
            other => out.put_u8(other),
        }
    }
}
