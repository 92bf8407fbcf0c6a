//! Who calls, and what they may do. What grants say is not known here: it is asked for each gate.

use std::fmt;
use std::sync::Arc;

use crate::domain::{GateName, Identity};

use super::Error;

/// Something that a caller may be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// Read a gate, its history and what happens to it; of all gates, also what the coordinator measures.
    View,
    /// Create a gate.
    Create,
    /// Create a gate that may be approved without another person: by itself, by its timeout or by its requester.
    Exempt,
    /// Wait on a gate.
    Wait,
    /// Report facts about a gate.
    Report,
    /// Approve and reject.
    Decide,
    /// Begin a new round, which has to be decided again.
    Reset,
    /// Delete a gate.
    Delete,
    /// Approve whatever a gate asks for.
    BreakGlass,
    /// See and mend what webhooks have to tell. Of all gates only.
    Webhooks,
}

impl Permission {
    /// Every permission there is.
    pub const ALL: [Self; 10] = [
        Self::View,
        Self::Create,
        Self::Exempt,
        Self::Wait,
        Self::Report,
        Self::Decide,
        Self::Reset,
        Self::Delete,
        Self::BreakGlass,
        Self::Webhooks,
    ];

    /// Returns its name: `break_glass`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Create => "create",
            Self::Exempt => "exempt",
            Self::Wait => "wait",
            Self::Report => "report",
            Self::Decide => "decide",
            Self::Reset => "reset",
            Self::Delete => "delete",
            Self::BreakGlass => "break_glass",
            Self::Webhooks => "webhooks",
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What one caller may do, as it is now: an answer may change while a stream is open.
pub trait Access: Send + Sync {
    /// Says whether the caller may do something to a gate; without a gate, to every gate there could be.
    fn allows(&self, permission: Permission, gate: Option<&GateName>) -> bool;

    /// Says whether what the caller has shown is still known: that nobody has withdrawn it.
    fn stands(&self) -> bool;

    /// Says whether the time of what the caller has shown is over.
    fn has_expired(&self) -> bool;
}

/// Who calls.
#[derive(Clone)]
pub struct Caller {
    /// Who they are, as verified.
    pub identity: Identity,
    access: Arc<dyn Access>,
}

impl Caller {
    /// Makes a caller who may do what `access` says.
    #[must_use]
    pub fn new(identity: Identity, access: Arc<dyn Access>) -> Self {
        Self { identity, access }
    }

    /// Makes the caller that everybody is where no identities are configured: they may do everything.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::unrestricted(Identity::anonymous())
    }

    /// Makes a caller who may do everything.
    #[must_use]
    pub fn unrestricted(identity: Identity) -> Self {
        Self::new(identity, Arc::new(Everything))
    }

    /// Checks that the caller may do something to a gate; without a gate, to every gate there could be.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`], or [`Error::Revoked`].
    pub fn check(&self, permission: Permission, gate: Option<&GateName>) -> Result<(), Error> {
        if !self.access.stands() {
            return Err(Error::Revoked);
        }
        if self.access.allows(permission, gate) {
            return Ok(());
        }
        let principal = self.identity.principal.clone();
        Err(Error::Denied { principal, permission, gate: gate.cloned() })
    }

    /// Checks that what the caller has shown still proves who they are: that it was not withdrawn, nor its time is over.
    ///
    /// # Errors
    ///
    /// [`Error::Revoked`].
    pub fn still_stands(&self) -> Result<(), Error> {
        if self.access.stands() && !self.access.has_expired() { Ok(()) } else { Err(Error::Revoked) }
    }

    /// Says whether the caller may see a gate.
    #[must_use]
    pub fn sees(&self, gate: &GateName) -> bool {
        self.access.allows(Permission::View, Some(gate))
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.identity.fmt(f)
    }
}

struct Everything;

impl Access for Everything {
    fn allows(&self, _: Permission, _: Option<&GateName>) -> bool {
        true
    }

    fn stands(&self) -> bool {
        true
    }

    fn has_expired(&self) -> bool {
        false
    }
}
