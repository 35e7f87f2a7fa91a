//! What only a browser can say: that the page shows it, and that other pages cannot.

mod bodies;
mod driver;
mod origins;
mod speculation;
mod tag;

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::http::{Answer, Client, get};
use crate::world::{Process, World, eventually};
use driver::Browser;

/// The token of the process that owns the directory.
fn token(world: &World) -> String {
    let text = std::fs::read_to_string(world.data().join("run.json")).unwrap();
    let run: Json = serde_json::from_str(&text).unwrap();
    run["token"].as_str().unwrap().to_owned()
}

/// The page with everything it has, as the start screen says to open it.
fn open_page(browser: &Browser, world: &World, up: &Process) {
    browser.open(&format!("http://{}/#token={}", up.admin, token(world)));
    browser.until("the page shows programs", "document.querySelectorAll('#programs li').length >= 3");
}

/// A process that is killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ask_admin(up: &Process, target: &str) -> Answer {
    let head = format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", up.admin);
    Client::open(up.admin).unwrap().send(&head).unwrap()
}

#[test]
fn the_figures_of_each_second_are_there_without_a_browser() {
    let world = World::new();
    let up = world.start("up");
    for target in ["/c/212313", "/c/212313", "/c/nosuch", "/nowhere"] {
        get(up.tracker, target);
    }
    // A beacon counts as what it holds.
    let body = r#"[{"program":"212312","type":"click"},{"program":"212312","type":"seen"}]"#;
    let head = format!("POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    assert_eq!(Client::open(up.tracker).unwrap().send(&head).unwrap().status, 204);
    let mut stats = Json::Null;
    eventually("two seconds are sampled", || {
        stats = ask_admin(&up, "/stats").json();
        stats["samples"].as_array().unwrap().len() >= 2 && stats["totals"]["accepted"] == 4
    });
    assert_eq!((&stats["totals"]["refused"], &stats["totals"]["other"]), (&json!(1), &json!(1)), "{stats}");
    assert_eq!(stats["refused"]["unknown_program"], 1);
    assert_eq!((&stats["hits"], &stats["consumes"]), (&json!(up.tracker.to_string()), &json!(true)));
    assert_eq!((&stats["health"]["ready"], &stats["catalog"]["entries"]), (&json!(true), &json!(3)));
    let seconds: Vec<_> = stats["samples"].as_array().unwrap().iter().map(|row| row[0].as_u64()).collect();
    assert!(seconds.windows(2).all(|pair| pair[0] < pair[1]), "{seconds:?}");
    let accepted = stats["samples"].as_array().unwrap().iter().map(|row| row[1].as_u64().unwrap());
    assert_eq!(accepted.sum::<u64>(), 4);
}

#[test]
fn the_start_screen_opens_the_page_and_shows_no_token_of_the_configuration() {
    let mut world = World::new();
    let up = world.start("up");
    let link = format!("http://{}/#token={}\n", up.admin, token(&world));
    assert!(up.output().contains(&link), "{}", up.output());
    assert!(up.stop().success());

    world.set("admin.token", "a-secret-that-outlives-the-process");
    let up = world.start("up");
    assert!(up.output().contains(&format!("http://{}/\n", up.admin)), "{}", up.output());
    assert!(!up.output().contains("a-secret"), "{}", up.output());
}

#[test]
fn the_page_shows_a_hit_within_a_second_of_its_answer() {
    let world = World::new();
    let Some(browser) = Browser::start() else { return };
    let up = world.start("up");
    open_page(&browser, &world, &up);
    assert_eq!(browser.value("location.hash + location.href.includes('token')"), "false");
    assert!(browser.text("#events").contains("No event is stored yet"));
    assert_eq!(browser.text("#missing-value"), "0 missing");

    for round in 0..5 {
        let id = get(up.tracker, &format!("/event/212313?round={round}")).message_id().unwrap();
        let answered = Instant::now();
        browser.until("the hit is shown", &format!("document.querySelector('[data-id=\"{id}\"]')"));
        assert!(answered.elapsed() < Duration::from_secs(1), "{:?}", answered.elapsed());
    }
    browser.until("it is counted", "document.querySelector('#accepted-value').textContent === '5'");
    browser.until("it is drawn", "document.querySelector('#chart-accepted').getAttribute('d').length > 0");
    assert!(browser.text("#chart-text").starts_with("In the last five minutes: 5 accepted"));
    assert_eq!(browser.errors(), Vec::<String>::new());
}

#[test]
fn the_newest_50_events_are_shown_whatever_comes() {
    let world = World::new();
    let Some(browser) = Browser::start() else { return };
    let up = world.start("up");
    open_page(&browser, &world, &up);
    let mut client = Client::open(up.tracker).unwrap();
    let mut last = None;
    for _ in 0..500 {
        last = client.get("/event/212312").unwrap().message_id();
    }
    let newest =
        format!("document.querySelector('#events').firstElementChild.dataset.id === '{}'", last.unwrap());
    browser.until("the newest is on top", &newest);
    let ids = browser.value("[...document.querySelectorAll('#events [data-id]')].map((it) => it.dataset.id)");
    let mut ids: Vec<&str> = ids.as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    ids.dedup();
    assert_eq!(ids.len(), 50);
}

#[test]
fn a_user_agent_full_of_html_stays_text() {
    const EVIL: &str = "<img src=x onerror=\"window.evil=1\"><script>window.evil=1</script></pre><b id=evil>";
    let world = World::new();
    let Some(browser) = Browser::start() else { return };
    let up = world.start("up");
    open_page(&browser, &world, &up);
    let hit = |target: &str| {
        let head =
            format!("GET {target} HTTP/1.1\r\nHost: x\r\nUser-Agent: {EVIL}\r\nReferer: {EVIL}\r\n\r\n");
        Client::open(up.tracker).unwrap().send(&head).unwrap()
    };
    let id = hit("/event/212313").message_id().unwrap();
    hit("/c/%3Cb%20id%3Devil%3E");
    let row = format!("[data-id=\"{id}\"]");
    browser.until("it is shown", &format!("document.querySelector('{row}')"));
    browser.run("document.querySelector(arguments[0]).open = true", json!([row]));
    browser.until("its details are shown", &format!("document.querySelector('{row} pre')"));
    assert!(browser.text(&row).contains(EVIL), "{}", browser.text(&row));
    let details: Json = serde_json::from_str(&browser.text(&format!("{row} pre"))).unwrap();
    assert_eq!((&details["userAgent"], &details["messageId"]), (&json!(EVIL), &json!(id)));

    // So is what a program is called, and what the decision says of a hit.
    browser.run(
        "return fetch('/programs/212313').then((it) => it.json()).then(({ revision, ...program }) =>
           fetch('/programs/212313', { method: 'PUT', body: JSON.stringify({ ...program, programName: arguments[0] }),
             headers: { 'Content-Type': 'application/json',
                        Authorization: 'Bearer ' + sessionStorage.getItem('clickgate-token') } })
             .then((it) => it.status))",
        json!([EVIL]),
    );
    browser.until("the name is shown", "document.querySelector('#programs').innerText.includes('onerror')");
    browser.run(
        "document.querySelector('#try-url').value = '/c/212313?a=%3Cb%20id%3Devil%3E&a=%zz';
         document.querySelector('#try-form').requestSubmit()",
        json!([]),
    );
    browser.until("it is decided", "document.querySelectorAll('#try-steps li').length > 2");
    assert_eq!(browser.value("document.querySelectorAll('#evil, main img, main script').length"), 0);
    assert_eq!(browser.value("window.evil"), Json::Null);
}

