//! What principals may do to which gates, as the configuration says. Nobody may do what no grant says.

use std::fmt;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::Deserialize;

use crate::coordinator::Permission;
use crate::domain::{GateName, Identity, Invalid, Party};

/// A grant as it is written in the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// To whom: principals, and groups as `group:release-managers`.
    pub to: Vec<String>,
    /// What they are.
    #[serde(default)]
    pub roles: Vec<Role>,
    /// Of which gates: the leading segments of names, in which `*` stands for anything within a segment, and `**` for
    /// any segments.
    pub on: Vec<String>,
    /// Lets them approve whatever a gate asks for, and see it. No role has the first.
    #[serde(default)]
    pub break_glass: bool,
}

/// What somebody is for some gates.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Looks on.
    Viewer,
    /// Brings pipelines to gates.
    Worker,
    /// Decides.
    Approver,
    /// Does all but break the glass.
    Admin,
}

impl Role {
    /// Every role there is.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Worker, Self::Approver, Self::Admin];

    /// Says whether a role has a permission: the table of permissions.
    ///
    /// A reset only ever asks again, so whoever works with a gate may do it. Deleting a gate, or creating one that
    /// nobody else has to approve, can make way for an approval that would not have been given.
    #[must_use]
    pub fn has(self, permission: Permission) -> bool {
        use Permission::{BreakGlass, Create, Decide, Delete, Exempt, Report, Reset, View, Wait, Webhooks};
        match permission {
            View => true,
            Create | Wait | Report => matches!(self, Self::Worker | Self::Admin),
            Decide => matches!(self, Self::Approver | Self::Admin),
            Reset => matches!(self, Self::Worker | Self::Approver | Self::Admin),
            Exempt | Delete | Webhooks => self == Self::Admin,
            BreakGlass => false,
        }
    }

    /// Returns its name, as it is written in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Worker => "worker",
            Self::Approver => "approver",
            Self::Admin => "admin",
        }
    }
}

/// Why grants cannot be taken.
#[derive(Debug, thiserror::Error)]
#[error("grant {number}: {problem}")]
pub struct Error {
    /// Which one, the first being 1.
    number: usize,
    /// What is wrong, and what to write.
    problem: String,
}

/// All grants.
#[derive(Debug, Default)]
pub struct Grants(Vec<Grant>);

#[derive(Debug)]
struct Grant {
    to: Vec<Party>,
    roles: Vec<Role>,
    break_glass: bool,
    /// As written.
    on: Vec<String>,
    gates: GlobSet,
}

impl Grants {
    /// Checks grants as they are written.
    ///
    /// # Errors
    ///
    /// The first that makes no sense.
    pub fn new(settings: Vec<Settings>) -> Result<Self, Error> {
        let grants = settings
            .into_iter()
            .enumerate()
            .map(|(index, settings)| Grant::new(settings).map_err(|problem| Error { number: index + 1, problem }));
        grants.collect::<Result<_, _>>().map(Self)
    }

    /// Says whether there is none, and so nobody may do anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Says how many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Says whether somebody may do something to a gate; without a gate, to every gate there could be.
    #[must_use]
    pub fn allows(&self, identity: &Identity, permission: Permission, gate: Option<&GateName>) -> bool {
        self.0.iter().any(|grant| grant.refuses(identity, permission, gate).is_none())
    }

    /// Says of each grant whether it allows that, and if not, why.
    pub fn explain(
        &self,
        identity: &Identity,
        permission: Permission,
        gate: Option<&GateName>,
    ) -> impl Iterator<Item = (String, Option<Refuses>)> {
        self.0.iter().map(move |grant| (grant.to_string(), grant.refuses(identity, permission, gate)))
    }
}

/// Why a grant does not allow something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refuses {
    /// It is not to the one who asks.
    OtherParty,
    /// It does not cover the gate.
    OtherGate,
    /// It does not say that.
    NoPermission,
}

impl fmt::Display for Refuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherParty => "it is to somebody else",
            Self::OtherGate => "it is on other gates",
            Self::NoPermission => "its roles do not allow that",
        })
    }
}

