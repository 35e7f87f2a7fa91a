//! Invariants that hold for any bytes that a broker sends, checked by the fuzz targets in `fuzz/`
//! and by property tests.
//!
//! Each function panics if an invariant is broken.

use bytes::BytesMut;

use crate::activemq::codec::{BadFrame, Decoder, Limits, encode};
use crate::activemq::frame::{Command, Frame};

const LIMITS: Limits = Limits { head_bytes_max: 512, headers_max: 8, body_bytes_max: 256 };
/// Of what we write ourselves: an escape makes two bytes of one, and a content-length may be added.
const LIMITS_OF_OURS: Limits = Limits { head_bytes_max: 2 * 512 + 32, headers_max: 9, ..LIMITS };

/// Frames are the same however they are cut, within their limits, and read back as they are
/// written. The first byte is the size of the pieces.
pub fn stomp(bytes: &[u8]) {
    let Some((piece, sent)) = bytes.split_first() else { return };
    let (frames, fault) = frames(sent, sent.len(), LIMITS);
    let (in_pieces, fault_in_pieces) = self::frames(sent, usize::from(*piece), LIMITS);
    assert_eq!(frames, in_pieces);
    // Which limit is named may depend on how much had come; that there is one may not.
    assert_eq!(fault.is_some(), fault_in_pieces.is_some(), "{fault:?} {fault_in_pieces:?}");
    for frame in &frames {
        assert!(frame.headers.len() <= LIMITS.headers_max && frame.body.len() <= LIMITS.body_bytes_max);
        if frame.fault.is_none() && frame.command == Command::Message {
            let mut written = BytesMut::new();
            encode(frame, &mut written);
            let again = self::frames(&written, written.len(), LIMITS_OF_OURS);
            assert_eq!(again.0.first().map(|frame| &frame.body), Some(&frame.body));
        }
    }
}

fn frames(sent: &[u8], piece: usize, limits: Limits) -> (Vec<Frame>, Option<BadFrame>) {
    let mut decoder = Decoder::new(limits);
    let mut input = BytesMut::new();
    let mut frames = Vec::new();
    for part in sent.chunks(piece.max(1)) {
        input.extend_from_slice(part);
        loop {
            match decoder.next(&mut input) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(fault) => return (frames, Some(fault)),
            }
        }
    }
    (frames, None)
}
