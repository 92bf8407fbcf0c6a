//! A gate as its users understand it, written without a look at the code, and the check of what they saw against it.

use std::collections::BTreeMap;
use std::time::Duration;

use porcupine_rs::{CheckResult, Model, Operation, check_operations_timeout};

/// How long the search may take. It takes milliseconds, unless what happened is hopelessly unclear.
const SEARCH_MAX: Duration = Duration::from_secs(60);
/// When a call returns of which nobody knows whether it did anything: it may still do it.
pub const NEVER: i64 = i64::MAX;

/// What somebody asked of a gate, or what became of it by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Create,
    Decide(Decision),
    Reset,
    /// Begins to wait, and reads the first message.
    Arrive,
    Get,
    /// Nobody asked: the deadline came.
    Expire,
}

/// A decision is known by a number of its own. It is about a round, or with 0 about whichever is current.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    pub number: u64,
    pub approves: bool,
    pub round: u32,
}

/// A gate as somebody saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seen {
    pub round: u32,
    pub phase: Phase,
    pub revision: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    Pending,
    Waiting,
    /// By the decision of that number.
    Approved(u64),
    Rejected(u64),
    TimedOut,
}

impl Phase {
    pub fn is_resolved(self) -> bool {
        matches!(self, Self::Approved(_) | Self::Rejected(_) | Self::TimedOut)
    }
}

/// What somebody was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    Gate(Seen),
    Missing,
    /// The decision came too late, and this is the one that was first.
    Resolved(Seen),
    /// The decision was about another round than this one, which is current.
    OtherRound(u32),
    /// Nobody knows whether anything was done, or is yet to be.
    Unknown,
}

/// One call, from when it was made to when it was answered, or at the latest did what it did.
#[derive(Clone, Debug)]
pub struct Did {
    pub gate: String,
    pub client: u32,
    pub asked: Asked,
    pub answered: Answered,
    pub from: i64,
    pub to: i64,
}

/// A gate that may not exist yet. Its revision is not known after a change that nobody was answered about: then it is
/// the least that it can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct State {
    gate: Option<(u32, Phase)>,
    revision: u64,
    is_exact: bool,
}

#[derive(Clone, Debug)]
struct OneGate;

impl Model for OneGate {
    type State = State;
    type Op = (Asked, Answered);
    type Metadata = ();

    fn init() -> State {
        State { gate: None, revision: 0, is_exact: true }
    }

    fn step(state: &State, (asked, answered): &Self::Op) -> (bool, State) {
        if let (Some((round, _)), Asked::Decide(decision)) = (state.gate, asked)
            && decision.is_stale(round)
        {
            return (matches!(answered, Answered::Unknown) || *answered == Answered::OtherRound(round), *state);
        }
        let (after, is_refused) = after(state.gate, *asked);
        let changes = after != state.gate;
        if *answered == Answered::Unknown {
            let unclear = State { gate: after, revision: state.revision + 1, is_exact: false };
            return (true, if changes { unclear } else { *state });
        }
        let (Some((round, phase)), Answered::Gate(seen) | Answered::Resolved(seen)) = (after, answered) else {
            return (after.is_none() && *answered == Answered::Missing, *state);
        };
        // A change has a later revision than all before it; what is unchanged keeps its own.
        let fits = if changes {
            seen.revision > state.revision
        } else if state.is_exact {
            seen.revision == state.revision
        } else {
            seen.revision >= state.revision
        };
        let is_told_so = is_refused == matches!(answered, Answered::Resolved(_));
        let is_so = (seen.round, seen.phase) == (round, phase);
        (fits && is_told_so && is_so, State { gate: after, revision: seen.revision, is_exact: true })
    }
}

impl Decision {
    /// Says whether it is about another round than the current one.
    fn is_stale(self, round: u32) -> bool {
        self.round != 0 && self.round != round
    }
}

