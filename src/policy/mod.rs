//! Rules of the coordinator: expressions over a gate that approve or reject it without a person.
//!
//! A gate is looked at when it starts to wait, when evidence is reported about it, and at start if it waits then. What a
//! rule says goes through the same fence as a person's vote, and holds only for the state that the rule looked at.

mod expression;
mod rule;
mod run;

use std::thread;

pub use expression::Invalid;
pub use rule::{Action, Error, Outcome, Rules, Settings};
pub use run::{Running, start};

/// What an expression may use of the stack, parsed or evaluated: the deepest that is allowed takes a few MiB.
const STACK_BYTES: usize = 32 * 1024 * 1024;

/// Does some work on a stack that is deep enough for any expression.
///
/// # Panics
///
/// If the work does, or if no thread can be started.
pub fn on_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let worker = thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work);
        match worker.map(thread::ScopedJoinHandle::join) {
            Ok(Ok(done)) => done,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(error) => panic!("no thread can be started: {error}"),
        }
    })
}
