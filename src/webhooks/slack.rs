//! Messages of Slack's incoming webhooks. Text of users is plain text throughout, so that it can mention nobody and
//! link nowhere.

use serde_json::{Value, json};

use super::message::Message;
use crate::coordinator::Topic;
use crate::domain::{Cause, Gate, Resolution, Status};
use crate::proto::Timestamp;

/// Slack's bound of a header, in characters.
const HEADER_MAX: usize = 150;
/// Slack's bound of the text of a section, in characters; it refuses the whole message beyond.
const SECTION_MAX: usize = 3000;
/// The longest fallback: a line of a notification.
const FALLBACK_MAX: usize = 1000;

/// Writes a message, with a button that leads to `page`.
pub fn message(message: &Message, page: &str) -> Value {
    let gate = &message.event.gate;
    let headline = headline(message);
    let mut blocks = vec![json!({ "type": "header", "text": plain(&headline, HEADER_MAX) })];
    let body = body(gate);
    if !body.is_empty() {
        blocks.push(json!({ "type": "section", "text": plain(&body, SECTION_MAX) }));
    }
    blocks.push(json!({ "type": "context", "elements": [plain(&facts(gate), SECTION_MAX)] }));
    let button = json!({ "type": "button", "text": plain("Open", HEADER_MAX), "url": page });
    blocks.push(json!({ "type": "actions", "elements": [button] }));
    json!({ "text": escape(&cut(&headline, FALLBACK_MAX)), "blocks": blocks })
}

fn headline(message: &Message) -> String {
    let gate = &message.event.gate;
    let name = &gate.name;
    match (message.topic, &gate.resolution) {
        (Topic::Waiting, _) => format!("{name} waits for approval"),
        (Topic::Expiring, _) => format!("{name} is about to time out"),
        (Topic::Resolved, Some(resolution)) => format!("{name} {}", outcome(gate.status, resolution)),
        (Topic::BreakGlass, Some(Resolution { by: Some(by), .. })) => {
            format!("Break-glass: {name} was approved by {by}")
        }
        (Topic::BreakGlass, _) => format!("Break-glass: {name} was approved"),
        (Topic::Resolved, None) => format!("{name} is resolved"),
    }
}

fn outcome(status: Status, resolution: &Resolution) -> String {
    let by = resolution.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    let of = match resolution.on_behalf_of.as_str() {
        "" => String::new(),
        of => format!(" for {of}"),
    };
    match (resolution.cause, status) {
        (Cause::Timeout, Status::Approved) => "was approved, as nobody decided in time".to_owned(),
        (Cause::Timeout, Status::Rejected) => "was rejected, as nobody decided in time".to_owned(),
        (Cause::Timeout, _) => "timed out".to_owned(),
        (Cause::BreakGlass, _) => format!("was approved{by}{of}, breaking the glass"),
        (Cause::Policy, Status::Approved) => "was approved by a rule".to_owned(),
        (Cause::Policy, _) => "was rejected by a rule".to_owned(),
        (Cause::AutoApprove, _) => "was approved by itself".to_owned(),
        (Cause::Cancelled, _) => format!("was deleted{by} before it was decided"),
        (Cause::Decision, Status::Approved) => format!("was approved{by}{of}"),
        (Cause::Decision, _) => format!("was rejected{by}{of}"),
    }
}

/// What the gate is about, and why it ended as it did.
fn body(gate: &Gate) -> String {
    let reason = gate.resolution.as_ref().map(|resolution| resolution.reason.as_str()).unwrap_or_default();
    let texts = [gate.spec.title.as_str(), gate.spec.description.as_str(), reason];
    texts.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n")
}

fn facts(gate: &Gate) -> String {
    let mut facts = vec![format!("round {}", gate.round), format!("asked for by {}", gate.requester)];
    let missing = gate.approvals_missing();
    if missing > 0 {
        facts.push(format!("{missing} of {} approvals missing", gate.spec.required_approvals));
    }
    if let Some(deadline) = gate.deadline.filter(|_| !gate.status.is_terminal()) {
        facts.push(format!("until {}", Timestamp::from(deadline)));
    }
    facts.join(", ")
}

/// Text as it is: without links, mentions, formatting or emoji.
fn plain(text: &str, chars_max: usize) -> Value {
    json!({ "type": "plain_text", "emoji": false, "text": cut(text, chars_max) })
}

fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max - 1) {
        Some((end, last)) if end + last.len_utf8() < text.len() => format!("{}…", &text[..end]),
        _ => text.to_owned(),
    }
}

/// Escapes what Slack reads as a link or a mention where no plain text can be asked for.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_at_whole_characters() {
        assert_eq!(cut("größe", 5), "größe");
        assert_eq!(cut("größe", 4), "grö…");
        assert_eq!(cut("", 4), "");
        assert_eq!(cut(&"é".repeat(4000), SECTION_MAX).chars().count(), SECTION_MAX);
    }

    #[test]
    fn a_mention_is_only_text() {
        assert_eq!(escape("<!channel> & <https://evil|x>"), "&lt;!channel&gt; &amp; &lt;https://evil|x&gt;");
    }
}
