use proptest::prelude::*;

use super::*;

/// The body of `sent`, given in pieces of `piece` bytes, and what came after it.
fn decode(sent: &[u8], piece: usize) -> Result<Option<(Vec<u8>, usize)>, BadChunk> {
    let mut chunks = ChunkedDecoder::default();
    let mut body = Vec::new();
    let mut taken = 0;
    for part in sent.chunks(piece.max(1)) {
        let mut input = part;
        while let Some(data) = chunks.next(&mut input)? {
            body.extend_from_slice(data);
        }
        taken += part.len() - input.len();
        if chunks.has_ended() {
            return Ok(Some((body, taken)));
        }
    }
    Ok(None)
}

#[test]
fn a_body_is_what_its_chunks_hold() {
    for (sent, body) in [
        ("0\r\n\r\n", ""),
        ("3\r\nabc\r\n0\r\n\r\n", "abc"),
        ("1\r\na\r\n0002\r\nbc\r\n00\r\n\r\n", "abc"),
        ("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789"),
        ("3;a\r\nabc\r\n0;b=c;d=\"e;\\\"\\f \u{e9}\" ; g = h\r\n\r\n", "abc"),
        ("2\r\n\r\n\r\n0\r\n\r\n", "\r\n"),
        ("1\r\na\r\n0\r\nDigest: x\r\nOther:\r\n\r\n", "a"),
    ] {
        let more = format!("{sent}GET /");
        for piece in 1..=more.len() {
            assert_eq!(
                decode(more.as_bytes(), piece),
                Ok(Some((body.into(), sent.len()))),
                "{sent:?} by {piece}"
            );
        }
        for cut in 0..sent.len() {
            assert_eq!(decode(&sent.as_bytes()[..cut], 3), Ok(None), "{sent:?} cut at {cut}");
        }
    }
}

#[test]
fn framing_that_is_not_to_the_letter_is_refused() {
    for sent in [
        "\r\n",
        "x\r\n",
        "-1\r\n",
        "0x1\r\n",
        " 1\r\n",
        "1 \r\na",
        "1\n",
        "1\r\r\n",
        "1;\r\na",
        "1;=b\r\na",
        "1;a=\r\na",
        "1;a b\r\na",
        "1;a=\"b\r\na",
        "1;a=\"\\\u{1}\"\r\n",
        "1;a=\"b\"c\r\n",
        "1;;a\r\n",
        "1a;\r\n",
        "1\r\nab\r\n",
        "1\r\na\n0\r\n\r\n",
        "1\r\na\rb",
        "1\r\na0\r\n",
        "1000000000000000\r\n",
        "0\r\na\r\n\r\n",
        "0\r\na: b\n\r\n",
        "0\r\na : b\r\n\r\n",
        "0\r\n a: b\r\n\r\n",
        "0\r\nGET / HTTP/1.1\r\n\r\n",
        "0\r\na: b\r\n c\r\n\r\n",
        "0\r\n\n",
    ] {
        for piece in 1..=sent.len() {
            assert_eq!(decode(sent.as_bytes(), piece), Err(BadChunk), "{sent:?} by {piece}");
        }
    }
}

#[test]
fn lines_and_trailers_have_their_bounds() {
    let extended = |bytes: usize| format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(bytes - "1;\r".len()));
    assert!(decode(extended(SIZE_LINE_BYTES_MAX).as_bytes(), 7).is_ok());
    assert_eq!(decode(extended(SIZE_LINE_BYTES_MAX + 1).as_bytes(), 7), Err(BadChunk));
    let trailed = |bytes: usize| format!("0\r\na: {}\r\n\r\n", "x".repeat(bytes - "a: \r\n\r\n".len()));
    assert!(decode(trailed(TRAILER_BYTES_MAX).as_bytes(), 7).is_ok_and(|body| body.is_some()));
    assert_eq!(decode(trailed(TRAILER_BYTES_MAX + 1).as_bytes(), 7), Err(BadChunk));
    let many = |lines: usize| format!("0\r\n{}\r\n", "a: b\r\n".repeat(lines));
    assert!(decode(many(TRAILERS_MAX).as_bytes(), 7).is_ok_and(|body| body.is_some()));
    assert_eq!(decode(many(TRAILERS_MAX + 1).as_bytes(), 7), Err(BadChunk));
}

proptest! {
    #[test]
    fn what_was_chunked_reads_back_however_it_arrives(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
        piece in 1_usize..60,
    ) {
        let mut sent = Vec::new();
        for part in &parts {
            sent.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
            sent.extend_from_slice(part);
            sent.extend_from_slice(b"\r\n");
        }
        sent.extend_from_slice(b"0\r\n\r\n");
        let length = sent.len();
        sent.extend_from_slice(b"rest");
        prop_assert_eq!(decode(&sent, piece), Ok(Some((parts.concat(), length))));
    }

    #[test]
    fn any_bytes_are_a_body_or_are_refused_wherever_they_are_cut(
        sent in "([0-9a-f]{0,3}|\r\n|[;=\" a-c]|\r|\n|[a-c]: x\r\n){0,12}",
        piece in 1_usize..20,
    ) {
        prop_assert_eq!(decode(sent.as_bytes(), piece), decode(sent.as_bytes(), sent.len()));
    }
}
