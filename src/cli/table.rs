//! Gates as tables.

use comfy_table::{Cell, Color, ContentArrangement, Table, presets};

use super::sentence;
use super::status::word;
use super::text::{duration, escape, exact, relative};
use crate::proto::{Gate, GateStatus, OnTimeout, Resolution, Spec, Timestamp, to_json};

/// Returns a row for each gate.
pub(super) fn rows(gates: &[Gate], now: jiff::Timestamp) -> String {
    let mut table = borderless();
    table.set_header(["GATE", "STATUS", "ROUND", "APPROVALS", "DEADLINE", "WAITERS", "CHANGED", "TITLE"]);
    for gate in gates {
        let when = |time: Option<&Timestamp>| time.map(|time| relative(time, now)).unwrap_or_default();
        let running = gate.deadline.as_ref().filter(|_| gate.status() == GateStatus::Waiting);
        table.add_row([
            Cell::new(escape(&gate.name)),
            status(gate.status()),
            Cell::new(gate.round),
            Cell::new(sentence::count(gate)),
            Cell::new(when(running)),
            Cell::new(gate.waiter_count),
            Cell::new(when(gate.update_time.as_ref())),
            Cell::new(gate.spec.as_ref().map(|spec| escape(&spec.title)).unwrap_or_default()),
        ]);
    }
    rendered(table)
}

/// Returns all there is to know about one gate, a line for each thing that is set.
pub(super) fn details(gate: &Gate, now: jiff::Timestamp) -> String {
    let mut table = borderless();
    let mut add = |label: &str, value: String| {
        if !value.is_empty() {
            table.add_row([Cell::new(label), Cell::new(value)]);
        }
    };
    let when = |time: Option<&Timestamp>| {
        time.map(|time| format!("{} ({})", relative(time, now), exact(time))).unwrap_or_default()
    };

    add("gate", escape(&gate.name));
    add("status", word(gate.status()).to_owned());
    add("round", gate.round.to_string());
    add("approvals", sentence::progress(gate));
    let early = sentence::earliest_approval(gate).filter(|_| gate.status() == GateStatus::Waiting);
    add("approvable", when(early.as_ref()));
    let deadline = gate.deadline.as_ref();
    let running = gate.status() == GateStatus::Waiting;
    add("deadline", if running { when(deadline) } else { deadline.map(exact).unwrap_or_default() });
    for (label, value) in asked(&gate.spec.clone().unwrap_or_default()) {
        add(label, value);
    }
    for (key, value) in &gate.evidence {
        add("evidence", escape(&format!("{key}={value}")));
    }
    for vote in &gate.votes {
        let when = vote.time.as_ref().map(|time| relative(time, now)).unwrap_or_default();
        add("vote", format!("{}, {when}", sentence::vote(vote)));
    }
    for (label, value) in gate.resolution.iter().flat_map(|resolution| ended(resolution, now)) {
        add(label, value);
    }
    for waiter in &gate.waiters {
        let since = waiter.since.as_ref().map(|time| relative(time, now)).unwrap_or_default();
        let note = if waiter.note.is_empty() { String::new() } else { format!(": {}", escape(&waiter.note)) };
        add("waiter", format!("{} on {}, came {since}{note}", escape(&waiter.id), escape(&waiter.host)));
    }
    let unseen = usize::try_from(gate.waiter_count).unwrap_or(usize::MAX).saturating_sub(gate.waiters.len());
    add("waiters", if unseen > 0 { format!("{unseen} more") } else { String::new() });
    add("created", when(gate.create_time.as_ref()));
    add("requester", escape(&gate.requester));
    add("first waiter", escape(&gate.first_waiter));
    add("changed", when(gate.update_time.as_ref()));
    add("revision", gate.revision.to_string());
    add("etag", escape(&gate.etag));
    rendered(table)
}

fn asked(spec: &Spec) -> Vec<(&'static str, String)> {
    let mut asked = vec![
        ("title", escape(&spec.title)),
        ("description", spec.description.lines().map(escape).collect::<Vec<_>>().join("\n")),
        ("timeout", spec.timeout.as_ref().map(duration).unwrap_or_default()),
    ];
    let on_timeout = match spec.on_timeout() {
        OnTimeout::Unspecified | OnTimeout::TimeOut => "",
        OnTimeout::Approve => "approved",
        OnTimeout::Reject => "rejected",
    };
    asked.push(("if undecided", on_timeout.to_owned()));
    asked.push(("minimum wait", spec.min_wait.as_ref().map(duration).unwrap_or_default()));
    asked.extend(spec.approvers.iter().map(|party| ("approver", escape(party))));
    let own = spec.forbid_requester.map(|forbidden| if forbidden { "forbidden" } else { "allowed" });
    asked.push(("own approval", own.unwrap_or_default().to_owned()));
    asked.extend(spec.labels.iter().map(|(key, value)| ("label", escape(&format!("{key}={value}")))));
    asked.extend(spec.links.iter().map(|link| ("link", escape(&format!("{} {}", link.title, link.url)))));
    if let Some(subject) = &spec.subject {
        asked.push(("subject", escape(&subject.uri)));
        asked.push(("digest", escape(&subject.digest)));
    }
    asked
}

fn ended(resolution: &Resolution, now: jiff::Timestamp) -> Vec<(&'static str, String)> {
    let when = resolution.time.as_ref().map(|time| format!("{} ({})", relative(time, now), exact(time)));
    vec![
        ("ended", anstream::adapter::strip_str(&sentence::how(resolution)).to_string()),
        ("when", when.unwrap_or_default()),
        ("why", escape(&resolution.reason)),
        ("inputs", escape(&inputs(resolution).unwrap_or_default())),
    ]
}

fn inputs(resolution: &Resolution) -> Option<String> {
    resolution.inputs.as_ref()?;
    let json: serde_json::Value = serde_json::from_str(&to_json(resolution).ok()?).ok()?;
    Some(json.get("inputs")?.to_string())
}

fn status(status: GateStatus) -> Cell {
    let colour = match status {
        GateStatus::Unspecified | GateStatus::Pending => Color::Grey,
        GateStatus::Waiting => Color::Cyan,
        GateStatus::Approved => Color::Green,
        GateStatus::Rejected => Color::Red,
        GateStatus::TimedOut => Color::Yellow,
    };
    Cell::new(word(status)).fg(colour)
}

/// Makes a table without lines.
pub(super) fn borderless() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table
}

/// Writes a table.
pub(super) fn rendered(mut table: Table) -> String {
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 2));
    });
    table.trim_fmt()
}
