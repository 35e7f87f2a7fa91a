//! Pages of other origins, and what they can do through the operator's browser: nothing.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::{Browser, ask_admin};
use crate::http::get;
use crate::world::{World, eventually};

/// A web server of a few pages; closed when dropped.
pub struct OtherSite {
    pub address: SocketAddr,
    closed: Arc<AtomicBool>,
}

impl OtherSite {
    /// Answers everything with one page.
    pub fn serve(html: String) -> Self {
        Self::serve_each(move |_| html.clone())
    }

    /// Answers with what `page` gives for a path.
    pub fn serve_each(page: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let page = Arc::new(page);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, closed) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let until = Arc::clone(&closed);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if until.load(Ordering::Acquire) {
                    break;
                }
                let page = Arc::clone(&page);
                // A browser opens connections before it needs them; none may hold up another.
                std::thread::spawn(move || answer(stream, &*page));
            }
        });
        Self { address, closed }
    }
}

fn answer(mut stream: TcpStream, page: &dyn Fn(&str) -> String) {
    let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    if let Some(path) = head.first().and_then(|line| line.split(' ').nth(1)) {
        let html = page(path);
        let length = html.len();
        let _ = write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{html}"
        );
    }
}

impl Drop for OtherSite {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.address);
    }
}

/// Everything that a page can send without asking first, and what asks first.
const ATTACK: &str = r#"
const [admin, program] = arguments;
const body = JSON.stringify([program]);
const outcomes = {};
const say = (name, sent) => sent.then((answer) => (outcomes[name] = answer.type), () => (outcomes[name] = "failed"));
const json = { "Content-Type": "application/json" };
await Promise.all([
  say("read", fetch(`${admin}/programs`)),
  say("read with cookies", fetch(`${admin}/events/tail`, { credentials: "include" })),
  say("read blindly", fetch(`${admin}/programs`, { mode: "no-cors" })),
  say("stats", fetch(`${admin}/stats`, { mode: "no-cors" })),
  say("the page", fetch(`${admin}/`, { mode: "no-cors" })),
  say("put", fetch(`${admin}/programs/${program.programId}`, { method: "PUT", headers: json, body: JSON.stringify(program) })),
  say("delete", fetch(`${admin}/programs/212312`, { method: "DELETE", headers: json })),
  say("import", fetch(`${admin}/programs/import`, { method: "POST", headers: json, body })),
  say("import with a token", fetch(`${admin}/programs/import`, { method: "POST", body, headers: { ...json, Authorization: "Bearer guessed" } })),
  say("import blindly", fetch(`${admin}/programs/import`, { method: "POST", mode: "no-cors", body })),
  say("import blindly as json", fetch(`${admin}/programs/import`, { method: "POST", mode: "no-cors", headers: json, body })),
  say("purge blindly", fetch(`${admin}/cache/purge`, { method: "POST", mode: "no-cors", body: "{}" })),
]);
outcomes["beacon was sent"] = navigator.sendBeacon(`${admin}/programs/import`, new Blob([body], { type: "text/plain" }));
const loads = (tag, src) => new Promise((done) => {
  const node = document.createElement(tag);
  node.onload = () => done("loaded");
  node.onerror = () => done("failed");
  node.src = src;
  document.body.append(node);
});
outcomes.script = await loads("script", `${admin}/page.js`);
outcomes.image = await loads("img", `${admin}/stats`);
await loads("iframe", `${admin}/`);
const frame = document.createElement("iframe");
frame.name = "target";
document.body.append(frame);
const form = document.createElement("form");
Object.assign(form, { method: "POST", action: `${admin}/programs/import`, enctype: "text/plain", target: "target" });
const field = document.createElement("input");
// As text/plain this is JSON.
Object.assign(field, { name: body.slice(0, -2) + ',"x":"', value: '"}]' });
form.append(field);
document.body.append(form);
const landed = new Promise((done) => (frame.onload = done));
form.submit();
await landed;
try {
  outcomes.frame = frame.contentWindow.document.body.innerText;
} catch (error) {
  outcomes.frame = error.name;
}
return outcomes;
"#;

#[test]
fn a_page_of_another_origin_can_neither_read_nor_change_anything() {
    let world = World::new();
    let Some(browser) = Browser::start_with(&["--host-resolver-rules=MAP evil.test 127.0.0.1"]) else {
        return;
    };
    let up = world.start("up");
    let before = ask_admin(&up, "/programs").json();
    let program = json!({
        "programId": "evil", "programName": "evil", "checksum": "1", "customerId": 1, "customerName": "evil",
        "valid": true,
    });
    let site = OtherSite::serve("<!doctype html><title>evil</title><body>".to_owned());
    let port = site.address.port();
    // Another name, another port of the same name, and of the same address.
    for host in ["evil.test", "localhost", "127.0.0.1"] {
        browser.open(&format!("http://{host}:{port}/"));
        let hit = format!(
            "fetch('http://{}/i/212312.gif', {{ mode: 'no-cors' }}).then((it) => it.type)",
            up.tracker
        );
        assert_eq!(browser.value(&hit), "opaque", "the page can reach this machine at all");
        browser.errors();
        let admin = format!("http://{}", up.admin);
        let script = format!("return (async () => {{ {ATTACK} }}).apply(null, arguments)")
            .replace("async () =>", "async function ()");
        let outcomes = browser.run(&script, json!([admin, program]));
        for (what, outcome) in outcomes.as_object().unwrap() {
            let expected = match what.as_str() {
                // It is sent, and refused on the other side.
                "beacon was sent" => json!(true),
                "frame" => json!("SecurityError"),
                _ => json!("failed"),
            };
            assert_eq!(*outcome, expected, "{host}: {what}");
        }
        assert!(
            browser.errors().iter().any(|error| error.contains("frame-ancestors")),
            "the page must not be framed"
        );
        assert_eq!(ask_admin(&up, "/programs").json(), before, "{host}");
        assert_eq!(get(up.tracker, "/event/evil").status, 404);
    }
}

#[test]
fn a_name_that_is_rebound_to_this_machine_is_not_answered() {
    let world = World::new();
    let Some(browser) = Browser::start_with(&["--host-resolver-rules=MAP evil.test 127.0.0.1"]) else {
        return;
    };
    let up = world.start("up");
    browser.open(&format!("http://evil.test:{}/", up.admin.port()));
    assert!(browser.text("body").contains("does not answer for that Host"), "{}", browser.text("body"));
    // The page that was there before the name was rebound had no policy. It may read what comes
    // back, since that is of its own origin: a refusal each time.
    browser.command("Page.setBypassCSP", json!({ "enabled": true }));
    browser.open(&format!("http://evil.test:{}/", up.admin.port()));
    let statuses = browser.value(
        "Promise.all(['/', '/page.js', '/programs', '/stats', '/metrics', '/events/tail', '/log'].map((it) => fetch(it))
           .concat(['/programs/import', '/explain', '/cache/purge'].map((it) => fetch(it, { method: 'POST', body: '{}',
             headers: { 'Content-Type': 'application/json' } }))))
         .then((answers) => answers.map((answer) => answer.status))",
    );
    assert_eq!(statuses, json!(vec![421; 10]));

    let site = OtherSite::serve("<!doctype html><title>before</title>".to_owned());
    browser.open(&format!("http://127.0.0.1:{}/", site.address.port()));
    browser.open(&format!("http://{}/", up.admin));
    browser.until("its own name is answered", "document.querySelectorAll('#programs li').length === 3");
    eventually("and nothing was changed", || {
        ask_admin(&up, "/programs").json().as_array().unwrap().len() == 3
    });
}
