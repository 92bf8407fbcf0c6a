//! Why a call has no answer.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::io;

use tonic::{Code, Status};
use tonic_types::StatusExt;

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
    /// No coordinator answered: nothing listens there, or the connection broke.
    #[error("cannot reach {address} ({problem})")]
    Unreachable {
        /// The address.
        address: String,
        /// The innermost cause, such as `connection refused`.
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
}

impl Error {
    /// Says whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused(refusal) => refusal.code == Code::Unavailable,
            Self::Address { .. } | Self::Deleted { .. } | Self::Over { .. } | Self::Replaced { .. } => false,
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
        if let Some(info) = status.get_details_error_info() {
            let metadata = info.metadata.into_iter().collect();
            return Self::refused(&status, info.reason, metadata);
        }
        // Whatever the coordinator refuses carries an ErrorInfo. A status with a source was made on this side from a
        // broken connection; UNAVAILABLE and UNKNOWN are what proxies and cut streams amount to.
        let problem = match status.source() {
            Some(source) => root_cause(source),
            None if matches!(status.code(), Code::Unavailable | Code::Unknown) => status.message().to_owned(),
            None => return Self::refused(&status, String::new(), BTreeMap::new()),
        };
        Self::Unreachable { address: address.to_owned(), problem, source: Box::new(status) }
    }

    fn refused(status: &Status, reason: String, metadata: BTreeMap<String, String>) -> Self {
        let message = if status.message().is_empty() { status.code().description() } else { status.message() };
        Self::Refused(Box::new(Refusal { code: status.code(), reason, message: message.to_owned(), metadata }))
    }
}

fn root_cause(error: &(dyn StdError + 'static)) -> String {
    let causes = || std::iter::successors(Some(error), |&error| error.source());
    let io_error = causes().filter_map(|error| error.downcast_ref::<io::Error>()).last();
    match io_error {
        // "connection refused" instead of "Connection refused (os error 111)".
        Some(error) if error.raw_os_error().is_some() => error.kind().to_string(),
        _ => causes().last().map(ToString::to_string).unwrap_or_default(),
    }
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
    fn a_cut_stream_is_unreachable_and_a_foreign_refusal_is_not() {
        assert!(matches!(Error::from_status("a", Status::unknown("no trailers")), Error::Unreachable { .. }));
        assert!(matches!(Error::from_status("a", Status::unimplemented("")), Error::Refused(_)));
    }
}