/// What the gate is after that, and whether it was refused because somebody was first.
fn after(gate: Option<(u32, Phase)>, asked: Asked) -> (Option<(u32, Phase)>, bool) {
    let Some((round, phase)) = gate else {
        return ((asked == Asked::Create).then_some((1, Phase::Pending)), false);
    };
    let phase_after = match asked {
        Asked::Decide(_) if phase.is_resolved() => return (gate, true),
        Asked::Decide(Decision { number, approves: true, .. }) => Phase::Approved(number),
        Asked::Decide(Decision { number, approves: false, .. }) => Phase::Rejected(number),
        Asked::Arrive if phase == Phase::Pending => Phase::Waiting,
        Asked::Expire if phase == Phase::Waiting => Phase::TimedOut,
        Asked::Reset => return (Some((round + 1, Phase::Pending)), false),
        Asked::Arrive | Asked::Get | Asked::Create | Asked::Expire => phase,
    };
    (Some((round, phase_after)), false)
}

/// Says of each gate whether some order of the calls, each at one moment while it was under way, explains all answers.
pub fn is_linearizable(history: &[Did]) -> Result<(), String> {
    let mut gates: BTreeMap<&str, Vec<Operation<OneGate>>> = BTreeMap::new();
    for did in history {
        let is_unknown = did.answered == Answered::Unknown;
        // Nothing can be said of a read that was not answered.
        if is_unknown && did.asked == Asked::Get {
            continue;
        }
        gates.entry(&did.gate).or_default().push(Operation {
            client_id: Some(did.client),
            call_time: did.from,
            return_time: did.to,
            op: (did.asked, did.answered),
            metadata: None,
        });
    }
    for (gate, operations) in gates {
        match check_operations_timeout(&operations, SEARCH_MAX) {
            CheckResult::Ok => {}
            CheckResult::Illegal => return Err(format!("no order explains {gate}:\n{}", in_time(&operations))),
            CheckResult::Unknown => return Err(format!("{gate} took too long to check: {} calls", operations.len())),
        }
    }
    Ok(())
}

