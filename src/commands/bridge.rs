//! The commands of the ActiveMQ bridge beside its role.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bridges::activemq::{self, CheckStep, Checked, CheckedEvent, Target};
use serde_json::{Value as Json, json};
use supervise::now_ms;
use tracker::ExplainRequest;
use url::form_urlencoded;

use super::{Context, header};
use crate::config::Settings;
use crate::exit::Failure;
use crate::ops::{Op, event_json};
use crate::owner::Owner;
use crate::{render, roles};

/// Refuses to run a bridge that has nothing to read.
pub fn require_queues(settings: &Settings) -> Result<(), Failure> {
    match settings.bridge.activemq.queues.is_empty() {
        false => Ok(()),
        true => Err(Failure::BadInput(
            "no queue is configured; set bridge.activemq.brokers.NAME.urls, and bridge.activemq.queues.NAME with \
             broker and destination"
                .to_owned(),
        )),
    }
}

/// Reads the queues until they are empty.
pub fn poll(mut context: Context, seconds: u64) -> Result<(), Failure> {
    require_queues(&context.settings)?;
    context.data.create()?;
    let claim = context.data.claim()?;
    let owner = Arc::new(Owner::new(context.settings.clone(), context.data.clone()));
    let polled = actix_rt::System::new().block_on(async {
        let polled = roles::poll(&owner, Duration::from_secs(seconds)).await;
        if let Ok(log) = owner.log().await {
            log.close();
        }
        owner.close_core_data();
        polled
    });
    drop(claim);
    let statuses = polled?;
    context.out.document(&json!(statuses), render::bridges)?;
    let failing: Vec<String> = statuses
        .iter()
        .filter_map(|status| Some(format!("{}: {}", status.queue, status.error.as_ref()?.reason)))
        .collect();
    if failing.is_empty() { Ok(()) } else { Err(Failure::Failed(failing.join("\n"))) }
}

/// Says what a message becomes.
pub fn check(
    context: &mut Context,
    name: Option<&str>,
    file: &Path,
    headers: Vec<String>,
) -> Result<(), Failure> {
    require_queues(&context.settings)?;
    let queues = &context.settings.bridge.activemq.queues;
    let known = || queues.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    let queue = match name {
        Some(name) => queues.get(name),
        None => queues.values().next().filter(|_| queues.len() == 1),
    };
    let queue =
        queue.ok_or_else(|| Failure::BadInput(format!("--queue must name one of: {}", known())))?.clone();
    let headers = headers.into_iter().map(header).collect::<Result<Vec<_>, _>>()?;
    let message = activemq::message_of(&read(file)?, &headers);
    let message = message.map_err(|reason| Failure::BadInput(format!("{}: {reason}", file.display())))?;

    let Checked { mut steps, event } = activemq::check(&queue, &message, now_ms());
    let mut answer = match event {
        Err(reason) => json!({ "becomes": "quarantined", "reason": reason.to_string() }),
        Ok(None) => json!({ "becomes": "core data" }),
        Ok(Some(checked)) => match queue.validate && queue.target == Target::Events {
            true => decide(context, &checked, &mut steps)?,
            false => json!({ "becomes": "event", "event": event_json::event_json(&checked.event) }),
        },
    };
    answer["steps"] = json!(steps);
    if answer["becomes"] == "quarantined" {
        answer["quarantine"] = json!(queue.quarantine());
    }
    Ok(context.out.document(&answer, render::checked_message)?)
}

/// Asks the process that has the programs, as for a conversion with these parameters.
fn decide(
    context: &mut Context,
    checked: &CheckedEvent,
    steps: &mut Vec<CheckStep>,
) -> Result<Json, Failure> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(&checked.parameters);
    let prefix = &context.settings.tracker.prefixes.conversion;
    let request = ExplainRequest {
        method: "GET".to_owned(),
        url: format!("{prefix}/{}?{}", checked.event.programid, query.finish()),
        headers: Vec::new(),
        at_ms: None,
    };
    let explained = context.ask(Op::Explain(request))?;
    for step in explained["steps"].as_array().into_iter().flatten() {
        // Its size is that of a request; a message has its own step for that.
        if step["check"] != "size" {
            let text = |name: &str| step[name].as_str().unwrap_or_default().to_owned();
            steps.push(CheckStep {
                check: text("check"),
                passed: step["passed"] == true,
                detail: text("detail"),
            });
        }
    }
    Ok(match explained["decision"].as_str() {
        Some("refused") => {
            let text = |name: &str| explained[name].as_str().unwrap_or_default();
            json!({ "becomes": "quarantined", "reason": format!("{}: {}", text("reason"), text("detail")) })
        }
        _ => json!({ "becomes": "event", "event": event_json::event_json(&checked.event) }),
    })
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let read = if file.as_os_str() == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(file)
    };
    read.map_err(|error| Failure::BadInput(format!("cannot read {}: {error}", file.display())))
}
