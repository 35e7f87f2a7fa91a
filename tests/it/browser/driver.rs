//! Headless Chromium, by chromedriver's plain HTTP.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::world::eventually;

/// Nothing that asks the world outside, and nothing that a container forbids.
const FLAGS: [&str; 9] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
];

/// A browser with a profile of its own; closed when dropped.
pub struct Browser {
    driver: Child,
    agent: ureq::Agent,
    session: String,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts one; `None`, said loudly, where there is none to start.
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// With further flags.
    pub fn start_with(flags: &[&str]) -> Option<Self> {
        if !(crate::world::has("chromedriver") && crate::world::has("chromium")) {
            return None;
        }
        let profile = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .into();
        let root = format!("http://127.0.0.1:{port}");
        let mut browser = Self { driver, agent, session: root.clone(), _profile: profile };
        eventually("chromedriver answers", || browser.agent.get(format!("{root}/status")).call().is_ok());
        let arguments: Vec<String> = FLAGS
            .iter()
            .chain(flags)
            .map(|flag| (*flag).to_owned())
            .chain([format!("--user-data-dir={}", browser._profile.path().display())])
            .collect();
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": arguments }, "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let started = browser.post("/session", &wanted);
        browser.session = format!("{root}/session/{}", started["sessionId"].as_str().unwrap());
        Some(browser)
    }

    fn post(&self, path: &str, body: &Json) -> Json {
        self.try_post(path, body).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn try_post(&self, path: &str, body: &Json) -> Result<Json, String> {
        let sent = self.agent.post(format!("{}{path}", self.session)).send_json(body);
        let mut answer = sent.map_err(|error| error.to_string())?;
        let mut json: Json = answer.body_mut().read_json().map_err(|error| error.to_string())?;
        let value = json["value"].take();
        if answer.status() == 200 { Ok(value) } else { Err(value["message"].to_string()) }
    }

    /// Loads a page.
    pub fn open(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// Runs the body of a function in the page; waits for it if it returns a promise.
    pub fn run(&self, script: &str, arguments: Json) -> Json {
        self.try_run(script, &arguments).unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    fn try_run(&self, script: &str, arguments: &Json) -> Result<Json, String> {
        self.try_post("/execute/sync", &json!({ "script": script, "args": arguments }))
    }

    /// What an expression is in the page; a promise's value.
    pub fn value(&self, expression: &str) -> Json {
        self.run(&format!("return {expression}"), json!([]))
    }

    /// Waits until an expression is true, and says how long that took.
    pub fn until(&self, what: &str, expression: &str) -> Duration {
        let begin = Instant::now();
        eventually(what, || {
            // While a page is being replaced there is nothing to ask.
            let seen = self.try_run(&format!("return Boolean({expression})"), &json!([]));
            seen.is_ok_and(|seen| seen == true)
        });
        begin.elapsed()
    }

    /// The text that a person sees there.
    pub fn text(&self, selector: &str) -> String {
        let text = self.run("return document.querySelector(arguments[0])?.innerText", json!([selector]));
        text.as_str().unwrap_or_else(|| panic!("no {selector}")).to_owned()
    }

    /// Clicks there as a person does.
    pub fn click(&self, selector: &str) {
        let found = self.post("/element", &json!({ "using": "css selector", "value": selector }));
        // The key is a constant of the WebDriver standard.
        let element = found["element-6066-11e4-a52e-4f735466cecf"].as_str().unwrap();
        self.post(&format!("/element/{element}/click"), &json!({}));
    }

    /// A command of the browser's own protocol.
    pub fn command(&self, name: &str, parameters: Json) -> Json {
        self.post("/goog/cdp/execute", &json!({ "cmd": name, "params": parameters }))
    }

    /// Runs a script in each page before its own scripts.
    pub fn before_each_page(&self, script: &str) {
        self.command("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script }));
    }

    /// The page as it looks, as a PNG in base64.
    pub fn screenshot(&self) -> String {
        let shot = self.command("Page.captureScreenshot", json!({ "format": "png" }));
        shot["data"].as_str().unwrap().to_owned()
    }

    /// Errors of the console since the last call.
    pub fn errors(&self) -> Vec<String> {
        let entries = self.post("/se/log", &json!({ "type": "browser" }));
        let is_error = |entry: &&Json| entry["level"] == "SEVERE";
        entries
            .as_array()
            .unwrap()
            .iter()
            .filter(is_error)
            .map(|entry| entry["message"].to_string())
            .collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.agent.delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