/// Shows calls in the order in which they began, with what each took as microseconds.
fn in_time(operations: &[Operation<OneGate>]) -> String {
    let mut lines: Vec<_> = operations.iter().map(|did| (did.call_time, did.return_time, &did.op)).collect();
    lines.sort_by_key(|(from, ..)| *from);
    let show = |(from, to, op): (i64, i64, &(Asked, Answered))| {
        format!("{:>9} {:>9} {op:?}\n", from / 1000, if to == NEVER { -1 } else { to / 1000 })
    };
    lines.into_iter().map(show).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(number: u64, approves: bool) -> Asked {
        Asked::Decide(Decision { number, approves, round: 0 })
    }

    fn approve(number: u64) -> Asked {
        decide(number, true)
    }

    fn reject(number: u64) -> Asked {
        decide(number, false)
    }

    fn did(asked: Asked, from: i64, to: i64, answered: Answered) -> Did {
        Did { gate: "a".into(), client: 0, asked, answered, from, to }
    }

    fn gate(round: u32, phase: Phase, revision: u64) -> Answered {
        Answered::Gate(Seen { round, phase, revision })
    }

    fn resolved(round: u32, phase: Phase, revision: u64) -> Answered {
        Answered::Resolved(Seen { round, phase, revision })
    }

    /// A gate that was created, and what came then.
    fn then(more: &[Did]) -> Vec<Did> {
        [&[did(Asked::Create, 0, 1, gate(1, Phase::Pending, 1))], more].concat()
    }

    #[test]
    fn a_good_history_passes() {
        let history = then(&[
            did(Asked::Get, 2, 9, gate(1, Phase::Pending, 1)),
            did(approve(7), 3, 6, gate(1, Phase::Approved(7), 2)),
            did(reject(8), 4, 8, resolved(1, Phase::Approved(7), 2)),
            did(Asked::Reset, 10, 11, gate(2, Phase::Pending, 4)),
            did(Asked::Arrive, 12, 13, gate(2, Phase::Waiting, 6)),
        ]);
        assert_eq!(is_linearizable(&history), Ok(()));
    }

    #[test]
    fn two_winners_of_a_round_are_found() {
        let history = then(&[
            did(approve(7), 2, 5, gate(1, Phase::Approved(7), 2)),
            did(reject(8), 3, 6, gate(1, Phase::Rejected(8), 3)),
        ]);
        assert!(is_linearizable(&history).is_err());
    }

    #[test]
    fn a_stale_read_is_found() {
        let history = then(&[
            did(approve(7), 2, 3, gate(1, Phase::Approved(7), 2)),
            did(Asked::Get, 4, 5, gate(1, Phase::Pending, 1)),
        ]);
        assert!(is_linearizable(&history).is_err());
    }

    #[test]
    fn a_lost_acknowledged_decision_is_found() {
        let history = then(&[
            did(approve(7), 2, 3, gate(1, Phase::Approved(7), 2)),
            did(reject(8), 4, 5, gate(1, Phase::Rejected(8), 2)),
        ]);
        assert!(is_linearizable(&history).is_err());
    }

    #[test]
    fn a_lost_round_is_found() {
        let history = then(&[
            did(Asked::Reset, 2, 3, gate(2, Phase::Pending, 2)),
            did(Asked::Get, 4, 5, gate(1, Phase::Pending, 2)),
        ]);
        assert!(is_linearizable(&history).is_err());
    }

    #[test]
    fn a_loser_who_is_told_another_winner_is_found() {
        let history = then(&[
            did(approve(7), 2, 5, gate(1, Phase::Approved(7), 2)),
            did(reject(8), 3, 6, resolved(1, Phase::Approved(9), 2)),
        ]);
        assert!(is_linearizable(&history).is_err());
    }

    #[test]
    fn a_revision_that_does_not_grow_is_found() {
        let history = then(&[did(approve(7), 2, 3, gate(1, Phase::Approved(7), 1))]);
        assert!(is_linearizable(&history).is_err());
    }

    #[test]
    fn a_decision_from_nowhere_is_found() {
        let history = then(&[did(Asked::Get, 2, 3, gate(1, Phase::Approved(7), 2))]);
        assert!(is_linearizable(&history).is_err());
    }

    #[test]
    fn a_decision_about_another_round_changes_nothing() {
        let late = Asked::Decide(Decision { number: 7, approves: true, round: 1 });
        let reset = did(Asked::Reset, 2, 3, gate(2, Phase::Pending, 2));
        let told = |answered| then(&[reset.clone(), did(late, 4, 5, answered)]);
        assert_eq!(is_linearizable(&told(Answered::OtherRound(2))), Ok(()));
        assert!(is_linearizable(&told(Answered::OtherRound(1))).is_err());
        assert!(is_linearizable(&told(gate(2, Phase::Approved(7), 3))).is_err());
    }

    #[test]
    fn a_timeout_after_a_decision_is_found() {
        let decided = did(approve(7), 2, 3, gate(1, Phase::Approved(7), 3));
        let waiting = did(Asked::Arrive, 1, 2, gate(1, Phase::Waiting, 2));
        let timed_out = did(Asked::Expire, 4, 5, gate(1, Phase::TimedOut, 4));
        assert_eq!(is_linearizable(&then(&[waiting.clone(), timed_out.clone()])), Ok(()));
        assert!(is_linearizable(&then(&[waiting, decided, timed_out])).is_err());
    }

    #[test]
    fn what_was_not_answered_may_have_happened_or_not_but_not_twice() {
        let unknown = || did(approve(7), 2, NEVER, Answered::Unknown);
        let approved = |from, revision| did(Asked::Get, from, from + 1, gate(1, Phase::Approved(7), revision));
        let pending = |from| did(Asked::Get, from, from + 1, gate(1, Phase::Pending, 1));
        assert_eq!(is_linearizable(&then(&[unknown(), approved(4, 2)])), Ok(()));
        assert_eq!(is_linearizable(&then(&[unknown(), pending(4)])), Ok(()));
        // Late, after its connection was gone.
        assert_eq!(is_linearizable(&then(&[unknown(), pending(4), approved(6, 2), approved(8, 2)])), Ok(()));
        assert!(is_linearizable(&then(&[unknown(), approved(4, 2), pending(6)])).is_err());
        let twice = [unknown(), approved(4, 2), did(Asked::Reset, 6, 7, gate(2, Phase::Pending, 3)), approved(8, 4)];
        assert!(is_linearizable(&then(&twice)).is_err());
    }
}
