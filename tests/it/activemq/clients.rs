//! Publishers and readers on libraries that we did not write: stomp.py, stomp-rs, and ActiveMQ's own for JMS.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use stomp_rs::client::{Client, ClientBuilder};
use stomp_rs::protocol::frame::Send;

use super::broker::ActiveMq;
use super::order;

const SCRIPT: &str = include_str!("stomp_client.py");

/// Publishes what `messages` says by stomp.py, each durable when this returns.
pub fn publish(port: u16, messages: &[Value]) {
    publish_as(port, "", messages);
}

pub fn publish_as(port: u16, login: &str, messages: &[Value]) {
    let said = stomp_py(&["publish", &port.to_string(), login], messages);
    assert_eq!(said.trim(), format!("sent {}", messages.len()));
}

/// Messages `from..until` of the queue `orders`, by stomp.py.
pub fn publish_orders(broker: &ActiveMq, from: usize, until: usize) {
    let messages: Vec<Value> =
        (from..until).map(|n| json!({ "to": "/queue/orders", "text": order(n) })).collect();
    publish(broker.port, &messages);
}

/// All that is in a queue, taken off it: headers, and the body in hex.
pub fn read_all(port: u16, login: &str, queue: &str) -> Vec<Value> {
    let said = stomp_py(&["read", &port.to_string(), login, queue], &[]);
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What is in a queue, left there.
pub fn look(port: u16, queue: &str) -> Vec<Value> {
    let said = stomp_py(&["look", &port.to_string(), "", queue], &[]);
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn stomp_py(arguments: &[&str], input: &[Value]) -> String {
    let mut child = Command::new("/usr/bin/python3")
        .args(["-c", SCRIPT])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for line in input {
        writeln!(stdin, "{line}").unwrap();
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "stomp.py: {}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Messages `from..until` of the queue `orders`, by stomp-rs, on a thread of its own, as it
/// brings its own runtime.
pub fn publish_orders_by_stomp_rs(broker: &ActiveMq, from: usize, until: usize) {
    let address = format!("127.0.0.1:{}", broker.port);
    let publishing = move || {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let client = Client::connect(ClientBuilder::new(address)).await.unwrap();
            for n in from..until {
                let send = Send::new("/queue/orders").header("persistent", "true").body(order(n));
                // Each is waited for, so that all are there at the end.
                client.send(send.receipt(format!("r-{n}"))).await.unwrap();
            }
        });
    };
    std::thread::spawn(publishing).join().unwrap();
}

/// Publishes a message a line by JMS; see `Jms.java`.
pub fn publish_by_jms(broker: &ActiveMq, lines: &[String]) {
    jms(&["publish", &broker.jms_url()], &(lines.join("\n") + "\n"));
}

/// Takes messages off a queue by JMS, whatever STOMP would make of them; how many there were.
pub fn take_by_jms(broker: &ActiveMq, queue: &str, count: usize) -> usize {
    jms(&["take", &broker.jms_url(), queue, &count.to_string()], "").lines().count()
}

fn jms(arguments: &[&str], input: &str) -> String {
    let source = tempfile::Builder::new().suffix(".java").tempfile().unwrap();
    std::fs::write(source.path(), include_str!("Jms.java")).unwrap();
    let mut child = Command::new("java")
        .args(["-XX:TieredStopAtLevel=1", "-cp", "/usr/share/activemq/lib/*"])
        .arg(source.path())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "Jms.java {arguments:?}: {}", output.status);
    String::from_utf8(output.stdout).unwrap()
}
