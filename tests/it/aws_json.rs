//! A client of AWS's JSON protocol (awsJson 1.0 and 1.1) without the SDK: it sends what it is told, once.
//!
//! Local servers look at the form of a signature and not at the signature, so it is made up.

use std::time::Duration;

use serde_json::Value;

/// One service on a port of 127.0.0.1.
#[derive(Clone, Debug)]
pub struct AwsJson {
    agent: ureq::Agent,
    url: String,
    /// In front of the operation in `X-Amz-Target`: `Kinesis_20131202`.
    service: &'static str,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    headers: ureq::http::HeaderMap,
    pub body: Vec<u8>,
}

impl AwsJson {
    pub fn new(port: u16, service: &'static str) -> Self {
        Self { agent: agent(Duration::from_secs(60)), url: format!("http://127.0.0.1:{port}/"), service }
    }

    /// That gives up a call after so long; else it does after a minute.
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { agent: agent(timeout), ..self }
    }

    /// Whatever is answered; an error if nothing was, or not all of it.
    pub fn call(&self, operation: &str, body: &Value) -> Result<Answer, ureq::Error> {
        let request = self
            .agent
            .post(&self.url)
            .header("Content-Type", "application/x-amz-json-1.1")
            .header("X-Amz-Target", format!("{}.{operation}", self.service))
            .header("X-Amz-Date", "20260101T000000Z")
            .header(
                "Authorization",
                "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/service/aws4_request, \
                 SignedHeaders=host;x-amz-date, Signature=00",
            );
        let mut response = request.send(body.to_string())?;
        Ok(Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.body_mut().with_config().limit(64 << 20).read_to_vec()?,
        })
    }
}

fn agent(timeout: Duration) -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        // A connection that went stale would be an error of its own, which no caller expects.
        .max_idle_connections(0)
        .timeout_global(Some(timeout));
    config.build().into()
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Its JSON; `null` if there is no body.
    pub fn json(&self) -> Value {
        if self.body.is_empty() {
            return Value::Null;
        }
        let text = String::from_utf8_lossy(&self.body);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The name of the error, without its namespace; empty if it is none.
    pub fn error_type(&self) -> String {
        let json = self.json();
        let name = json["__type"].as_str().unwrap_or_default();
        name.rsplit('#').next().unwrap_or_default().to_owned()
    }
}
