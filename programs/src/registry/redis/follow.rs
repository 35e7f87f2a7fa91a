//! One subscription: a dedicated connection, from its confirmation to its end.
//!
//! A client library that resubscribes by itself can end up connected but not subscribed, without
//! an error. So nothing is repaired here: any error, any timeout and any unsubscribe push
//! ends the subscription with [`Notice::Closed`](super::super::Notice),
//! and the follower starts over: subscribe, then compare.
//!
//! Messages are read on the connection's own thread and put into the subscriber's channel,
//! which drops the oldest and counts them. So the connection is always read at full speed
//! and Redis buffers nothing for us.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use redis::{ProtocolVersion, PushInfo, PushKind, Value, aio::MultiplexedConnection};
use tokio::{
    sync::{Notify, broadcast},
    time::sleep,
};
use tracing::{info, warn};

use super::{
    address::Address,
    counts::{Counters, count},
    fault::Fault,
    keys::Keys,
    link::{Link, in_time, untimed},
    row::Message,
    sample::{self, Sample},
};
use crate::registry::{Notice, RegistryError, SUBSCRIPTION_CHANGES_MAX, Subscription};

/// How often the server is pinged, and how long it may take to answer.
const PING_EVERY: Duration = Duration::from_secs(5);
const PING_LIMIT: Duration = Duration::from_secs(2);
/// Servers that are tried before a subscription fails: a cluster has several seed nodes, and each
/// may redirect us.
const SERVERS_MAX: usize = 5;

/// Subscribed on return.
pub(super) async fn subscribe(
    link: &Link,
    keys: &Arc<Keys>,
    sample: Option<&Arc<Sample>>,
) -> Result<Subscription, RegistryError> {
    let opener = Opener {
        address: link.address().clone(),
        connect_timeout: link.connect_timeout(),
        response_timeout: link.response_timeout(),
        keys: Arc::clone(keys),
        sample: sample.cloned(),
        counters: Arc::clone(link.counters()),
    };
    // A connection belongs to the runtime that it was made in.
    let opened = link.runtime().spawn(async move {
        let opened = opener.open().await;
        if opened.is_err() {
            count(&opener.counters.connections_failed);
        }
        opened
    });
    let opened = opened.await.map_err(|error| RegistryError::Unavailable(error.into()))?;
    let (subscription, keeper) = opened?;
    link.runtime().spawn(keeper.keep());
    Ok(subscription)
}

struct Opener {
    address: Address,
    connect_timeout: Duration,
    response_timeout: Duration,
    keys: Arc<Keys>,
    sample: Option<Arc<Sample>>,
    counters: Arc<Counters>,
}

impl Opener {
    async fn open(&self) -> Result<(Subscription, Keeper), Fault> {
        let nodes = self.address.nodes();
        let first = fastrand::usize(..nodes.len());
        let mut node = nodes[first].clone();
        let mut others = nodes.iter().cycle().skip(first + 1).take(nodes.len() - 1);
        let mut servers = 1;
        loop {
            let fault = match self.open_at(&node).await {
                Ok(opened) => return Ok(opened),
                Err(fault) => fault,
            };
            let next = match fault.moved_to() {
                // An empty host means the same host, at another port.
                Some((host, port)) if host.is_empty() => Some((node.0.clone(), port)),
                Some(owner) => Some(owner),
                None => others.next().cloned(),
            };
            match next {
                Some(next) if servers < SERVERS_MAX => node = next,
                _ => return Err(fault),
            }
            servers += 1;
        }
    }

