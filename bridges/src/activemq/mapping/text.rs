//! The text of a body. ActiveMQ before 5.18.6 and 5.19.0 hands on Java's modified UTF-8
//! (AMQ-8398): a NUL as C0 80, and what is beyond U+FFFF as two surrogates of three bytes each.

use std::borrow::Cow;

/// A text, and how it was written.
pub struct Decoded<'b> {
    /// It.
    pub text: Cow<'b, str>,
    /// Whether it was Java's form.
    pub is_modified: bool,
}

/// Reads a body; `None` if it is neither of both.
pub fn decode(body: &[u8]) -> Option<Decoded<'_>> {
    match std::str::from_utf8(body) {
        Ok(text) => Some(Decoded { text: Cow::Borrowed(text), is_modified: false }),
        Err(_) => Some(Decoded { text: Cow::Owned(decode_modified(body)?), is_modified: true }),
    }
}

/// The payload type of a text.
pub fn payload_type(decoded: Option<&Decoded<'_>>) -> &'static str {
    match decoded {
        Some(Decoded { is_modified: false, .. }) => "text/plain; charset=utf-8",
        Some(Decoded { is_modified: true, .. }) => "text/plain; charset=modified-utf-8",
        None => "text/plain; charset=unknown",
    }
}

fn decode_modified(body: &[u8]) -> Option<String> {
    let mut text = String::with_capacity(body.len());
    let mut rest = body;
    while !rest.is_empty() {
        let valid = std::str::from_utf8(rest).map_or_else(|error| error.valid_up_to(), str::len);
        let (plain, special) = rest.split_at(valid);
        text.push_str(std::str::from_utf8(plain).ok()?);
        rest = match special {
            [] => special,
            [0xc0, 0x80, behind @ ..] => {
                text.push('\0');
                behind
            }
            // Behind the fixed bits: 4 bits less 1, 6 bits, then 4 and 6 bits.
            [
                0xed,
                high @ 0xa0..=0xaf,
                high_low @ 0x80..=0xbf,
                0xed,
                low @ 0xb0..=0xbf,
                low_low @ 0x80..=0xbf,
                behind @ ..,
            ] => {
                let bits = |byte: u8, mask: u8| u32::from(byte & mask);
                let high = bits(*high, 0x0f) << 6 | bits(*high_low, 0x3f);
                let low = bits(*low, 0x0f) << 6 | bits(*low_low, 0x3f);
                text.push(char::from_u32(0x1_0000 + (high << 10 | low))?);
                behind
            }
            _ => return None,
        };
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As `DataOutputStream.writeUTF` does.
    fn modified(text: &str) -> Vec<u8> {
        let three = |unit: u16| {
            let unit = u32::from(unit);
            [0xe0 | (unit >> 12) as u8, 0x80 | (unit >> 6 & 0x3f) as u8, 0x80 | (unit & 0x3f) as u8]
        };
        let mut bytes = Vec::new();
        for char in text.chars() {
            match char {
                '\0' => bytes.extend([0xc0, 0x80]),
                beyond if beyond.len_utf16() == 2 => {
                    let mut units = [0; 2];
                    beyond.encode_utf16(&mut units).iter().for_each(|unit| bytes.extend(three(*unit)));
                }
                other => bytes.extend(other.to_string().into_bytes()),
            }
        }
        bytes
    }

    #[test]
    fn what_a_broker_of_that_age_sent_is_read() {
        let decoded = decode(b"a\xc0\x80\xed\xa0\xbd\xed\xb8\x80z").unwrap();
        assert_eq!((&*decoded.text, decoded.is_modified), ("a\0\u{1f600}z", true));
        for bytes in [&b"\xff"[..], b"\xed\xa0\xbd", b"\xed\xb8\x80", b"\xc1\x80", b"\xed\xa0\xbdx"] {
            assert!(decode(bytes).is_none(), "{bytes:x?}");
        }
        assert_eq!(payload_type(None), "text/plain; charset=unknown");
    }

    proptest! {
        #[test]
        fn every_text_comes_back_from_either_form(text in ".{0,40}") {
            prop_assert_eq!(&*decode(text.as_bytes()).unwrap().text, &text);
            let modified = modified(&text);
            prop_assert_eq!(&*decode(&modified).unwrap().text, &text);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(prop_oneof![Just(0xed), Just(0xa0), Just(0xb0), Just(0x80), any::<u8>()], 0..24)) {
            let _ = decode(&bytes);
        }
    }
}
