//! The tag on a publisher's page, in a real browser: what it sends arrives, once.

use std::process::Stdio;

use serde_json::{Value as Json, json};

use super::origins::OtherSite;
use super::{Browser, Running, ask_admin};
use crate::world::{Process, World, eventually};

/// A page with the tag, as `docs/http.md` says to embed it.
pub fn publisher(up: &Process, attributes: &str) -> OtherSite {
    let (tag, html) = (up.tracker, "<!doctype html><title>a publisher</title>");
    OtherSite::serve(format!("{html}<script src=\"http://{tag}/clickgate.js\" {attributes}></script><body>"))
}

pub fn visit(browser: &Browser, site: &OtherSite) {
    browser.open(&format!("http://{}/", site.address));
    browser.until("the tag is there", "window.clickgate");
}

pub fn send(browser: &Browser, kind: &str, what: Json) {
    browser.run("clickgate(arguments[0], arguments[1])", json!([kind, what]));
}

/// What is stored, oldest first.
fn events(up: &Process) -> Vec<Json> {
    ask_admin(up, "/events/tail?limit=100").json()["items"].as_array().unwrap().clone()
}

/// Waits for that many events, and that the log holds none more.
pub fn stored(up: &Process, count: usize) -> Vec<Json> {
    eventually(&format!("{count} events are stored"), || events(up).len() >= count);
    eventually("the log is at its end", || {
        let log = ask_admin(up, "/log").json();
        log["cursors"].as_array().unwrap().iter().all(|cursor| cursor["lag"] == 0)
    });
    let events = events(up);
    assert_eq!(events.len(), count, "{events:#?}");
    events
}

#[test]
fn the_tag_sends_an_impression_by_itself_and_what_the_page_says() {
    let world = World::new();
    let Some(browser) = Browser::start() else { return };
    let up = world.start("up");
    let site = publisher(&up, "data-program=\"212312\"");
    visit(&browser, &site);
    stored(&up, 1);
    let params = json!({ "at": 50, "title": "<b>ü & ?</b>" });
    send(&browser, "video_50", json!({ "program": "212314", "params": params, "visitor": "visitor-1" }));
    send(&browser, "click", json!({ "program": "212313" }));
    send(&browser, "conversion", json!({ "program": "212313", "params": { "value": 9.5 } }));
    let events = stored(&up, 4);
    let find = |kind: &str| {
        let is = |event: &&Json| event["type"] == kind || event["customName"] == kind;
        events.iter().find(is).unwrap_or_else(|| panic!("no {kind} in {events:#?}"))
    };
    assert_eq!(find("impression")["programId"], "212312");
    let video = find("video_50");
    assert_eq!((&video["programId"], &video["visitorId"]), (&json!("212314"), &json!("visitor-1")));
    let parameters = video["parameters"].as_array().unwrap();
    assert!(parameters.contains(&json!(["title", "<b>ü & ?</b>"])), "{parameters:?}");
    assert!(parameters.contains(&json!(["at", "50"])), "{parameters:?}");
    assert_eq!(find("click")["programId"], "212313");
    assert_eq!(find("conversion")["parameters"], json!([["value", "9.5"]]));
    assert_eq!(browser.errors(), Vec::<String>::new());
}

#[test]
fn a_call_without_a_program_means_the_one_of_the_script() {
    let world = World::new();
    let Some(browser) = Browser::start() else { return };
    let up = world.start("up");
    visit(&browser, &publisher(&up, "data-program=\"212314\""));
    stored(&up, 1);
    let calls = "clickgate('first'); clickgate('second', null); clickgate('third', { params: { a: 1 } })";
    browser.run(calls, json!([]));
    let events = stored(&up, 4);
    let mut names: Vec<_> = events.iter().filter_map(|event| event["customName"].as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["first", "second", "third"]);
    assert!(events.iter().all(|event| event["programId"] == "212314"), "{events:#?}");
    let third = events.iter().find(|event| event["customName"] == "third").unwrap();
    assert_eq!(third["parameters"], json!([["a", "1"]]));

    // Where there is none, the page goes on.
    visit(&browser, &publisher(&up, ""));
    let script = "const warned = []; console.warn = (text) => warned.push(text);
         clickgate('click'); clickgate('click', { params: {} }); return warned";
    assert_eq!(browser.run(script, json!([])), json!(vec!["clickgate: no program"; 2]));
    assert_eq!(browser.errors(), Vec::<String>::new());
    send(&browser, "last", json!({ "program": "212312" }));
    assert!(stored(&up, 5).iter().any(|event| event["customName"] == "last"));
}

