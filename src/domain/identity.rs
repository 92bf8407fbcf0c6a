//! Who somebody is, and how they are named where people are chosen.

use std::collections::BTreeSet;
use std::fmt;

use super::name::Principal;
use super::refusal::{Invalid, InvalidKind};

/// Somebody, as the coordinator verified them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Who they are.
    pub principal: Principal,
    /// The groups that they belong to.
    pub groups: BTreeSet<Group>,
    /// How it was verified.
    pub authentication: Authentication,
}

/// How it was verified who somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// It was not: no identities are configured, and everybody is `anonymous`.
    Anonymous,
    /// By the certificate that they hold the key of.
    Certificate,
    /// By a token that the configuration knows.
    Token,
    /// By a signed statement of an issuer that the configuration trusts.
    Jwt,
}

impl Identity {
    /// Everybody, where no identities are configured.
    #[must_use]
    pub fn anonymous() -> Self {
        Principal::anonymous().into()
    }

    /// Says whether a party is, or holds, this identity.
    #[must_use]
    pub fn is(&self, party: &Party) -> bool {
        match party {
            Party::Principal(principal) => *principal == self.principal,
            Party::Group(group) if group.is_everybody() => self.authentication != Authentication::Anonymous,
            Party::Group(group) => self.groups.contains(group),
        }
    }
}

/// Somebody of whom nothing but the name is known.
impl From<Principal> for Identity {
    fn from(principal: Principal) -> Self {
        Self { principal, groups: BTreeSet::new(), authentication: Authentication::Anonymous }
    }
}

/// The name of a group of principals.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group(String);

impl Group {
    /// Longest name in bytes, as that of a principal.
    pub const BYTES_MAX: usize = Principal::BYTES_MAX;
    /// The group that everybody belongs to whose identity was verified.
    pub const EVERYBODY: &str = "authenticated";

    /// Parses the name of a group, without the `group:` that it is written with elsewhere.
    ///
    /// # Errors
    ///
    /// [`InvalidKind::Argument`] if it is empty, too long or has control characters.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match Principal::parse(text) {
            Ok(principal) => Ok(Self(principal.as_str().to_owned())),
            Err(invalid) => Err(Invalid { field: "group", ..invalid }),
        }
    }

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_everybody(&self) -> bool {
        self.0 == Self::EVERYBODY
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One principal, or all of a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    /// One principal.
    Principal(Principal),
    /// Everybody in a group, written `group:release-managers`.
    Group(Group),
}

impl Party {
    /// What a group is written with.
    const GROUP: &str = "group:";

    /// Parses `alice` or `group:release-managers`, which came in the field `field`.
    ///
    /// # Errors
    ///
    /// [`InvalidKind::Argument`] with what is wrong.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, Invalid> {
        let parsed = match text.strip_prefix(Self::GROUP) {
            Some(group) => Group::parse(group).map(Self::Group),
            None => Principal::parse(text).map(Self::Principal),
        };
        parsed.map_err(|invalid| {
            let problem =
                format!("has {text:?}: a principal, or a group as \"group:release-managers\", {}", invalid.problem);
            Invalid::new(InvalidKind::Argument, field, problem)
        })
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Principal(principal) => principal.fmt(f),
            Self::Group(group) => write!(f, "{}{group}", Self::GROUP),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_party_is_written_as_it_is_read() {
        for text in ["alice", "spiffe://prod/ci", "group:release-managers", "alice@example.org"] {
            assert_eq!(Party::parse("approvers", text).unwrap().to_string(), text);
        }
        for text in ["", "group:", "a\nb", "group:a\u{7}"] {
            let invalid = Party::parse("approvers", text).unwrap_err();
            assert_eq!((invalid.kind, invalid.field), (InvalidKind::Argument, "approvers"), "{text:?}");
        }
    }

    #[test]
    fn a_party_holds_those_whom_it_names() {
        let group = |name: &str| Group::parse(name).unwrap();
        let party = |text: &str| Party::parse("to", text).unwrap();
        let named = Identity::from(Principal::parse("alice").unwrap());
        let verified =
            Identity { groups: [group("ops")].into(), authentication: Authentication::Token, ..named.clone() };
        assert!(
            verified.is(&party("alice"))
                && verified.is(&party("group:ops"))
                && verified.is(&party("group:authenticated"))
        );
        assert!(!verified.is(&party("bob")) && !verified.is(&party("ops")) && !verified.is(&party("group:alice")));
        assert!(named.is(&party("alice")) && !named.is(&party("group:authenticated")));
    }
}