impl Grant {
    fn new(settings: Settings) -> Result<Self, String> {
        let Settings { to, roles, on, break_glass } = settings;
        if to.is_empty() || on.is_empty() {
            return Err("it needs `to` and `on`, each with at least one entry".to_owned());
        }
        if roles.is_empty() && !break_glass {
            let names = Role::ALL.map(Role::as_str).join(", ");
            return Err(format!("it grants nothing: give `roles` (some of {names}) or `break_glass = true`"));
        }
        let parties = to.iter().map(|party| Party::parse("to", party)).collect::<Result<_, Invalid>>();
        let mut gates = GlobSetBuilder::new();
        for pattern in &on {
            for glob in [pattern.clone(), format!("{pattern}/**")] {
                let glob = checked(pattern).and_then(|()| {
                    let glob = GlobBuilder::new(&glob).literal_separator(true).build();
                    glob.map_err(|error| error.kind().to_string())
                });
                gates.add(glob.map_err(|problem| format!("on = {pattern:?}: {problem}"))?);
            }
        }
        let gates = gates.build().map_err(|error| error.to_string())?;
        Ok(Self { to: parties.map_err(|invalid| invalid.to_string())?, roles, break_glass, on, gates })
    }

    fn refuses(&self, identity: &Identity, permission: Permission, gate: Option<&GateName>) -> Option<Refuses> {
        // Whoever may break the glass sees behind it.
        let breaks_glass = self.break_glass && [Permission::BreakGlass, Permission::View].contains(&permission);
        let has = breaks_glass || self.roles.iter().any(|role| role.has(permission));
        if !self.to.iter().any(|party| identity.is(party)) {
            Some(Refuses::OtherParty)
        } else if !has {
            Some(Refuses::NoPermission)
        } else if !gate.map_or_else(|| self.covers_all(), |gate| self.gates.is_match(gate.as_str())) {
            Some(Refuses::OtherGate)
        } else {
            None
        }
    }

    /// Says whether no gate could have a name that is not covered.
    fn covers_all(&self) -> bool {
        self.on.iter().any(|pattern| ["*", "**"].contains(&pattern.as_str()))
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let roles = self.roles.iter().map(|role| role.as_str());
        let roles: Vec<_> = roles.chain(self.break_glass.then_some("break_glass")).collect();
        let to: Vec<_> = self.to.iter().map(ToString::to_string).collect();
        write!(f, "{} on {} to {}", roles.join(", "), self.on.join(", "), to.join(", "))
    }
}

