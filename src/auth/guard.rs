//! Who is let in, and what they may do, as the configuration says now.

use std::convert::Infallible;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use tokio::sync::Notify;

use super::sessions::{SessionKey, Sessions};
use super::{Authenticator, Grants, Settings, Shown, Unauthenticated, Verified, jwt};
use crate::coordinator::{Access, Caller, Permission};
use crate::domain::{GateName, Identity};

/// Lets callers in. What it goes by can be replaced while it works.
pub struct Guard {
    // Held to copy or set a pointer, and never across an await.
    identities: RwLock<Arc<Identities>>,
    replaced: Notify,
    sessions: Sessions,
}

/// Whom the configuration knows, and what they may do.
pub struct Identities {
    /// Finds out who somebody is.
    pub authenticator: Authenticator,
    /// What they may do.
    pub grants: Arc<Grants>,
}

impl Identities {
    /// Takes up what is configured.
    ///
    /// # Errors
    ///
    /// If the keys of the issuer cannot be had in the way that is configured.
    pub fn new(settings: Settings) -> Result<Self, jwt::Error> {
        let grants = Arc::clone(&settings.grants);
        Ok(Self { authenticator: Authenticator::new(settings)?, grants })
    }
}

impl Guard {
    /// Makes a guard, whose sessions other coordinators take too that have the same key. Where nobody is asked who they are, everybody is `anonymous` and may do everything.
    ///
    /// # Errors
    ///
    /// If the system has no random bytes to sign sessions with.
    pub fn new(identities: Identities, session_key: Option<SessionKey>) -> Result<Arc<Self>, rustls::Error> {
        Ok(Arc::new(Self {
            identities: RwLock::new(Arc::new(identities)),
            replaced: Notify::new(),
            sessions: Sessions::new(session_key)?,
        }))
    }

    /// Goes by other settings from now on, for calls that are open too, or by those that it has if these are wrong.
    ///
    /// # Errors
    ///
    /// [`ReplaceError`].
    pub fn replace(&self, settings: Settings) -> Result<(), ReplaceError> {
        let current = self.identities();
        if settings.has_identities() != current.authenticator.asks() {
            return Err(ReplaceError::Asks);
        }
        let grants = Arc::clone(&settings.grants);
        let identities = Identities { authenticator: current.authenticator.with_settings(settings)?, grants };
        *self.identities.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(identities);
        self.replaced.notify_one();
        Ok(())
    }

    /// Keeps the keys of the issuer up to date, for ever.
    pub async fn follow_keys(&self) -> Infallible {
        loop {
            let identities = self.identities();
            tokio::select! {
                never = identities.authenticator.follow_keys() => match never {},
                () = self.replaced.notified() => {}
            }
        }
    }

    /// Returns the identities as they are now.
    #[must_use]
    pub fn identities(&self) -> Arc<Identities> {
        Arc::clone(&self.identities.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Finds out who calls, where that is asked, by what they show or by the session that they have begun. What is shown
    /// with the call itself goes first.
    ///
    /// # Errors
    ///
    /// Why it is not known.
    pub fn admit(
        self: &Arc<Self>,
        shown: &Shown<'_>,
        session: Option<&str>,
        now: SystemTime,
    ) -> Result<Caller, Unauthenticated> {
        let identities = self.identities();
        let authenticator = &identities.authenticator;
        let session = session.filter(|_| shown.bearer.is_none());
        let verified = match session {
            Some(session) => self.sessions.verify(session, now)?,
            None => authenticator.authenticate(shown, now)?,
        };
        if authenticator.expires(&verified).is_some_and(|expires| expires <= now) {
            return Err(Unauthenticated::SessionEnded);
        }
        // What it began with was withdrawn, or is read in another way.
        let ended = |problem| if session.is_some() { Unauthenticated::SessionEnded } else { problem };
        let identity = authenticator.identity(&verified).map_err(ended)?;
        let access = Admitted { guard: Arc::clone(self), verified, identity: identity.clone(), identities };
        Ok(Caller::new(identity, Arc::new(access)))
    }

    /// Begins a session for whoever a token proves to be: returns what their browser shows from then on, and who they
    /// are.
    ///
    /// # Errors
    ///
    /// Why that is not known.
    pub fn log_in(&self, token: &str, now: SystemTime) -> Result<(String, Identity), Unauthenticated> {
        let authenticator = &self.identities().authenticator;
        if !authenticator.asks() {
            return Err(Unauthenticated::NobodyAsks);
        }
        let verified = authenticator.authenticate(&Shown { bearer: Some(token), certificate: None }, now)?;
        Ok((self.sessions.begin(&verified, now)?, authenticator.identity(&verified)?))
    }
}

/// Why other settings cannot be taken up.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// From one moment to the next everybody would be let in, or nobody would be who they were.
    #[error("whether callers have to say who they are changes only with a restart")]
    Asks,
    /// The keys of the issuer cannot be had.
    #[error(transparent)]
    Jwt(#[from] jwt::Error),
}

/// What somebody who was let in may do now.
struct Admitted {
    guard: Arc<Guard>,
    verified: Verified,
    /// Who they were when they were let in, and by which identities that was found.
    identity: Identity,
    identities: Arc<Identities>,
}

impl Access for Admitted {
    fn allows(&self, permission: Permission, gate: Option<&GateName>) -> bool {
        let now = self.guard.identities();
        // A list asks for each gate, and seldom has anything changed since it began.
        if Arc::ptr_eq(&now, &self.identities) {
            return now.grants.allows(&self.identity, permission, gate);
        }
        let identity = now.authenticator.identity(&self.verified);
        identity.is_ok_and(|identity| now.grants.allows(&identity, permission, gate))
    }

    fn stands(&self) -> bool {
        self.guard.identities().authenticator.identity(&self.verified).is_ok()
    }

    fn has_expired(&self) -> bool {
        let expires = self.guard.identities().authenticator.expires(&self.verified);
        expires.is_some_and(|expires| expires <= SystemTime::now())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn what_has_expired_is_known_to_have() {
        let identities = Identities::new(Settings::default()).unwrap();
        let guard = Guard::new(identities, None).unwrap();
        let has_expired = |expires| {
            let verified = Verified { identity: Identity::anonymous(), token: None, settings_digest: None, expires };
            let (identity, identities) = (Identity::anonymous(), guard.identities());
            Admitted { guard: Arc::clone(&guard), verified, identity, identities }.has_expired()
        };
        assert!(!has_expired(None) && !has_expired(Some(SystemTime::now() + Duration::from_secs(3_600))));
        assert!(has_expired(Some(UNIX_EPOCH)));
    }
}
