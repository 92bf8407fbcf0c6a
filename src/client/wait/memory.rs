//! What a wait remembers from one connection to the next, so that it misses nothing. Pure.

use super::super::Error;
use crate::proto::{Gate, WaitRequest};

/// What a wait has seen, and what it therefore asks for next.
pub(super) struct Memory {
    request: WaitRequest,
    seen: Option<Seen>,
}

/// Which gate it is, and the round that the wait is in.
struct Seen {
    uid: String,
    round: u32,
}

/// What follows an error.
#[derive(Debug)]
pub(super) enum Next {
    /// Ask again at once: the round was reset, and the wait goes on with the next.
    GoOn,
    /// Ask again after a pause: the connection is gone.
    Pause(Error),
    /// The wait cannot succeed.
    Fail(Error),
}

impl Memory {
    pub(super) fn new(request: WaitRequest) -> Self {
        Self { request, seen: None }
    }

    /// Returns what to ask for. Once the gate was seen, that is its round, because a resolution that is reset away while
    /// the connection is down has to be delivered all the same; its uid, because another gate under its name is none of
    /// this wait's business; and no spec, because a gate that is deleted then has to stay deleted.
    pub(super) fn request(&self) -> WaitRequest {
        match &self.seen {
            None => self.request.clone(),
            Some(seen) => WaitRequest { round: seen.round, uid: seen.uid.clone(), spec: None, ..self.request.clone() },
        }
    }

    /// Notes the gate as the coordinator sent it.
    pub(super) fn on_gate(&mut self, gate: &Gate) -> Result<(), Error> {
        if self.seen.as_ref().is_some_and(|seen| seen.uid != gate.uid) {
            return Err(self.deleted());
        }
        self.seen = Some(Seen { uid: gate.uid.clone(), round: gate.round });
        Ok(())
    }

    /// Says what follows an error.
    pub(super) fn on_error(&mut self, error: Error) -> Next {
        if error.is_transient() {
            return Next::Pause(error);
        }
        let Some(seen) = &mut self.seen else { return Next::Fail(error) };
        if error.refusal("GATE_NOT_FOUND").is_some() {
            return Next::Fail(self.deleted());
        }
        let next_round = error.refusal("ROUND_RESET").and_then(|refusal| refusal.metadata.get("next_round"));
        match next_round.and_then(|round| round.parse().ok()) {
            // Only forward, so that no answer can make this ask for ever.
            Some(next) if self.request.round == 0 && next > seen.round => {
                seen.round = next;
                Next::GoOn
            }
            _ => Next::Fail(error),
        }
    }

    fn deleted(&self) -> Error {
        Error::Deleted { gate: self.request.gate.clone() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tonic::{Code, Status};

    use super::super::super::Refusal;
    use super::*;
    use crate::proto::Spec;

    fn asking(round: u32) -> Memory {
        let spec = Some(Spec::default());
        Memory::new(WaitRequest { gate: "a".into(), round, spec, ..WaitRequest::default() })
    }

    fn gate(uid: &str, round: u32) -> Gate {
        Gate { name: "a".into(), uid: uid.into(), round, ..Gate::default() }
    }

    fn refusal(code: Code, reason: &str, next_round: &str) -> Error {
        let metadata = BTreeMap::from([("next_round".to_owned(), next_round.to_owned())]);
        Error::Refused(Box::new(Refusal {
            code,
            reason: reason.into(),
            message: String::new(),
            metadata,
            retry_in: None,
        }))
    }

    fn round_reset(next_round: &str) -> Error {
        refusal(Code::FailedPrecondition, "ROUND_RESET", next_round)
    }

    #[test]
    fn the_request_is_repeated_until_the_gate_is_seen() {
        let mut memory = asking(0);
        let asked = memory.request();
        let lost = Error::from_status("http://h:1", Status::unavailable("gone"));
        assert!(matches!(memory.on_error(lost), Next::Pause(Error::Unreachable { .. })));
        assert!(memory.request() == asked && asked.spec.is_some());
    }

    #[test]
    fn after_that_the_round_is_named_and_the_gate_is_not_made_again() {
        let mut memory = asking(0);
        memory.on_gate(&gate("u", 3)).unwrap();
        assert_eq!((memory.request().round, memory.request().spec), (3, None));
        // It follows the gate while connected.
        memory.on_gate(&gate("u", 4)).unwrap();
        assert_eq!(memory.request().round, 4);
    }

    #[test]
    fn a_drain_is_waited_out() {
        let mut memory = asking(0);
        memory.on_gate(&gate("u", 1)).unwrap();
        assert!(matches!(memory.on_error(refusal(Code::Unavailable, "DRAINING", "")), Next::Pause(_)));
    }

    #[test]
    fn a_reset_while_away_moves_the_wait_to_the_next_round() {
        let mut memory = asking(0);
        memory.on_gate(&gate("u", 1)).unwrap();
        assert!(matches!(memory.on_error(round_reset("2")), Next::GoOn));
        assert_eq!((memory.request().round, memory.request().spec), (2, None));
    }

    #[test]
    fn a_reset_ends_a_wait_that_names_its_round() {
        let mut memory = asking(1);
        memory.on_gate(&gate("u", 1)).unwrap();
        let Next::Fail(error) = memory.on_error(round_reset("2")) else { panic!("the wait went on") };
        assert!(error.refusal("ROUND_RESET").is_some());
    }

    #[test]
    fn a_round_that_does_not_grow_ends_the_wait() {
        for next_round in ["1", "0", "", "x"] {
            let mut memory = asking(0);
            memory.on_gate(&gate("u", 1)).unwrap();
            assert!(matches!(memory.on_error(round_reset(next_round)), Next::Fail(_)), "{next_round}");
        }
    }

    #[test]
    fn a_gate_deleted_while_away_is_told() {
        let not_found = || refusal(Code::NotFound, "GATE_NOT_FOUND", "");
        let mut memory = asking(0);
        // Never seen: the coordinator's own words.
        assert!(matches!(memory.on_error(not_found()), Next::Fail(Error::Refused(_))));
        memory.on_gate(&gate("u", 1)).unwrap();
        assert!(matches!(memory.on_error(not_found()), Next::Fail(Error::Deleted { .. })));
        // Deleted and made again.
        assert!(matches!(memory.on_gate(&gate("v", 1)), Err(Error::Deleted { .. })));
    }

    #[test]
    fn other_refusals_end_the_wait() {
        let mut memory = asking(0);
        let conflict = refusal(Code::FailedPrecondition, "SPEC_CONFLICT", "");
        assert!(matches!(memory.on_error(conflict), Next::Fail(Error::Refused(_))));
    }
}
