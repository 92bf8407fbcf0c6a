//! The rules of the configuration: which gates each is about, when it holds, and what it then does.

use std::time::SystemTime;

use serde::Deserialize;

use super::expression::{Expression, Invalid, Seen, SeenSpec};
use super::on_deep_stack;
use crate::domain::{GateName, Prefix, Verdict};
use crate::proto::{Gate, Timestamp};

/// Longest name of a rule in bytes: it is the reason of what the rule decides.
const NAME_BYTES_MAX: usize = 64;
/// Most rules: each looks at each gate below its prefix.
const RULES_MAX: usize = 256;

/// A `[[rule]]` of the configuration file, as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What the rule is called in what it decides.
    pub name: String,
    /// The gates that it is about: whole leading segments. Not set: all.
    #[serde(default)]
    pub prefix: String,
    /// When it holds: an expression in CEL.
    pub when: String,
    /// What it then does.
    pub action: Action,
}

/// What a rule does to a gate.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Approves it, however many approvals it asks for.
    Approve,
    /// Rejects it.
    Reject,
}

impl Action {
    /// Returns the word of the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
        }
    }

    /// Returns the verdict that the action is.
    #[must_use]
    pub fn verdict(self) -> Verdict {
        match self {
            Self::Approve => Verdict::Approve,
            Self::Reject => Verdict::Reject,
        }
    }
}

/// Why rules cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There are too many.
    #[error("there are {0} rules; at most {RULES_MAX} are allowed")]
    TooMany(usize),
    /// A rule has no name that can be told.
    #[error("a rule is called {0:?}: use 1 to {NAME_BYTES_MAX} of A-Z a-z 0-9 . _ / -")]
    Name(String),
    /// Two rules have the same name.
    #[error("two rules are called {0}: give each its own name")]
    Repeated(String),
    /// The prefix is none.
    #[error("rule {rule}: {problem}")]
    Prefix {
        /// The rule.
        rule: String,
        /// What is wrong.
        problem: crate::domain::Invalid,
    },
    /// The expression cannot be taken.
    #[error("rule {rule}: when = {when:?}: {problem}")]
    When {
        /// The rule.
        rule: String,
        /// Its expression.
        when: String,
        /// What is wrong.
        problem: Invalid,
    },
}

/// What the rules say of a gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No rule holds: people decide.
    Undecided,
    /// The first rule that holds.
    Decided {
        /// Its name.
        rule: String,
        /// What it does.
        action: Action,
    },
    /// A rule could not say whether it holds. Neither it nor a rule behind it decides: it might have been the one to stop
    /// the gate.
    Failed {
        /// Its name.
        rule: String,
        /// Why.
        problem: String,
    },
}

/// Checked rules, in the order of the configuration.
#[derive(Debug, Default)]
pub struct Rules(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    name: String,
    prefix: Prefix,
    when: Expression,
    action: Action,
}

impl Rules {
    /// Checks rules.
    ///
    /// # Errors
    ///
    /// The first rule that cannot be taken.
    pub fn new(settings: Vec<Settings>) -> Result<Self, Error> {
        if settings.len() > RULES_MAX {
            return Err(Error::TooMany(settings.len()));
        }
        let mut rules: Vec<Rule> = Vec::with_capacity(settings.len());
        on_deep_stack(|| {
            for settings in settings {
                let rule = Rule::new(settings)?;
                if rules.iter().any(|other| other.name == rule.name) {
                    return Err(Error::Repeated(rule.name));
                }
                rules.push(rule);
            }
            Ok(Self(rules))
        })
    }

    /// Says whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Says how many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Says what the rules do to a gate at a time. Needs a deep stack: see [`on_deep_stack`].
    #[must_use]
    pub fn evaluate(&self, gate: &Gate, now: SystemTime) -> Outcome {
        let Ok(name) = GateName::parse("gate", &gate.name) else { return Outcome::Undecided };
        let seen = seen(gate, now);
        for rule in self.0.iter().filter(|rule| rule.prefix.contains(&name)) {
            match rule.when.holds(&seen) {
                Ok(false) => {}
                Ok(true) => return Outcome::Decided { rule: rule.name.clone(), action: rule.action },
                Err(problem) => return Outcome::Failed { rule: rule.name.clone(), problem },
            }
        }
        Outcome::Undecided
    }
}

impl Rule {
    fn new(Settings { name, prefix, when, action }: Settings) -> Result<Self, Error> {
        let is_named = (1..=NAME_BYTES_MAX).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'/' | b'-'));
        if !is_named {
            return Err(Error::Name(name));
        }
        match (Prefix::parse("prefix", &prefix), Expression::parse(&when)) {
            (Err(problem), _) => Err(Error::Prefix { rule: name, problem }),
            (_, Err(problem)) => Err(Error::When { rule: name, when, problem }),
            (Ok(prefix), Ok(when)) => Ok(Self { name, prefix, when, action }),
        }
    }
}

/// Shows a gate to expressions.
fn seen(gate: &Gate, now: SystemTime) -> Seen {
    let spec = gate.spec.clone().unwrap_or_default();
    let subject = spec.subject.unwrap_or_default();
    let subject = [("uri", subject.uri), ("digest", subject.digest)];
    let waiting_since = gate.wait_time.and_then(|time: Timestamp| SystemTime::try_from(time).ok());
    let waiting = waiting_since.and_then(|since| now.duration_since(since).ok()).unwrap_or_default();
    let timeout = spec.timeout.and_then(|timeout| std::time::Duration::try_from(timeout).ok());
    Seen {
        name: gate.name.clone(),
        round: gate.round.into(),
        requester: gate.requester.clone(),
        labels: spec.labels,
        spec: SeenSpec {
            title: spec.title,
            description: spec.description,
            required_approvals: spec.required_approvals.into(),
            auto_approve: spec.auto_approve,
            timeout_seconds: timeout.map(|timeout| timeout.as_secs_f64()),
        },
        subject: subject.into_iter().filter(|(_, text)| !text.is_empty()).collect(),
        evidence: gate.evidence.clone(),
        waiting_seconds: waiting.as_secs_f64(),
    }
}

#[cfg(test)]
mod tests;
