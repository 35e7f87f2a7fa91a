use proptest::prelude::*;

use super::*;

/// Frames as ActiveMQ 5.17.2 sent them.
const GOLDEN: &[u8] = include_bytes!("../../../golden/activemq-5.17.2.stomp");

fn small() -> Limits {
    Limits { head_bytes_max: 200, headers_max: 5, body_bytes_max: 100 }
}

fn decode_all(bytes: &[u8], limits: Limits) -> Result<Vec<Frame>, BadFrame> {
    decode_in_pieces(&[bytes], limits)
}

fn decode_in_pieces(pieces: &[&[u8]], limits: Limits) -> Result<Vec<Frame>, BadFrame> {
    let mut decoder = Decoder::new(limits);
    let mut input = BytesMut::new();
    let mut frames = Vec::new();
    for piece in pieces {
        input.extend_from_slice(piece);
        while let Some(frame) = decoder.next(&mut input)? {
            frames.push(frame);
        }
    }
    Ok(frames)
}

fn encoded(frame: &Frame) -> BytesMut {
    let mut out = BytesMut::new();
    encode(frame, &mut out);
    out
}

#[test]
fn frames_of_a_real_broker_are_read_the_same_wherever_they_are_cut() {
    let whole = decode_all(GOLDEN, Limits::default()).unwrap();
    let commands: Vec<Command> = whole.iter().map(|frame| frame.command).collect();
    assert_eq!(commands[0], Command::Connected);
    assert!(commands.contains(&Command::Receipt) && commands.contains(&Command::Error), "{commands:?}");
    let messages: Vec<&Frame> = whole.iter().filter(|frame| frame.command == Command::Message).collect();
    let bodies: Vec<&[u8]> = messages.iter().map(|frame| &*frame.body).collect();
    // Two texts, bytes with a NUL, and a property with colon, newline and backslash.
    assert_eq!(bodies, [&b"hello"[..], "\u{1f600}".as_bytes(), b"a\0b", b"x"]);
    assert_eq!(messages[3].header("note"), Some("a:b\nc\\d"));
    assert!(messages.iter().all(|frame| frame.fault.is_none() && frame.header("ack").is_some()));
    for cut in 0..GOLDEN.len() {
        let (one, other) = GOLDEN.split_at(cut);
        assert_eq!(decode_in_pieces(&[one, other], Limits::default()).unwrap(), whole, "cut at {cut}");
    }
    let bytes: Vec<&[u8]> = GOLDEN.chunks(1).collect();
    assert_eq!(decode_in_pieces(&bytes, Limits::default()).unwrap(), whole);
}

#[test]
fn lines_may_end_with_cr_lf_and_frames_may_be_followed_by_line_ends() {
    let frames =
        decode_all(b"\n\r\nMESSAGE\r\na:1\r\n\r\nbody\0\n\r\n\nRECEIPT\nreceipt-id:7\n\n\0\n", small());
    let frames = frames.unwrap();
    assert_eq!((frames[0].header("a"), &frames[0].body[..]), (Some("1"), &b"body"[..]));
    assert_eq!(frames[1].header("receipt-id"), Some("7"));
}

#[test]
fn of_a_repeated_header_the_first_counts_and_spaces_are_kept() {
    let frames = decode_all(b"MESSAGE\na: 1 \na:2\nb:\n\n\0", small()).unwrap();
    assert_eq!((frames[0].header("a"), frames[0].header("b")), (Some(" 1 "), Some("")));
    assert_eq!(frames[0].headers.len(), 3);
}

#[test]
fn the_handshake_is_not_escaped_and_everything_else_is() {
    let frames =
        decode_all(b"CONNECTED\nsession:ID:host\\n1\n\n\0MESSAGE\nk\\ce\\ny:a\\c\\\\n:\n\n\0", small());
    let frames = frames.unwrap();
    assert_eq!(frames[0].header("session"), Some("ID:host\\n1"));
    assert_eq!(frames[1].header("k:e\ny"), Some("a:\\n:"));
}

#[test]
fn a_wrong_header_is_said_and_costs_neither_the_frame_nor_the_next() {
    let head = b"MESSAGE\nack:1\nbroken\nb:\\t\nc:\xff\n\nbody\0RECEIPT\nreceipt-id:1\n\n\0";
    let frames = decode_all(head, small()).unwrap();
    assert_eq!((frames.len(), frames[0].fault), (2, Some(HeadFault::NotUtf8)));
    assert_eq!((frames[0].header("ack"), &frames[0].body[..]), (Some("1"), &b"body"[..]));
    let fault =
        |lines: &str| decode_all(format!("MESSAGE\n{lines}\n\n\0").as_bytes(), small()).unwrap()[0].fault;
    assert_eq!(fault("a:1\nbroken"), Some(HeadFault::NoColon { line: 2 }));
    assert_eq!(fault("a:\\t"), Some(HeadFault::Escape { line: 1 }));
    assert_eq!(fault("a\\:1"), Some(HeadFault::Escape { line: 1 }));
}

#[test]
fn a_content_length_counts_and_without_one_the_first_nul_ends_the_body() {
    let frames = decode_all(b"MESSAGE\ncontent-length:3\n\n\0\0\0\0MESSAGE\n\nab\0\n", small()).unwrap();
    assert_eq!((&frames[0].body[..], &frames[1].body[..]), (&b"\0\0\0"[..], &b"ab"[..]));
}

