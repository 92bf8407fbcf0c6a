//! What gates are and how they change: pure values and functions, with no I/O, no clock and no async.
//!
//! [`decide()`] is the only place where a gate's status changes. It takes a gate, a [`Command`] and the time, and says
//! which [`Event`] follows or why none may ([`Refusal`]); the caller makes the event durable.

mod command;
mod decide;
mod event;
mod evidence;
mod gate;
mod identity;
mod name;
mod refusal;
mod spec;
mod waiter;

pub use command::{Ballot, Command, Ruling};
pub use decide::decide;
pub use event::{Event, EventKind};
pub use evidence::Facts;
pub use gate::{Cause, Etag, Gate, Inputs, Resolution, Status, Uid, Verdict, Vote};
pub use identity::{Authentication, Group, Identity, Party};
pub use name::{GateName, Prefix, Principal, Revision, Round, WebhookName};
pub use refusal::{Invalid, InvalidKind, Refusal};
pub use spec::{Link, OnTimeout, Spec, Subject, limits};
pub use waiter::Waiter;
