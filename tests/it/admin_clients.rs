//! Clients of the admin address that are silent, slow, greedy or not to be let in.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::world::{Process, World, eventually};

/// The longest deadline of a state, and some time for a busy machine.
const CLOSED_WITHIN: Duration = Duration::from_secs(18);
/// Below this no worker is kept busy: a spinning one takes 40 or more in a second.
const TICKS_PER_SECOND_MAX: f64 = 15.0;

fn connect(up: &Process) -> TcpStream {
    let stream = TcpStream::connect(up.admin).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

fn sending(up: &Process, text: &str) -> TcpStream {
    let mut stream = connect(up);
    stream.write_all(text.as_bytes()).unwrap();
    stream
}

fn get(up: &Process, target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", up.admin)
}

/// The head of a change that is allowed.
fn change(world: &World, up: &Process, line: &str, fields: &str) -> String {
    format!(
        "{line} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nAuthorization: Bearer {}\r\n{fields}\r\n",
        up.admin,
        token(world)
    )
}

fn token(world: &World) -> String {
    let text = std::fs::read_to_string(world.data().join("run.json")).unwrap();
    let run: serde_json::Value = serde_json::from_str(&text).unwrap();
    run["token"].as_str().unwrap().to_owned()
}

/// All that comes until the other side closes or resets.
fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("still open after {bytes:?}"),
        _ => bytes,
    }
}

fn text_to_end(stream: &mut TcpStream) -> String {
    String::from_utf8(read_to_end(stream)).unwrap()
}

/// Sends `bytes` again and again, until it is not taken any more.
fn send_for_ever(stream: &mut TcpStream, bytes: &[u8], bytes_max: usize) -> usize {
    stream.set_nonblocking(true).unwrap();
    let (mut sent, mut blocked) = (0, Instant::now());
    while sent < bytes_max && blocked.elapsed() < Duration::from_secs(1) {
        match stream.write(&bytes[sent % bytes.len()..]) {
            Ok(written) => {
                sent += written;
                blocked = Instant::now();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(_) => break,
        }
    }
    stream.set_nonblocking(false).unwrap();
    sent
}

/// User and system time of the process, in ticks of 10 ms.
fn ticks(up: &Process) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", up.pid().as_raw_nonzero())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn resident_mib(up: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", up.pid().as_raw_nonzero())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

/// Descriptors of the process that are sockets. Those that clients have not opened are there from
/// the start.
fn sockets(up: &Process) -> usize {
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", up.pid().as_raw_nonzero())).unwrap();
    let is_socket = |path: &PathBuf| {
        // One that is closed meanwhile is none.
        std::fs::read_link(path).is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
    };
    descriptors.map(|entry| entry.unwrap().path()).filter(is_socket).count()
}

/// [`sockets`], once those of earlier clients are gone.
fn calm_sockets(up: &Process) -> usize {
    let mut last = sockets(up);
    let mut looks_alike = 0;
    eventually("earlier clients are gone", || {
        let now = sockets(up);
        looks_alike = if now == last { looks_alike + 1 } else { 0 };
        last = now;
        looks_alike == 30
    });
    last
}

/// Enough programs that a list of them fits into no buffer of the kernel.
fn many_programs(world: &World) -> usize {
    let program = |id: u32| {
        let url = format!("https://shop.example/{}", "x".repeat(4_000));
        format!(
            r#"{{"programId":"{id}","programName":"P","customerId":1,"customerName":"C","valid":true,"landingUrl":"{url}"}}"#
        )
    };
    let lines: Vec<String> = (0..5_000).map(program).collect();
    let file = world.write("many.jsonl", &lines.join("\n"));
    world.ok(&["programs", "import", file.to_str().unwrap()]);
    lines.len()
}