#[test]
fn pausing_a_program_on_the_page_makes_the_next_hit_refused() {
    let world = World::new();
    let Some(browser) = Browser::start() else { return };
    let up = world.start("up");
    open_page(&browser, &world, &up);
    assert_eq!(get(up.tracker, "/event/212314").status, 200);
    let row = "document.querySelector('#programs [data-program=\"212314\"]')";
    let press = |label: &str| {
        let labelled = format!("[aria-label=\"{label} 212314\"]");
        browser.run("document.querySelector(arguments[0]).click()", json!([labelled]));
    };
    press("Pause");
    browser.until("it is paused", &format!("{row}.innerText.includes('paused')"));
    assert_eq!(get(up.tracker, "/event/212314").json()["error"], "inactive_program");
    browser.until(
        "the refusal is counted by its reason",
        "document.querySelector('#refusals').innerText.includes('inactive program')",
    );
    press("Resume");
    browser.until("it is active", &format!("{row}.innerText.includes('active')"));
    assert_eq!(get(up.tracker, "/event/212314").status, 200);

    let save = |json: &str| {
        browser.run(
            "document.querySelector('#editor-json').value = arguments[0];
             document.querySelector('#editor-form').requestSubmit()",
            json!([json]),
        );
    };
    press("Edit");
    assert!(
        browser.value("document.querySelector('#editor-json').value").as_str().unwrap().contains("212314")
    );
    save("{ \"programId\": ");
    browser.until("what is no JSON is refused", "!document.querySelector('#editor-problem').hidden");
    save(r#"{"programId":"212314","programName":"x","valid":"perhaps"}"#);
    browser.until(
        "a field that cannot be is named",
        "document.querySelector('#editor-problem').innerText.includes('valid')",
    );
    save(
        r#"{"programId":"212314","programName":"renamed","checksum":"1","customerId":1,"customerName":"C","valid":true}"#,
    );
    browser.until("the editor closes", "!document.querySelector('#editor').open");
    assert_eq!(get(up.tracker, "/event/212314").json()["programName"], "renamed");
}

#[test]
fn without_a_token_the_page_reads_and_says_how_to_change() {
    let world = World::new();
    let Some(browser) = Browser::start() else { return };
    let up = world.start("up");
    get(up.tracker, "/c/212313");
    browser.open(&format!("http://{}/", up.admin));
    browser.until("the hit is shown", "document.querySelector('#events [data-id]')");
    browser.until("programs are shown", "document.querySelectorAll('#programs li').length === 3");
    assert!(browser.text("#read-only").contains("#token="));
    assert_eq!(
        browser.value("[...document.querySelectorAll('[data-changes]')].every((it) => it.disabled)"),
        true
    );

    browser.open(&format!("http://{}/#token=wrong", up.admin));
    browser.run("location.reload()", json!([]));
    browser.until(
        "a token is believed at first",
        "!document.querySelector('[aria-label=\"Pause 212314\"]').disabled",
    );
    browser.run("document.querySelector('[aria-label=\"Pause 212314\"]').click()", json!([]));
    browser.until("it is refused", "!document.querySelector('#programs-problem').hidden");
    browser.until("and forgotten", "!document.querySelector('#read-only').hidden");
    assert_eq!(get(up.tracker, "/event/212314").status, 200);
}

#[test]
fn a_page_whose_process_is_gone_says_so_and_recovers() {
    let mut world = World::new();
    let Some(browser) = Browser::start() else { return };
    let up = world.start("up");
    open_page(&browser, &world, &up);
    let (tracker, admin) = (up.tracker, up.admin);
    get(tracker, "/c/212313");
    browser.until("the hit is shown", "document.querySelector('#events [data-id]')");
    assert_eq!(browser.value("document.querySelector('#disconnected').hidden"), true);
    assert!(up.stop().success());
    browser.until("it says that it is alone", "!document.querySelector('#disconnected').hidden");
    assert!(browser.text("#disconnected").contains("trying again"));
    assert!(browser.text("#events").contains("click"), "the last that is known stays");

    // Another process at the same address, whose token is another one.
    world.set("tracker.listen", &tracker.to_string());
    world.set("admin.listen", &admin.to_string());
    let mut again = world.clickgate(&["up"]);
    let _again =
        Running(again.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    browser.until("it is back", "document.querySelector('#disconnected').hidden");
    let id = get(tracker, "/event/212312").message_id().unwrap();
    browser.until("new hits are shown", &format!("document.querySelector('[data-id=\"{id}\"]')"));
}

#[test]
fn a_process_without_a_consumer_has_a_page_that_makes_no_table() {
    let world = World::new();
    let Some(browser) = Browser::start() else { return };
    let up = world.start("tracker");
    browser.open(&format!("http://{}/", up.admin));
    browser.until(
        "it says why there are no events",
        "document.querySelector('#events').innerText.includes('No consumer')",
    );
    browser.until("and no ledger", "document.querySelector('#ledger').innerText.includes('No consumer')");
    assert!(!world.data().join("table.redb").exists());
}

#[test]
fn the_page_fits_a_phone_and_a_desk_in_light_and_in_dark() {
    let world = World::new();
    let Some(browser) = Browser::start_with(&["--hide-scrollbars"]) else { return };
    let up = world.start("up");
    let mut client = Client::open(up.tracker).unwrap();
    let targets = [
        "/c/212313?utm_source=news&utm_campaign=spring",
        "/i/212312.gif",
        "/i/212314.gif?size=xl",
        "/event/212312",
        "/c/nosuch",
        "/c/212314?gclid=abc",
        "/i/212312.gif?placement=top",
        "/event/not%20an%20id",
    ];
    // Some seconds of hits, so that there is something to see.
    let mut random = fastrand::Rng::with_seed(42);
    for second in 1..=8 {
        for _ in 0..random.u64(20 + second..60 + 3 * second) {
            let target = random.usize(..24);
            client.get(targets[if target < targets.len() { target } else { target % 4 }]).unwrap();
        }
        eventually("the next second begins", || {
            ask_admin(&up, "/stats").json()["second"].as_u64() >= Some(second)
        });
    }
    let screenshots = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("screenshots");
    std::fs::create_dir_all(&screenshots).unwrap();
    for scheme in ["light", "dark"] {
        let wanted = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        browser.command("Emulation.setEmulatedMedia", wanted);
        let mut backs = Vec::new();
        for width in [390, 1280] {
            let size = |height: u64| {
                let phone = width < 500;
                let metrics =
                    json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone });
                browser.command("Emulation.setDeviceMetricsOverride", metrics);
            };
            size(900);
            open_page(&browser, &world, &up);
            browser.run("document.querySelector('#try-form').requestSubmit()", json!([]));
            browser.until("the hit is decided", "document.querySelectorAll('#try-steps li').length > 5");
            browser.until("events are shown", "document.querySelectorAll('#events [data-id]').length === 50");
            let wide = browser.value("document.documentElement.scrollWidth");
            assert_eq!(wide, json!(width), "{scheme}: the page scrolls sideways");
            size(browser.value("document.documentElement.scrollHeight").as_u64().unwrap());
            let name = format!("page-{width}-{scheme}.png");
            std::fs::write(screenshots.join(name), base64(&browser.screenshot())).unwrap();
            backs.push(browser.value("getComputedStyle(document.body).backgroundColor"));
            let faint = browser.run(include_str!("browser/contrast.js"), json!([]));
            assert_eq!(faint, json!([]), "{width} {scheme}: too little contrast");
        }
        let is_light = backs[0].as_str().unwrap().contains("24");
        assert_eq!((is_light, &backs[0]), (scheme == "light", &backs[1]));
    }
}

/// The bytes that base64 text means.
fn base64(text: &str) -> Vec<u8> {
    let value = |letter: u8| match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut held) = (0u32, 0);
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        bits = bits << 6 | u32::from(value(letter));
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}