    async fn open_at(&self, node: &(String, u16)) -> Result<(Subscription, Keeper), Fault> {
        let (changes, subscriber) = broadcast::channel(SUBSCRIPTION_CHANGES_MAX);
        let lost = Arc::new(Notify::new());
        let handler = PushHandler {
            changes: changes.downgrade(),
            lost: Arc::clone(&lost),
            counters: Arc::clone(&self.counters),
            sample: self.sample.clone(),
            warned: AtomicBool::new(false),
        };
        // Only with RESP3 can a subscribed connection be pinged.
        let client = self.address.client(node, ProtocolVersion::RESP3)?;
        let config = untimed().set_push_sender(move |push| {
            handler.handle(push);
            Ok::<(), ()>(())
        });
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        let mut connection = in_time(self.connect_timeout, connecting).await?;
        if self.address.is_cluster() {
            // A replica would accept the subscription and stay silent when its master is unreachable;
            // asked for a key, it redirects us to its master.
            let mut command = redis::cmd("HMGET");
            command.arg(&self.keys.meta).arg("format");
            in_time(self.response_timeout, connection.send_packed_command(&command))
                .await?
                .extract_error()?;
        }
        let mut channels = vec![self.keys.channel.as_str()];
        channels.extend(self.sample.as_ref().map(|_| sample::CHANNEL));
        for channel in channels {
            let mut command = redis::cmd(self.keys.subscribe);
            command.arg(channel);
            in_time(self.response_timeout, connection.send_packed_command(&command))
                .await?
                .extract_error()?;
        }
        count(&self.counters.subscriptions);
        info!(channel = self.keys.channel, host = node.0, port = node.1, "subscribed to redis");
        // Messages before the subscription are lost; the follower compares next.
        if let Some(sample) = &self.sample {
            sample.changed();
        }
        let keeper = Keeper { connection, changes, lost, counters: Arc::clone(&self.counters) };
        Ok((Subscription::new(subscriber), keeper))
    }
}

/// Handles the pushes of the server.
struct PushHandler {
    /// Weak, so that the end of the keeper ends the subscription.
    changes: broadcast::WeakSender<Notice>,
    lost: Arc<Notify>,
    counters: Arc<Counters>,
    sample: Option<Arc<Sample>>,
    /// Whether an unreadable message was logged: there may be many.
    warned: AtomicBool,
}

impl PushHandler {
    fn handle(&self, push: PushInfo) {
        match push.kind {
            PushKind::Message | PushKind::SMessage => {
                count(&self.counters.messages);
                let notice = self.read(&push.data);
                if let Some(changes) = self.changes.upgrade() {
                    // An error means that the subscriber is gone.
                    let _ = changes.send(notice);
                }
            }
            // The slot moved to another node, or an administrator unsubscribed us.
            PushKind::Unsubscribe | PushKind::SUnsubscribe | PushKind::Disconnection => {
                self.lost.notify_one();
            }
            _ => {}
        }
    }

    /// An unreadable message counts as a hole: the follower compares, and misses nothing.
    fn read(&self, data: &[Value]) -> Notice {
        let [Value::BulkString(channel), Value::BulkString(message)] = data else {
            return self.unreadable();
        };
        if let Some(sample) = &self.sample
            && channel == sample::CHANNEL.as_bytes()
        {
            sample.changed();
            return Notice::Lagged { missed: 1 };
        }
        match Message::read(message) {
            Some(Message::Change(mut change)) => {
                if let Some(sample) = &self.sample {
                    change.epoch = sample.mark(change.epoch);
                }
                Notice::Change(change)
            }
            Some(Message::Many(missed)) => Notice::Lagged { missed },
            None => self.unreadable(),
        }
    }

    fn unreadable(&self) -> Notice {
        count(&self.counters.messages_unreadable);
        if !self.warned.swap(true, Relaxed) {
            warn!("a message on the registry's channel cannot be read; comparing with the registry");
        }
        Notice::Lagged { missed: 1 }
    }
}

/// Keeps the connection, and with it the subscription, until it fails.
struct Keeper {
    connection: MultiplexedConnection,
    changes: broadcast::Sender<Notice>,
    lost: Arc<Notify>,
    counters: Arc<Counters>,
}

impl Keeper {
    async fn keep(mut self) {
        let reason = loop {
            tokio::select! {
                () = self.changes.closed() => return,
                () = self.lost.notified() => break "redis closed it".to_owned(),
                () = sleep(PING_EVERY) => {}
            }
            let ping = redis::cmd("PING");
            let answer = in_time(PING_LIMIT, self.connection.send_packed_command(&ping)).await;
            if let Err(fault) = answer {
                break fault.to_string();
            }
        };
        count(&self.counters.subscriptions_lost);
        warn!(reason, "lost the subscription to redis");
    }
}
