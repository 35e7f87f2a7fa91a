//! Pages and links that a browser loads before anybody asks for them: what is never looked at
//! is no event, and what is looked at afterwards is one.

use serde_json::{Value as Json, json};

use super::Browser;
use super::origins::OtherSite;
use super::tag::stored;
use crate::documents::scrape;
use crate::world::{Process, World, eventually};

/// How many requests to a route the tracker answered, whatever it made of them.
fn requests(up: &Process, route: &str) -> u64 {
    let label = format!("route=\"{route}\"");
    let scraped = scrape(up);
    let series = scraped.lines().filter(|line| line.starts_with("clickgate_requests_total{"));
    let values = series.filter(|line| line.contains(&label)).map(|line| line.rsplit(' ').next().unwrap());
    values.map(|value| value.parse::<u64>().unwrap()).sum()
}

/// A page that has `/next` prerendered at once.
const START: &str = r#"<!doctype html><title>start</title>
<script type="speculationrules">{"prerender": [{"urls": ["/next"], "eagerness": "immediate"}]}</script>
<a id="next" href="/next">next</a>"#;

/// Tells the site's storage that a page has run unseen.
const REPORT: &str = "localStorage.unseen = document.prerendering ? location.pathname : ''";

/// `/next`: carries the tag, calls it and reports that; then runs `script`.
fn next(tag: &str, script: &str) -> String {
    format!(
        r#"<!doctype html><title>next</title>
<script>
  let shown;
  document.addEventListener("prerenderingchange", () => shown = Date.now());
  const sent = [], real = navigator.sendBeacon.bind(navigator);
  navigator.sendBeacon = (url, body) => {{ sent.push(JSON.parse(body)); return real(url, body) }};
</script>
{tag}
<script>
  const before = Date.now();
  const id = clickgate("seen", {{ program: "212313" }});
  const after = Date.now();
  addEventListener("load", () => {{
    {REPORT};
    {script};
  }});
</script>"#
    )
}

/// A site whose start page has `/next` prerendered; its other pages carry the tag alone.
fn publisher(up: &Process, script_of_next: &'static str) -> OtherSite {
    let tag = format!("<script src=\"http://{}/clickgate.js\" data-program=\"212312\"></script>", up.tracker);
    OtherSite::serve_each(move |path| match path {
        "/" => START.to_owned(),
        "/next" => next(&tag, script_of_next),
        _ => format!("<!doctype html><title>{path}</title>{tag}<script>{REPORT}</script>"),
    })
}

fn until_prerendered(browser: &Browser, path: &str) {
    browser.until(&format!("{path} has run unseen"), &format!("localStorage.unseen === '{path}'"));
}

#[test]
fn a_prerendered_page_counts_when_it_is_viewed() {
    let world = World::new();
    let Some(browser) = Browser::start() else { return };
    let up = world.start("up");
    let site = publisher(&up, "");
    browser.open(&format!("http://{}/", site.address));
    until_prerendered(&browser, "/next");
    assert_eq!(requests(&up, "beacon"), 0, "nobody has seen it");

    browser.click("#next");
    browser.until("what was prerendered is shown", "location.pathname === '/next' && shown");
    let events = stored(&up, 2);
    assert_eq!(requests(&up, "beacon"), 2, "each was sent once");
    let find = |program: &str| events.iter().find(|event| event["programId"] == program).unwrap();
    let impression = find("212312");
    let seen = find("212313");
    assert_eq!(impression["type"], "impression");
    assert_eq!(seen["customName"], "seen");

    // They happened when the page said so, and came when it was shown.
    let number = |expression: &str| browser.value(expression).as_f64().unwrap();
    let time = |event: &Json, name: &str| event[name].as_f64().unwrap();
    assert!(time(impression, "clientTimeMs") <= number("before"), "{impression}");
    assert!((number("before")..=number("after")).contains(&time(seen, "clientTimeMs")), "{seen}");
    let shown = number("shown");
    assert!(time(impression, "receivedAtMs") >= shown, "{impression} before {shown}");
    assert!(time(seen, "receivedAtMs") >= shown, "{seen} before {shown}");
    assert_eq!(browser.value("sent[1].id === id"), true);
}

#[test]
fn a_prerendered_page_that_nobody_views_sends_nothing() {
    let world = World::new();
    let Some(browser) = Browser::start() else { return };
    let up = world.start("up");
    // Also if it leaves by itself before that, and "pagehide" is fired: the end of a page that
    // was viewed sends what is left.
    for (path, script) in [("/next", ""), ("/elsewhere", "location.replace('/elsewhere')")] {
        let site = publisher(&up, script);
        browser.open(&format!("http://{}/", site.address));
        until_prerendered(&browser, path);
        browser.open("about:blank");
    }
    let site = publisher(&up, "");
    browser.open(&format!("http://{}/plain", site.address));
    assert_eq!(stored(&up, 1)[0]["programId"], "212312", "the page that is viewed");
    assert_eq!(requests(&up, "beacon"), 1);
}

#[test]
fn a_prefetched_click_is_one_event_once_it_is_clicked() {
    let landing = OtherSite::serve("<!doctype html><title>a shop</title>".to_owned());
    let shop = format!("--host-resolver-rules=MAP shop.localhost 127.0.0.1:{}", landing.address.port());
    let world = World::new();
    let Some(browser) = Browser::start_with(&[&shop]) else { return };
    let up = world.start("up");
    let program = json!({
        "programId": "spring", "programName": "Spring", "checksum": "9", "customerId": 7, "customerName": "C",
        "valid": true, "allowHttp": true, "landingUrl": "http://shop.localhost/?click={click_id}",
    });
    world.ok(&["programs", "put", &program.to_string()]);

    // A tracker of the same site and one of another, whose prefetches Chromium treats differently.
    for (clicks, host) in ["127.0.0.1", "localhost"].into_iter().enumerate() {
        let url = format!("http://{host}:{}/c/spring", up.tracker.port());
        let rules = json!({ "prefetch": [{ "urls": [url], "eagerness": "immediate" }] });
        let site = OtherSite::serve(format!(
            "<!doctype html><title>a publisher</title><script type=\"speculationrules\">{rules}</script>\
             <a id=\"click\" href=\"{url}\">click</a>"
        ));
        let asked_before = requests(&up, "click");
        browser.open(&format!("http://{}/", site.address));
        eventually("the link is prefetched", || requests(&up, "click") > asked_before);
        stored(&up, clicks);

        browser.click("#click");
        browser.until("the shop is shown", "location.hostname === 'shop.localhost'");
        let events = stored(&up, clicks + 1);
        let click_id = browser.value("new URL(location).searchParams.get('click')");
        assert_eq!(events[clicks]["type"], "click");
        assert_eq!(events[clicks]["messageId"], click_id, "{host}: the shop knows another click");
        assert_eq!(requests(&up, "click"), asked_before + 2, "{host}: the browser asked again");
    }
}