/// One client of each kind that then does nothing more by itself.
fn silent_clients(world: &World, up: &Process) -> Vec<(&'static str, TcpStream)> {
    let half_body = change(world, up, "POST /programs", "Content-Length: 1000000\r\n") + "{\"programId\":";
    let mut clients = vec![
        ("sends nothing", connect(up)),
        ("sends half a head", sending(up, "GET /page.js HTTP/1.1\r\nHo")),
        ("sends line breaks", sending(up, "\r\n\r\n")),
        ("sends half a body", sending(up, &half_body)),
        ("reads no answer", sending(up, &get(up, "/programs"))),
    ];
    let mut pipelining = connect(up);
    send_for_ever(&mut pipelining, get(up, "/page.js").as_bytes(), 64 << 20);
    clients.push(("pipelines and does not read", pipelining));
    clients
}

#[test]
fn a_silent_client_costs_no_cpu_and_no_memory_and_is_closed() {
    let world = World::new();
    let up = world.start("up");
    many_programs(&world);
    let calm = calm_sockets(&up);
    let clients = silent_clients(&world, &up);
    // All but the one that pipelined, which has its answer and is closed sooner.
    eventually("they are taken", || sockets(&up) >= calm + clients.len() - 1);
    for (what, client) in &clients {
        if what.contains("read") {
            client.peek(&mut [0]).unwrap();
        }
    }
    let begin = Instant::now();
    let ticks_before = ticks(&up);
    let memory_before = resident_mib(&up);
    // The time that is measured.
    std::thread::sleep(Duration::from_secs(5));
    let spent = (ticks(&up) - ticks_before) as f64 / begin.elapsed().as_secs_f64();
    assert!(spent < TICKS_PER_SECOND_MAX, "{spent} ticks in a second");
    let grown = resident_mib(&up).saturating_sub(memory_before);
    assert!(grown < 32, "{grown} MiB");

    eventually("their connections are gone", || sockets(&up) <= calm);
    assert!(begin.elapsed() < CLOSED_WITHIN, "{:?}", begin.elapsed());
    for (what, mut client) in clients {
        let answer = read_to_end(&mut client);
        let line = String::from_utf8_lossy(&answer).lines().next().unwrap_or("").to_owned();
        let expected = match what {
            "sends nothing" => "",
            "sends half a head" | "sends line breaks" | "sends half a body" => "HTTP/1.1 408",
            "pipelines and does not read" | "reads no answer" => "HTTP/1.1 200",
            _ => panic!("{what}"),
        };
        assert!(line.starts_with(expected), "{what}: {line:?}");
    }
    assert_eq!(up.stop().code(), Some(0));
}

#[test]
fn a_client_that_drips_is_closed_although_it_never_pauses() {
    let world = World::new();
    let up = world.start("up");
    let calm = calm_sockets(&up);
    let body = change(&world, &up, "POST /programs", "Content-Length: 1000000\r\n");
    let mut clients = [
        ("a head", sending(&up, "GET /page.js HTTP/1.1\r\nX: "), &b"x"[..]),
        ("line breaks", connect(&up), b"\n"),
        ("a body", sending(&up, &body), b" "),
    ];
    eventually("they are taken", || sockets(&up) >= calm + clients.len());
    let begin = Instant::now();
    let ticks_before = ticks(&up);
    eventually("their connections are gone", || {
        for (_, client, drop) in &mut clients {
            let _ = client.write(drop);
        }
        std::thread::sleep(Duration::from_millis(20));
        sockets(&up) <= calm
    });
    assert!(begin.elapsed() < CLOSED_WITHIN, "{:?}", begin.elapsed());
    let spent = (ticks(&up) - ticks_before) as f64 / begin.elapsed().as_secs_f64();
    assert!(spent < TICKS_PER_SECOND_MAX, "{spent} ticks in a second");
    assert_eq!(up.stop().code(), Some(0));
}