#[test]
fn every_limit_is_reached_and_named() {
    let limits = small();
    let wrong = |bytes: &[u8]| decode_all(bytes, limits).unwrap_err();
    let long = "x".repeat(201);
    let head = format!("MESSAGE\na:{long}{}", "y".repeat(40));
    assert_eq!(wrong(head.as_bytes()), BadFrame::HeadTooLong(200));
    assert_eq!(wrong(format!("{head}\n\n\0").as_bytes()), BadFrame::HeadTooLong(200));
    assert_eq!(wrong(b"MESSAGE\na:\nb:\nc:\nd:\ne:\nf:\n\n\0"), BadFrame::TooManyHeaders(5));
    assert_eq!(wrong(b"MESSAGE\ncontent-length:101\n\n"), BadFrame::BodyTooLong(100));
    assert_eq!(wrong(&[b"MESSAGE\n\n", &[b'x'; 101][..]].concat()), BadFrame::BodyTooLong(100));
    assert_eq!(wrong(&[b"MESSAGE\n\n", &[b'x'; 101][..], b"\0"].concat()), BadFrame::BodyTooLong(100));
    assert_eq!(decode_all(&[b"MESSAGE\n\n", &[b'x'; 100][..], b"\0"].concat(), limits).unwrap().len(), 1);
    for length in ["", "-1", "+1", " 1", "1 ", "x", "99999999999999999999999"] {
        let error = wrong(format!("MESSAGE\ncontent-length:{length}\n\n").as_bytes());
        assert_eq!(error, BadFrame::ContentLength(length.to_owned()));
    }
    assert_eq!(wrong(b"MESSAGE\ncontent-length:1\n\nab\0"), BadFrame::NoEnd(Command::Message));
    assert_eq!(wrong(b"HELLO\n\n\0"), BadFrame::Command("HELLO".into()));
    assert!(
        matches!(wrong(&[b'x'; 40]), BadFrame::Command(_)),
        "garbage without a line end is not collected"
    );
}

#[test]
fn a_text_is_sent_without_length_unless_it_has_a_nul() {
    let mut frame = Frame::new(Command::Send, &[("amq-msg-type", "text")]);
    frame.body = Bytes::from_static(b"text");
    assert!(!encoded(&frame).windows(14).any(|at| at == b"content-length"));
    frame.body = Bytes::from_static(b"te\0xt");
    assert_eq!(decode_all(&encoded(&frame), small()).unwrap()[0].body, frame.body);
}

#[test]
fn a_passcode_is_not_shown() {
    let frame = Frame::new(Command::Connect, &[("login", "me"), ("passcode", "s3cret")]);
    assert!(!format!("{frame:?}").contains("s3cret"));
}

prop_compose! {
    fn any_frame()(
        command in prop::sample::select(vec![Command::Send, Command::Message, Command::Connected, Command::Error]),
        headers in prop::collection::vec(("[a-z:\\\\\n\rü]{1,8}", "[a-z:\\\\\n\r😀 ]{0,12}"), 0..5),
        body in prop::collection::vec(any::<u8>(), 0..60),
    ) -> Frame {
        let mut frame = Frame::new(command, &[]);
        for (name, value) in &headers {
            // The handshake cannot carry what would have to be escaped.
            let plain = |text: &str| text.replace(['\n', '\r', ':'], "_");
            match command.is_escaped() {
                true => frame.headers.push(name, value),
                false => frame.headers.push(&plain(name), &plain(value)),
            }
        }
        if command.may_have_body() {
            frame.body = body.into();
        }
        frame
    }
}

#[test]
fn what_the_fuzzer_found_stays_found() {
    // Colons of a value that came as they are, and twice as long when they are written.
    let colons = ":".repeat(400);
    crate::fuzz::stomp(format!("\0MESSAGE\na{colons}\n\nbody\0").as_bytes());
}

#[test]
fn more_headers_than_a_broker_takes_are_read_since_it_adds_its_own() {
    let mut message = Frame::new(Command::Message, &[]);
    (0..2_000).for_each(|n| message.headers.push(&format!("h{n}"), "x"));
    message.headers.push("ack", "a-1");
    let read = decode_all(&encoded(&message), Limits::default()).unwrap();
    assert_eq!((read.len(), read[0].header("ack")), (1, Some("a-1")));
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded_however_it_is_cut(
        frames in prop::collection::vec(any_frame(), 1..4),
        piece in 1usize..40,
    ) {
        let mut bytes = BytesMut::new();
        frames.iter().for_each(|frame| encode(frame, &mut bytes));
        let pieces: Vec<&[u8]> = bytes.chunks(piece).collect();
        let mut read = decode_in_pieces(&pieces, Limits::default()).unwrap();
        prop_assert_eq!(read.len(), frames.len());
        for (frame, sent) in read.iter_mut().zip(&frames) {
            let given: Vec<_> = frame.headers.iter().filter(|(name, _)| *name != "content-length").collect();
            prop_assert_eq!(given, sent.headers.iter().collect::<Vec<_>>());
            prop_assert_eq!((&frame.body, frame.command, frame.fault), (&sent.body, sent.command, None));
        }
    }

    #[test]
    fn any_bytes_are_frames_or_refused(
        bytes in "(MESSAGE|RECEIPT|ERROR|\r|\n|\n\n|a:b|ack:1|content-length:[0-9]{1,3}|\\\\[rnct]|\x00|[a-z: \\\\]){0,30}",
    ) {
        crate::fuzz::stomp(bytes.as_bytes());
    }
}