#[test]
fn what_is_sent_while_the_page_goes_away_arrives() {
    let world = World::new();
    let Some(browser) = Browser::start() else { return };
    let up = world.start("up");
    let site = publisher(&up, "");
    let leave = |name: &str| {
        visit(&browser, &site);
        let script = "const [name] = arguments; addEventListener('pagehide', () => clickgate(name, { program: '212313' }))";
        browser.run(script, json!([name]));
        browser.open("about:blank");
    };
    leave("leave_by_beacon");
    stored(&up, 1);
    browser.before_each_page("Object.defineProperty(navigator, 'sendBeacon', { value: undefined })");
    leave("leave_by_fetch");
    let events = stored(&up, 2);
    assert_eq!(
        (&events[0]["customName"], &events[1]["customName"]),
        (&json!("leave_by_beacon"), &json!("leave_by_fetch"))
    );
}

#[test]
fn a_browser_without_beacons_falls_back_and_the_event_is_stored_once() {
    let world = World::new();
    let Some(browser) = Browser::start() else { return };
    let up = world.start("up");
    let site = publisher(&up, "");
    let mut count = 0;
    // Each stays for the pages that come after it: less and less is left.
    for (what, script) in [
        (
            "full",
            "Object.defineProperty(navigator, 'sendBeacon', { value: () => false, configurable: true })",
        ),
        (
            "blocked",
            "Object.defineProperty(navigator, 'sendBeacon', { value() { throw new Error('blocked') }, configurable: true })",
        ),
        ("none", "Object.defineProperty(navigator, 'sendBeacon', { value: undefined })"),
        ("no_fetch", "delete window.fetch; Object.defineProperty(window, 'fetch', { value: undefined })"),
    ] {
        browser.before_each_page(script);
        visit(&browser, &site);
        send(&browser, what, json!({ "program": "212312", "params": { "a": "&=?#ü" } }));
        count += 1;
        let events = stored(&up, count);
        assert_eq!(
            (&events[count - 1]["customName"], &events[count - 1]["parameters"]),
            (&json!(what), &json!([["a", "&=?#ü"]]))
        );
    }
}

#[test]
fn a_person_who_asks_not_to_be_known_is_not() {
    let world = World::new();
    let Some(browser) = Browser::start() else { return };
    let up = world.start("up");
    let site = publisher(&up, "");
    browser.before_each_page("Object.defineProperty(navigator, 'globalPrivacyControl', { value: true })");
    visit(&browser, &site);
    send(&browser, "click", json!({ "program": "212312", "visitor": "somebody" }));
    let events = stored(&up, 1);
    assert_eq!(events[0]["type"], "click");
    assert_eq!(events[0].get("visitorId"), None, "{:#?}", events[0]);
    assert!(!events[0].to_string().contains("somebody"), "{:#?}", events[0]);
}

#[test]
fn an_answer_that_was_lost_is_asked_for_again_and_the_event_is_stored_once() {
    let world = World::new();
    let Some(browser) = Browser::start() else { return };
    let up = world.start("up");
    let site = publisher(&up, "");
    browser.before_each_page(
        "Object.defineProperty(navigator, 'sendBeacon', { value: undefined });
         const real = fetch;
         window.fetch = (...request) => real(...request).then(() => { throw new TypeError('lost'); });",
    );
    visit(&browser, &site);
    send(&browser, "click", json!({ "program": "212312" }));
    eventually("it came twice", || {
        ask_admin(&up, "/reconcile").json()["totals"]["duplicates"].as_u64() == Some(1)
    });
    assert_eq!(stored(&up, 1)[0]["type"], "click");
}

#[test]
fn the_tag_tries_again_while_the_tracker_is_away() {
    let mut world = World::new();
    let Some(browser) = Browser::start() else { return };
    let up = world.start("up");
    let (tracker, admin) = (up.tracker, up.admin);
    let site = publisher(&up, "");
    browser.before_each_page("Object.defineProperty(navigator, 'sendBeacon', { value: undefined })");
    visit(&browser, &site);
    assert!(up.stop().success());
    let failed =
        "performance.getEntriesByType('resource').filter((it) => it.name.includes('/b')).length >= 2";
    send(&browser, "click", json!({ "program": "212312" }));
    browser.until("fetch and pixel have failed", failed);

    world.set("tracker.listen", &tracker.to_string());
    world.set("admin.listen", &admin.to_string());
    let mut again = world.clickgate(&["up"]);
    let _again =
        Running(again.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    eventually("it is stored", || {
        let listing = crate::http::Client::open(admin).and_then(|mut client| {
            client.send(&format!("GET /events/tail HTTP/1.1\r\nHost: {admin}\r\n\r\n"))
        });
        listing.is_ok_and(|answer| {
            answer.status == 200 && answer.json()["items"].as_array().is_some_and(|it| it.len() == 1)
        })
    });
}
