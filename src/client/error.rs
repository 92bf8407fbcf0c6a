//! Why a call has no answer.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use tonic::{Code, ConnectError, Status};
use tonic_types::StatusExt;

use crate::proto::ERROR_DOMAIN;

/// The reason of a call that is one too many for now.
const RATE_LIMITED: &str = "RATE_LIMITED";

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is not one of a coordinator.
    #[error("{given:?} is not the address of a coordinator: {problem}")]
    Address {
        /// The address.
        given: String,
        /// What is wrong with it.
        problem: String,
    },
    /// TLS cannot be used as told.
    #[error("TLS cannot be used: {problem}")]
    Tls {
        /// What is wrong.
        problem: String,
    },
    /// The token cannot be shown. Nothing of it is told.
    #[error("the token cannot be used: {problem}")]
    Token {
        /// What is wrong.
        problem: String,
    },
    /// No coordinator answered: nothing listens there, the connection broke, or something in between cut the call.
    #[error("cannot reach {address} ({problem})")]
    Unreachable {
        /// The address, or with several endpoints those of all that were tried.
        address: String,
        /// The innermost cause, or those that differ, such as `connection refused`.
        problem: String,
        /// What the transport reported.
        #[source]
        source: Box<Status>,
    },
    /// The coordinator answered that it will not do it.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// The gate was deleted while the connection was down, so that nobody can say how its round ended.
    #[error("gate {gate} was deleted while the connection was down")]
    Deleted {
        /// The gate.
        gate: String,
    },
    /// The wait has ended before, with a result that was returned then.
    #[error("the wait on gate {gate} has ended before")]
    Over {
        /// The gate.
        gate: String,
    },
    /// Another store answered after a reconnect: its revisions do not continue those seen before.
    #[error("the coordinator at {address} has another store than before: revisions start anew, watch again from now")]
    Replaced {
        /// The address.
        address: String,
        /// The store of the revisions seen.
        seen: String,
        /// The store that answers now.
        found: String,
    },
}

/// A coordinator's answer that it will not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What sort of refusal it is.
    pub code: Code,
    /// Which refusal exactly, such as `GATE_NOT_FOUND`; empty if not the coordinator itself refused.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// The values that the message mentions.
    pub metadata: BTreeMap<String, String>,
    /// How long to wait before the same call is taken, where that is known.
    pub retry_in: Option<Duration>,
}

impl Error {
    /// Says whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused(refusal) => refusal.code == Code::Unavailable || refusal.reason == RATE_LIMITED,
            Self::Address { .. }
            | Self::Tls { .. }
            | Self::Token { .. }
            | Self::Deleted { .. }
            | Self::Over { .. }
            | Self::Replaced { .. } => false,
        }
    }

    /// Says whether the call was never sent: there was no connection to send it on.
    pub(super) fn is_unsent(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => causes(source.as_ref()).any(<dyn StdError>::is::<ConnectError>),
            _ => false,
        }
    }

    /// Makes one error of those of two endpoints: what a coordinator said goes before what none did.
    pub(super) fn and(self, next: Self) -> Self {
        match (self, next) {
            (
                Self::Unreachable { address, problem, source },
                Self::Unreachable { address: other, problem: more, .. },
            ) => {
                let problem = if problem == more { problem } else { format!("{problem}; {more}") };
                Self::Unreachable { address: format!("{address},{other}"), problem, source }
            }
            (Self::Unreachable { .. }, said) | (said, _) => said,
        }
    }

    /// Returns how long to wait before the same call is taken, where the coordinator says so.
    pub(super) fn retry_in(&self) -> Option<Duration> {
        match self {
            Self::Refused(refusal) => refusal.retry_in,
            _ => None,
        }
    }

    /// Returns the coordinator's refusal if its reason is this one.
    #[must_use]
    pub fn refusal(&self, reason: &str) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) if refusal.reason == reason => Some(refusal),
            _ => None,
        }
    }

    pub(super) fn from_status(address: &str, status: Status) -> Self {
        if let Some(info) = status.get_details_error_info().filter(|info| info.domain == ERROR_DOMAIN) {
            let metadata = info.metadata.into_iter().collect();
            return Self::refused(&status, info.reason, metadata);
        }
        // Whatever the coordinator refuses carries such an ErrorInfo. A status with a source was made on this side from
        // a broken connection. The others come from what stands in between, a proxy that caps how long a stream may
        // last for example, and say little about the coordinator: they end nothing that trying again could mend.
        let problem = match status.source() {
            _ if has_expired(&status) => "no answer in time".to_owned(),
            Some(source) => root_cause(source),
            None if is_final(status.code()) => return Self::refused(&status, String::new(), BTreeMap::new()),
            None => sentence(&status),
        };
        Self::Unreachable { address: address.to_owned(), problem, source: Box::new(status) }
    }

    fn refused(status: &Status, reason: String, metadata: BTreeMap<String, String>) -> Self {
        let retry_in = status.get_details_retry_info().and_then(|info| info.retry_delay);
        Self::Refused(Box::new(Refusal { code: status.code(), reason, message: sentence(status), metadata, retry_in }))
    }
}

/// Says whether a refusal that is not the coordinator's will be the same next time: who asks, or what, is wrong.
fn is_final(code: Code) -> bool {
    use Code::{InvalidArgument, OutOfRange, PermissionDenied, Unauthenticated, Unimplemented};
    // OUT_OF_RANGE is a message that is too large for the transport.
    matches!(code, InvalidArgument | OutOfRange | PermissionDenied | Unauthenticated | Unimplemented)
}

