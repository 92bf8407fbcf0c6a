//! What is told, and how it looks as a message of Standard Webhooks.

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::Value;

use super::slack;
use crate::coordinator::Topic;
use crate::domain::{Cause, Event, EventKind};
use crate::proto::{self, JsonError, Timestamp};

/// One thing that is told.
#[derive(Clone, Debug)]
pub struct Message {
    /// What it tells.
    pub topic: Topic,
    /// The event; of a warning, the last one of the gate.
    pub event: Arc<Event>,
    /// When it happened; of a warning, when it was made.
    pub time: SystemTime,
}

/// What the messages of one webhook have in common.
#[derive(Clone, Debug)]
pub struct Sender {
    /// The store's id, a part of the ids of messages.
    pub store_id: Arc<str>,
    /// Where people reach the coordinator, without a slash at the end.
    pub public_url: Arc<str>,
}

/// Says what an event is told as, apart from warnings.
pub fn topics_of(event: &Event) -> &'static [Topic] {
    // However it came: by a vote, the deadline, a deletion, or with the gate itself.
    match (event.resolution().map(|resolution| resolution.cause), event.kind) {
        // Whoever follows resolutions misses none, and whoever looks for this alone has it.
        (Some(Cause::BreakGlass), _) => &[Topic::Resolved, Topic::BreakGlass],
        (Some(_), _) => &[Topic::Resolved],
        (None, EventKind::Waiting) => &[Topic::Waiting],
        (None, _) => &[],
    }
}

impl Sender {
    /// Names a message: it has the same id however often it is sent.
    pub fn id(&self, message: &Message) -> String {
        let gate = &message.event.gate;
        match message.topic {
            Topic::Waiting | Topic::Resolved | Topic::BreakGlass => {
                format!("{}-{}-{}", self.store_id, gate.revision, message.topic.as_str())
            }
            Topic::Expiring => format!("{}-{}-{}", gate.uid, gate.round, message.topic.as_str()),
        }
    }

    /// Writes a message of Standard Webhooks.
    pub fn standard(&self, message: &Message) -> Result<String, JsonError> {
        let kind = message.topic.as_str();
        let time = Timestamp::from(message.time);
        let event = proto::to_json(&proto::Event::from(&*message.event))?;
        let url = Value::from(self.page(message));
        Ok(format!(r#"{{"type":"gate.{kind}","timestamp":"{time}","data":{{"event":{event},"url":{url}}}}}"#))
    }

    /// Writes a message of Slack's incoming webhooks.
    pub fn slack(&self, message: &Message) -> String {
        slack::message(message, &self.page(message)).to_string()
    }

    /// Returns the address of the gate's page. Names need no escaping.
    fn page(&self, message: &Message) -> String {
        format!("{}/gates/{}", self.public_url, message.event.gate.name)
    }
}

#[cfg(test)]
mod tests;