#[test]
fn a_greedy_client_grows_nothing() {
    let world = World::new();
    let up = world.start("up");
    let memory_before = resident_mib(&up);
    for pipelined in [
        get(&up, "/page.js"),
        get(&up, "/stats"),
        get(&up, "/nosuch"),
        get(&up, "/stats").replace("GET", "HEAD"),
        get(&up, "/stats").replace("GET", "OPTIONS"),
        "\r\n".to_owned(),
        "x".repeat(1_000),
    ] {
        let sent = send_for_ever(&mut connect(&up), pipelined.as_bytes(), 256 << 20);
        assert!(sent < 64 << 20, "took {sent} bytes of {pipelined:?}");
    }
    let grown = resident_mib(&up).saturating_sub(memory_before);
    assert!(grown < 32, "{grown} MiB");
    assert_eq!(up.stop().code(), Some(0));
}

#[test]
fn more_clients_than_there_are_places_wait_for_one() {
    let world = World::new();
    let up = world.start("up");
    let calm = calm_sockets(&up);
    let begin = Instant::now();
    let idle: Vec<TcpStream> = (0..160).map(|_| connect(&up)).collect();
    let mut late = sending(&up, &get(&up, "/page.js"));
    eventually("the places are taken", || sockets(&up) >= calm + 128);
    // Before the idle ones are closed.
    while begin.elapsed() < Duration::from_secs(6) {
        let taken = sockets(&up) - calm;
        // One more may have been accepted when the places ran out.
        assert!(taken <= 129, "{taken}");
        std::thread::sleep(Duration::from_millis(50));
    }
    late.set_nonblocking(true).unwrap();
    assert_eq!(late.peek(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock, "there is no place for it");
    late.set_nonblocking(false).unwrap();
    assert!(text_to_end(&mut late).starts_with("HTTP/1.1 200"));
    drop(idle);
    assert_eq!(up.stop().code(), Some(0));
}

#[test]
fn sigterm_ends_the_process_promptly_whatever_clients_do() {
    let world = World::new();
    let up = world.start("up");
    many_programs(&world);
    let clients = silent_clients(&world, &up);
    let begin = Instant::now();
    assert_eq!(up.stop().code(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());
    drop(clients);
}

#[test]
fn a_connection_has_one_answer_and_then_ends() {
    let world = World::new();
    let up = world.start("up");
    let first = get(&up, "/page.js");
    for second in [&first, &get(&up, "/stats"), &first.replace("GET", "HEAD"), "nonsense\r\n\r\n"] {
        let text = text_to_end(&mut sending(&up, &format!("{first}{second}")));
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{text}");
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains("\r\nConnection: close") && head.contains("\r\nDate: "), "{head}");
        assert!(head.contains(&format!("\r\nContent-Length: {}", body.len())), "{head}");
    }
    let of_head = text_to_end(&mut sending(&up, &first.replace("GET", "HEAD")));
    let (head, body) = of_head.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && body.is_empty(), "{of_head}");
    assert!(!head.contains("\r\nContent-Length: 0"), "{head}");

    let refused = text_to_end(&mut sending(&up, "GET / HTTP/2.0\r\n\r\n"));
    assert!(refused.starts_with("HTTP/1.1 505 ") && refused.contains("\"error\""), "{refused}");
    let long = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}", "x".repeat(32 << 10));
    assert!(text_to_end(&mut sending(&up, &long)).starts_with("HTTP/1.1 431 "));
    assert_eq!(up.stop().code(), Some(0));
}

#[test]
fn a_client_that_reads_slowly_gets_everything() {
    let world = World::new();
    let up = world.start("up");
    let programs = many_programs(&world);
    let mut stream = sending(&up, &get(&up, "/programs"));
    let (mut bytes, mut chunk) = (Vec::new(), vec![0; 1 << 20]);
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => bytes.extend_from_slice(&chunk[..read]),
            Err(error) => panic!("after {} bytes: {error}", bytes.len()),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let text = String::from_utf8(bytes).unwrap();
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    let listed: serde_json::Value = serde_json::from_str(body).unwrap();
    assert!(listed.as_array().unwrap().len() >= programs);
    assert_eq!(up.stop().code(), Some(0));
}