/// Says whether a call's time was over. tonic says CANCELLED then, on both sides, others `DEADLINE_EXCEEDED`.
fn has_expired(status: &Status) -> bool {
    match status.code() {
        Code::DeadlineExceeded => true,
        Code::Cancelled => status.message() == "Timeout expired",
        _ => false,
    }
}

fn sentence(status: &Status) -> String {
    let message = if status.message().is_empty() { status.code().description() } else { status.message() };
    message.to_owned()
}

pub(super) fn root_cause(error: &(dyn StdError + 'static)) -> String {
    let io_error = causes(error).filter_map(|error| error.downcast_ref::<io::Error>()).last();
    match io_error {
        // "connection refused" instead of "Connection refused (os error 111)".
        Some(error) if error.raw_os_error().is_some() => error.kind().to_string(),
        _ => causes(error).last().map(ToString::to_string).unwrap_or_default(),
    }
}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn a_refusal_keeps_its_reason_and_metadata() {
        let metadata = HashMap::from([("gate".to_owned(), "a".to_owned())]);
        let details = ErrorDetails::with_error_info("GATE_NOT_FOUND", "gatepost", metadata);
        let status = Status::with_error_details(Code::NotFound, "there is no gate a", details);
        let error = Error::from_status("http://h:1", status);
        let refusal = error.refusal("GATE_NOT_FOUND").unwrap();
        assert_eq!(
            (refusal.code, &*refusal.message, &*refusal.metadata["gate"]),
            (Code::NotFound, "there is no gate a", "a")
        );
        assert!(error.refusal("DRAINING").is_none() && !error.is_transient());
    }

    #[test]
    fn a_drain_is_transient() {
        let details = ErrorDetails::with_error_info("DRAINING", "gatepost", HashMap::new());
        let error = Error::from_status("http://h:1", Status::with_error_details(Code::Unavailable, "stops", details));
        assert!(error.is_transient() && error.refusal("DRAINING").is_some());
    }

    #[test]
    fn a_broken_connection_names_its_cause() {
        let cause = io::Error::from_raw_os_error(rustix::io::Errno::CONNREFUSED.raw_os_error());
        let error = Error::from_status("http://h:1", Status::from_error(Box::new(cause)));
        assert_eq!(error.to_string(), "cannot reach http://h:1 (connection refused)");
        assert!(error.is_transient());
    }

    #[test]
    fn what_something_in_between_says_is_final_only_where_the_caller_is_wrong() {
        use Code::{Aborted, Cancelled, DeadlineExceeded, Internal, NotFound, ResourceExhausted, Unavailable, Unknown};
        use Code::{InvalidArgument, OutOfRange, PermissionDenied, Unauthenticated, Unimplemented};

        for code in [Aborted, Cancelled, DeadlineExceeded, Internal, NotFound, ResourceExhausted, Unavailable, Unknown]
        {
            let error = Error::from_status("a", Status::new(code, ""));
            assert!(matches!(error, Error::Unreachable { .. }) && error.is_transient(), "{code:?}: {error}");
        }
        for code in [InvalidArgument, OutOfRange, PermissionDenied, Unauthenticated, Unimplemented] {
            let error = Error::from_status("a", Status::new(code, ""));
            assert!(matches!(error, Error::Refused(_)) && !error.is_transient(), "{code:?}: {error}");
        }
    }

    #[test]
    fn a_reason_of_another_domain_is_not_the_coordinators() {
        let details = ErrorDetails::with_error_info("GATE_NOT_FOUND", "proxy.example.org", HashMap::new());
        let error = Error::from_status("a", Status::with_error_details(Code::NotFound, "no route", details));
        assert_eq!(error.to_string(), "cannot reach a (no route)");
        assert!(error.refusal("GATE_NOT_FOUND").is_none() && error.is_transient());
    }

    #[test]
    fn a_call_whose_time_is_over_has_no_answer() {
        let expired = [Status::cancelled("Timeout expired"), Status::deadline_exceeded("upstream took too long")];
        for status in expired {
            assert_eq!(Error::from_status("a", status).to_string(), "cannot reach a (no answer in time)");
        }
    }

    #[test]
    fn all_endpoints_that_cannot_be_reached_are_told_and_what_one_said_goes_first() {
        let lost = |address| Error::from_status(address, Status::unavailable("gone"));
        let silent = || Error::from_status("c", Status::deadline_exceeded(""));
        assert_eq!(lost("a").and(lost("b")).to_string(), "cannot reach a,b (gone)");
        assert_eq!(lost("a").and(lost("b")).and(silent()).to_string(), "cannot reach a,b,c (gone; no answer in time)");
        let details = ErrorDetails::with_error_info("DRAINING", "gatepost", HashMap::new());
        let draining =
            || Error::from_status("d", Status::with_error_details(Code::Unavailable, "stops", details.clone()));
        assert!(lost("a").and(draining()).refusal("DRAINING").is_some());
        assert!(draining().and(lost("a")).refusal("DRAINING").is_some());
    }

    #[test]
    fn only_a_call_without_a_connection_was_never_sent() {
        let refused = ConnectError(Box::new(io::Error::from(io::ErrorKind::ConnectionRefused)));
        assert!(Error::from_status("a", Status::from_error(Box::new(refused))).is_unsent());
        let broken = io::Error::from(io::ErrorKind::ConnectionReset);
        assert!(!Error::from_status("a", Status::from_error(Box::new(broken))).is_unsent());
        assert!(!Error::from_status("a", Status::unavailable("drains")).is_unsent());
    }
}