/// Segments as those of names, and the two wildcards: whatever else a glob could say is no part of this language.
fn checked(pattern: &str) -> Result<(), String> {
    let is_segment = |segment: &str| {
        segment == "**"
            || (!segment.is_empty()
                && !segment.contains("**")
                && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'*')))
    };
    if pattern.split('/').all(is_segment) {
        return Ok(());
    }
    Err("write leading segments of names, as release-42 or release-*/prod; * stands for anything within a segment, and \
         ** for any segments"
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Authentication, Group, Principal};

    fn identity(principal: &str, groups: &[&str]) -> Identity {
        Identity {
            principal: Principal::parse(principal).unwrap(),
            groups: groups.iter().map(|group| Group::parse(group).unwrap()).collect(),
            authentication: Authentication::Token,
        }
    }

    fn grants(toml: &str) -> Result<Grants, Error> {
        #[derive(Deserialize)]
        struct File {
            grant: Vec<Settings>,
        }
        let file: File = toml::from_str(toml).unwrap();
        Grants::new(file.grant)
    }

    fn gate(name: &str) -> GateName {
        GateName::parse("gate", name).unwrap()
    }

    /// What the documentation says, cell by cell.
    #[test]
    fn each_role_has_its_permissions_and_no_other() {
        use Permission::*;
        let table: [(Role, &[Permission]); 4] = [
            (Role::Viewer, &[View]),
            (Role::Worker, &[View, Create, Wait, Report, Reset]),
            (Role::Approver, &[View, Decide, Reset]),
            (Role::Admin, &[View, Create, Exempt, Wait, Report, Decide, Reset, Delete, Webhooks]),
        ];
        for (role, permissions) in table {
            for permission in Permission::ALL {
                assert_eq!(role.has(permission), permissions.contains(&permission), "{role:?} {permission}");
            }
        }
    }

    #[test]
    fn a_grant_reaches_those_it_names_on_the_gates_it_names() {
        let grants = grants(
            "[[grant]]
             to = ['alice', 'group:ops']
             roles = ['approver']
             on = ['prod', 'release-*/web']
             [[grant]]
             to = ['root']
             on = ['**']
             break_glass = true
             [[grant]]
             to = ['deep']
             on = ['**/prod']
             roles = ['viewer']",
        )
        .unwrap();
        let may = |who: &Identity, permission, name: &str| grants.allows(who, permission, Some(&gate(name)));
        let decides = |who: &Identity, name: &str| may(who, Permission::Decide, name);
        for who in [identity("alice", &[]), identity("bob", &["ops"])] {
            for name in ["prod", "prod/x", "prod/x/y", "release-42/web", "release-/web", "release-1/web/x"] {
                assert!(decides(&who, name), "{name}");
            }
            for name in ["production", "prod.x", "x/prod", "release-42", "release-42/x/web", "release/web", "PROD"] {
                assert!(!decides(&who, name), "{name}");
            }
            assert!(!may(&who, Permission::BreakGlass, "prod") && !may(&who, Permission::Delete, "prod"));
            assert!(!grants.allows(&who, Permission::View, None));
        }
        assert!(!decides(&identity("bob", &[]), "prod") && !decides(&identity("ops", &[]), "prod"));

        let root = identity("root", &[]);
        assert!(
            may(&root, Permission::BreakGlass, "a/b/c") && !decides(&root, "a") && may(&root, Permission::View, "a")
        );
        assert!(grants.allows(&root, Permission::BreakGlass, None));

        let deep = identity("deep", &[]);
        for (name, sees) in [("prod", true), ("a/prod", true), ("a/b/prod/c", true), ("a/b", false), ("a/xprod", false)]
        {
            assert_eq!(may(&deep, Permission::View, name), sees, "{name}");
        }
        assert!(!grants.allows(&deep, Permission::View, None));
    }

    #[test]
    fn nobody_may_do_what_no_grant_says() {
        let nobody = Grants::default();
        for permission in Permission::ALL {
            assert!(!nobody.allows(&identity("alice", &["ops"]), permission, Some(&gate("a"))), "{permission}");
        }
    }

    #[test]
    fn a_grant_that_makes_no_sense_is_refused_with_its_number() {
        let written = |to: &str, roles: &str, on: &str| {
            let first = "[[grant]]\nto = ['a']\nroles = ['viewer']\non = ['a']";
            grants(&format!("{first}\n[[grant]]\nto = {to}\nroles = {roles}\non = {on}")).unwrap_err().to_string()
        };
        for (to, roles, on, problem) in [
            ("[]", "['viewer']", "['a']", "needs `to` and `on`"),
            ("['a']", "['viewer']", "[]", "needs `to` and `on`"),
            ("['a']", "[]", "['a']", "grants nothing"),
            ("['group:']", "['viewer']", "['a']", "to has \"group:\""),
            ("['a']", "['viewer']", "['/a']", "on = \"/a\""),
            ("['a']", "['viewer']", "['a/']", "on = \"a/\""),
            ("['a']", "['viewer']", "['a/{b,c}']", "leading segments"),
            ("['a']", "['viewer']", "['a**']", "leading segments"),
            ("['a']", "['viewer']", "['']", "leading segments"),
        ] {
            let error = written(to, roles, on);
            assert!(error.starts_with("grant 2: ") && error.contains(problem), "{error}");
        }
    }

    #[test]
    fn why_is_told_grant_by_grant() {
        let grants = grants(
            "[[grant]]\nto = ['alice']\nroles = ['viewer']\non = ['prod']
             [[grant]]\nto = ['group:ops']\nroles = ['approver']\non = ['prod']
             [[grant]]\nto = ['alice']\nroles = ['approver']\non = ['staging']",
        )
        .unwrap();
        let why = |who: &Identity| grants.explain(who, Permission::Decide, Some(&gate("prod/x"))).collect::<Vec<_>>();
        let told = why(&identity("alice", &[]));
        assert_eq!(told[0], ("viewer on prod to alice".to_owned(), Some(Refuses::NoPermission)));
        assert_eq!(told[1], ("approver on prod to group:ops".to_owned(), Some(Refuses::OtherParty)));
        assert_eq!(told[2].1, Some(Refuses::OtherGate));
        assert_eq!(why(&identity("alice", &["ops"]))[1].1, None);
    }
}
