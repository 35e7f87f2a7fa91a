//! What the tag puts into a body: any text, at any size that the tracker takes.

use serde_json::{Value as Json, json};

use super::tag::{publisher, send, stored, visit};
use super::{Browser, ask_admin};
use crate::world::World;

/// Notes how each body is sent, before it is.
const WATCH: &str = "
    window.sent = [];
    const bytes = (body) => new Blob([body]).size;
    const beacon = navigator.sendBeacon.bind(navigator), post = fetch;
    navigator.sendBeacon = (url, body) => {
      const taken = beacon(url, body);
      sent.push({ by: taken ? 'beacon' : 'refused beacon', bytes: bytes(body), body });
      return taken;
    };
    window.fetch = (url, how) => {
      sent.push({ by: how.keepalive ? 'keepalive' : 'fetch', bytes: bytes(how.body), body: how.body });
      return post(url, how);
    };";

fn sent_by(browser: &Browser) -> Json {
    browser.value("sent.map((it) => it.by)")
}

/// `count` parameters of `units` times `text`.
fn params(count: usize, text: &str, units: usize) -> Json {
    (0..count).map(|index| (format!("p{index}"), json!(text.repeat(units)))).collect()
}

/// The parameters of an event as they were sent.
fn parameters(event: &Json) -> Json {
    let pairs = event["parameters"].as_array().unwrap().iter();
    pairs.map(|pair| (pair[0].as_str().unwrap().to_owned(), pair[1].clone())).collect()
}

#[test]
fn half_a_surrogate_pair_arrives_as_a_replacement_character() {
    let world = World::new();
    let Some(browser) = Browser::start() else { return };
    let up = world.start("up");
    let site = publisher(&up, "");
    let texts = r#"clickgate(arguments[0], { program: "212312", visitor: "v\ud83d", params: {
        "name\udfff": "low \udc00", high: "\ud800\ud800 high", pair: "\ud83d\ude00", swapped: "\ude00\ud83d",
        path: "C:\\ud800", paths: "\\\\ud800\\\ud800", quoted: "\"\\", lines: "a\n\u0001b" } })"#;
    let expected = json!({
        "v": "v\u{fffd}", "name\u{fffd}": "low \u{fffd}", "high": "\u{fffd}\u{fffd} high", "pair": "😀",
        "swapped": "\u{fffd}\u{fffd}", "path": r"C:\ud800", "paths": "\\\\ud800\\\u{fffd}", "quoted": "\"\\",
        "lines": "a\n\u{1}b",
    });
    let arrives = |kind: &str, count: usize| {
        browser.run(texts, json!([kind]));
        let events = stored(&up, count);
        let event = &events[count - 1];
        assert_eq!(event["customName"], kind);
        let mut arrived = parameters(event);
        arrived["v"] = event["visitorId"].clone();
        assert_eq!(arrived, expected, "{kind}");
    };
    browser.before_each_page(WATCH);
    visit(&browser, &site);
    arrives("by_beacon", 1);
    // The tracker may read such an escape or not: the tag sends none.
    let escape = r"/\\ud[89a-f]/.test(sent[0].body.replaceAll('\\\\', ''))";
    assert_eq!(browser.value(escape), false, "{}", browser.value("sent[0].body"));

    // A browser of before 2018 leaves the half as it is, which cannot stand in a URL.
    browser.before_each_page(
        r"Object.defineProperty(navigator, 'sendBeacon', { value: undefined });
          delete window.fetch; Object.defineProperty(window, 'fetch', { value: undefined });
          const stringify = JSON.stringify, unit = (hex) => String.fromCharCode(parseInt(hex, 16));
          JSON.stringify = (what) =>
            stringify(what).replace(/(\\\\)|\\u(d[89a-f]..)/g, (all, kept, hex) => kept || unit(hex));",
    );
    visit(&browser, &site);
    arrives("by_pixel_of_an_old_browser", 2);
}

#[test]
fn a_large_body_arrives_once_without_what_browsers_bound() {
    let world = World::new();
    let Some(browser) = Browser::start() else { return };
    let up = world.start("up");
    let site = publisher(&up, "");
    browser.before_each_page(WATCH);
    visit(&browser, &site);
    let kib = |bytes: u64| bytes * 1_024;
    for (count, (least, most, params)) in [
        (kib(59), kib(60), params(60, "x", 1_000)),
        (kib(61), kib(62), params(62, "x", 1_000)),
        (kib(69), kib(70), params(70, "x", 1_000)),
        // Less than 60 Ki UTF-16 units, more bytes.
        (kib(69), kib(70), params(70, "ü", 500)),
        (kib(200), kib(202), params(100, "\"", 1_024)),
    ]
    .into_iter()
    .enumerate()
    {
        browser.run("sent.length = 0", json!([]));
        send(&browser, "click", json!({ "program": "212312", "params": params }));
        let events = stored(&up, count + 1);
        assert_eq!(parameters(&events[count]), params);
        let bytes = browser.value("sent[0].bytes").as_u64().unwrap();
        assert!((least..=most).contains(&bytes), "{bytes} bytes");
        let way = if bytes <= kib(60) { "beacon" } else { "fetch" };
        assert_eq!(sent_by(&browser), json!([way]), "{bytes} bytes");
    }
    assert_eq!(ask_admin(&up, "/reconcile").json()["totals"]["duplicates"], 0);
}

#[test]
fn bodies_that_are_too_many_for_the_browser_at_once_arrive_once() {
    let world = World::new();
    let Some(browser) = Browser::start() else { return };
    let up = world.start("up");
    let site = publisher(&up, "");
    browser.before_each_page(WATCH);
    visit(&browser, &site);
    // 30 KiB each, so the room is full after two, and too long for a pixel.
    browser.run(
        "for (let at = 0; at < 5; at++) clickgate('n' + at, { program: '212312', params: arguments[0] })",
        json!([params(30, "x", 1_000)]),
    );
    assert_eq!(
        browser.value("sent.filter((it) => it.by === 'refused beacon').length"),
        3,
        "{}",
        sent_by(&browser)
    );
    let events = stored(&up, 5);
    let mut names: Vec<_> = events.iter().map(|event| event["customName"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["n0", "n1", "n2", "n3", "n4"]);
    assert_eq!(ask_admin(&up, "/reconcile").json()["totals"]["duplicates"], 0);
}
