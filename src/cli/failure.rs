//! What went wrong, as one line that says what to do next.

use super::{exit, output, text};
use crate::client::{Error, Refusal};
use crate::config;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(super) enum Failure {
    /// The coordinator refused, or did not answer.
    Client(Error),
    /// The command line makes no sense, said in full.
    Usage(String),
    /// Something on this side, said in full.
    Here(String),
    /// Some things on this side, each said in full.
    Many(Vec<String>),
    /// Ctrl-C, with what that leaves behind.
    Interrupted(String),
    /// Nobody reads the output any more, as in `gatepost list | head -1`.
    PipeClosed,
}

impl Failure {
    /// Tells the failure on the standard error.
    pub(super) fn tell(&self) {
        match self {
            Self::Client(error) => output::error(&text::escape(&advice(error))),
            Self::Usage(message) | Self::Here(message) => output::error(&text::escape(message)),
            Self::Many(problems) => {
                for problem in problems {
                    output::error(&text::escape(problem));
                }
            }
            Self::Interrupted(message) => output::note(&format!("interrupted: {message}")),
            Self::PipeClosed => {}
        }
    }

    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Client(Error::Deleted { .. }) => exit::REJECTED,
            Self::Client(_) | Self::Here(_) | Self::Many(_) => exit::ERROR,
            Self::Usage(_) => exit::USAGE,
            Self::Interrupted(_) => exit::INTERRUPTED,
            Self::PipeClosed => exit::OK,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Client(error)
    }
}

/// What is wrong with the configuration.
impl From<Vec<config::Error>> for Failure {
    fn from(problems: Vec<config::Error>) -> Self {
        Self::Many(problems.iter().map(ToString::to_string).collect())
    }
}

/// Returns an error with its causes, leaving out those that it mentions itself.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

fn advice(error: &Error) -> String {
    match error {
        Error::Address { .. } => format!("{error}: give --server as http://host:port; several as A,B,C"),
        Error::Unreachable { .. } => format!("{error}: start it with `gatepost serve`, or name another with --server"),
        Error::Refused(refusal) => refused(refusal),
        Error::Token { .. } => {
            format!("{error}: look at --token-file, or give --token-over-http if the network is trusted")
        }
        Error::Tls { .. } => format!("{error}: look at --cacert, --cert and --key"),
        Error::Deleted { .. } | Error::Over { .. } | Error::Replaced { .. } => error.to_string(),
    }
}

fn refused(refusal: &Refusal) -> String {
    let value = |key: &str| refusal.metadata.get(key).map(String::as_str).filter(|value| !value.is_empty());
    match (refusal.reason.as_str(), value("gate")) {
        ("GATE_NOT_FOUND", Some(gate)) => format!(
            "there is no gate {gate}: create it with `gatepost create {gate}`, \
             or give wait a spec flag such as --timeout 10m"
        ),
        ("SPEC_CONFLICT", Some(gate)) => format!(
            "gate {gate} exists with another spec (it differs in {}): leave the spec flags out to join it",
            value("fields").unwrap_or("a field")
        ),
        ("GATE_ALREADY_RESOLVED", Some(gate)) => {
            let ended = match value("status") {
                Some("TIMED_OUT") => "timed out".to_owned(),
                status => format!("was {}", status.unwrap_or("decided").to_lowercase()),
            };
            let by = value("by").map(|by| format!(" by {by}")).unwrap_or_default();
            let at = value("time").map(|time| format!(" at {time}")).unwrap_or_default();
            format!("{gate} {ended}{by}{at}: `gatepost reset {gate}` begins a new round")
        }
        ("TOO_EARLY", Some(gate)) => match value("not_before") {
            Some(time) => format!("{gate} cannot be approved before {time}: approve it then"),
            None => format!("{gate} cannot be approved before somebody has waited on it for a while"),
        },
        // The coordinator's own sentences say what to do.
        _ => refusal.message.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn told(reason: &str, metadata: &[(&str, &str)]) -> String {
        let metadata: BTreeMap<_, _> = metadata.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        let (code, message) = (tonic::Code::FailedPrecondition, "said by\nthe server".to_owned());
        let refusal = Refusal { code, reason: reason.into(), message, metadata, retry_in: None };
        text::escape(&advice(&Error::Refused(Box::new(refusal))))
    }

    #[test]
    fn refusals_say_what_to_do() {
        assert_eq!(
            told("GATE_NOT_FOUND", &[("gate", "a/b")]),
            "there is no gate a/b: create it with `gatepost create a/b`, or give wait a spec flag such as --timeout 10m"
        );
        assert_eq!(
            told("SPEC_CONFLICT", &[("gate", "a"), ("fields", "timeout,title")]),
            "gate a exists with another spec (it differs in timeout,title): leave the spec flags out to join it"
        );
        let by = [("gate", "a"), ("status", "APPROVED"), ("by", "bob"), ("time", "2026-01-02T15:04:05Z")];
        assert_eq!(
            told("GATE_ALREADY_RESOLVED", &by),
            "a was approved by bob at 2026-01-02T15:04:05Z: `gatepost reset a` begins a new round"
        );
        let by_nobody = [("gate", "a"), ("status", "TIMED_OUT"), ("by", "")];
        assert_eq!(told("GATE_ALREADY_RESOLVED", &by_nobody), "a timed out: `gatepost reset a` begins a new round");
        let early = [("gate", "a"), ("not_before", "2026-01-02T15:04:05Z")];
        assert_eq!(told("TOO_EARLY", &early), "a cannot be approved before 2026-01-02T15:04:05Z: approve it then");
        let nobody = "a cannot be approved before somebody has waited on it for a while";
        assert_eq!(told("TOO_EARLY", &[("gate", "a"), ("not_before", "")]), nobody);
        let odd = [("gate", "a"), ("status", "REJECTED"), ("by", "who was timed out")];
        assert_eq!(
            told("GATE_ALREADY_RESOLVED", &odd),
            "a was rejected by who was timed out: `gatepost reset a` begins a new round"
        );
    }

    #[test]
    fn other_refusals_are_told_in_the_words_of_the_coordinator_on_one_line() {
        assert_eq!(told("ROUND_MISMATCH", &[]), "said by\\nthe server");
        assert_eq!(told("GATE_NOT_FOUND", &[]), "said by\\nthe server");
    }

    #[test]
    fn a_gate_that_was_deleted_stops_a_script_as_a_rejection_does() {
        assert_eq!(Failure::Client(Error::Deleted { gate: "a".into() }).exit_code(), exit::REJECTED);
    }

    #[test]
    fn causes_are_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot open the store")]
        struct Outer(#[source] std::io::Error);
        assert_eq!(chain(&Outer(std::io::Error::other("no space"))), "cannot open the store: no space");
    }
}