#[test]
fn a_body_that_nobody_takes_is_not_read() {
    let world = World::new();
    let up = world.start("up");
    let stranger = |line: &str, fields: &str| {
        format!("{line} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n{fields}\r\n", up.admin)
    };
    let length = "Content-Length: 100000000\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    // The body never comes, so whoever waited for it would not answer.
    for (head, status) in [
        (stranger("GET /page.js", length), "200"),
        (stranger("GET /stats", chunked), "200"),
        (stranger("HEAD /programs", length), "200"),
        (stranger("GET /nosuch", length), "404"),
        (stranger("POST /programs", length), "401"),
        (stranger("POST /programs", chunked), "401"),
        (stranger("POST /programs", &format!("{length}Expect: 100-continue\r\n")), "401"),
        (change(&world, &up, "POST /nosuch", length), "404"),
        (change(&world, &up, "DELETE /programs/nosuch", length), "404"),
        (change(&world, &up, "POST /cache/fill", length), "200"),
        (change(&world, &up, "POST /programs", chunked), "411"),
        (change(&world, &up, "POST /programs", "Content-Length: 268435457\r\n"), "413"),
    ] {
        let begin = Instant::now();
        let mut stream = sending(&up, &head);
        let mut line = [0; 12];
        stream.read_exact(&mut line).unwrap();
        assert_eq!(std::str::from_utf8(&line).unwrap(), format!("HTTP/1.1 {status}"), "{head}");
        let rest = text_to_end(&mut stream);
        assert!(rest.contains("\r\nConnection: close\r\n"), "{head}{rest}");
        assert!(begin.elapsed() < Duration::from_secs(5), "{head}");
    }

    let mut uploading = sending(&up, &stranger("POST /programs", length));
    let sent = send_for_ever(&mut uploading, b" ", 100_000_000);
    assert!(sent < 64 << 20, "{sent} bytes were taken of a stranger");
    assert_eq!(up.stop().code(), Some(0));
}

#[test]
fn a_client_that_asks_first_is_told_when_it_may_send() {
    let world = World::new();
    let up = world.start("up");
    let body = r#"{"url":"/c/212312"}"#;
    let fields = format!("Content-Length: {}\r\nExpect: 100-continue\r\n", body.len());
    let mut stream = sending(&up, &change(&world, &up, "POST /explain", &fields));
    let mut told = [0; 25];
    stream.read_exact(&mut told).unwrap();
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body.as_bytes()).unwrap();
    assert!(text_to_end(&mut stream).starts_with("HTTP/1.1 200 "));
    assert_eq!(up.stop().code(), Some(0));
}

#[test]
fn an_absolute_target_is_checked_like_a_host_and_wins_over_it() {
    let world = World::new();
    let up = world.start("up");
    let ours = up.admin.to_string();
    let localhost = format!("localhost:{}", up.admin.port());
    for (target, host, status) in [
        (format!("http://{ours}/page.js"), ours.as_str(), 200),
        (format!("http://{localhost}/page.js"), &ours, 200),
        (format!("http://{ours}/page.js"), "evil.example", 200),
        ("/page.js".to_owned(), "evil.example", 421),
        ("http://evil.example/page.js".to_owned(), &ours, 421),
        (format!("http://evil.example:{}/page.js", up.admin.port()), &ours, 421),
        (format!("http://{ours}@evil.example/page.js"), &ours, 421),
        (format!("http://user@{ours}/page.js"), &ours, 421),
        ("http://evil.example/page.js".to_owned(), "evil.example", 421),
    ] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let answer = text_to_end(&mut sending(&up, &head));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head}{answer}");
    }
    assert_eq!(up.stop().code(), Some(0));
}
