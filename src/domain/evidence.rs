//! What programs report about a gate: facts for approvers to look at and for rules to decide by.

use std::collections::BTreeMap;

use super::refusal::{Invalid, InvalidKind};
use super::spec::{is_label_key, limits, no_label_key};

/// Facts, each a key and a value, within [`limits`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts(BTreeMap<String, String>);

impl Facts {
    /// Parses facts.
    ///
    /// # Errors
    ///
    /// [`InvalidKind::Argument`] if there are none or too many, a key is no label's key, or a value is too long.
    pub fn parse(facts: BTreeMap<String, String>) -> Result<Self, Invalid> {
        let invalid = |problem| Err(Invalid::new(InvalidKind::Argument, "facts", problem));
        if facts.is_empty() {
            return invalid("is empty: name at least one fact".to_owned());
        }
        if facts.len() > limits::FACTS_MAX_COUNT {
            return invalid(format!("has {} entries; at most {} are allowed", facts.len(), limits::FACTS_MAX_COUNT));
        }
        for (key, value) in &facts {
            if !is_label_key(key) {
                return invalid(no_label_key(key));
            }
            if value.len() > limits::FACT_VALUE_MAX {
                let (bytes, max) = (value.len(), limits::FACT_VALUE_MAX);
                return invalid(format!("has {bytes} bytes in {key}; at most {max} are allowed"));
            }
        }
        Ok(Self(facts))
    }

    /// Adds these facts to those known; a key that is known gets the new value. None where there would be too many.
    #[must_use]
    pub fn added_to(&self, known: &BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
        let mut all = known.clone();
        all.extend(self.0.clone());
        Some(all).filter(|all| all.len() <= limits::FACTS_MAX_COUNT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Facts, Invalid> {
        Facts::parse(pairs.into_iter().collect())
    }

    fn numbered(count: usize) -> impl Iterator<Item = (String, String)> {
        (0..count).map(|number| (format!("fact-{number}"), "x".repeat(limits::FACT_VALUE_MAX)))
    }

    #[test]
    fn facts_are_bounded() {
        assert!(facts(numbered(limits::FACTS_MAX_COUNT)).is_ok());
        for wrong in [
            facts([]),
            facts(numbered(limits::FACTS_MAX_COUNT + 1)),
            facts([("a b".into(), String::new())]),
            facts([("a".into(), "x".repeat(limits::FACT_VALUE_MAX + 1))]),
        ] {
            let invalid = wrong.unwrap_err();
            assert_eq!((invalid.kind, invalid.field), (InvalidKind::Argument, "facts"));
        }
    }

    #[test]
    fn a_newer_fact_takes_the_place_of_an_older_one() {
        let known = BTreeMap::from([("tests".to_owned(), "failed".to_owned()), ("lint".to_owned(), "ok".to_owned())]);
        let added = facts([("tests".into(), "passed".into())]).unwrap().added_to(&known).unwrap();
        assert_eq!(
            added.into_iter().collect::<Vec<_>>(),
            [("lint".to_owned(), "ok".to_owned()), ("tests".to_owned(), "passed".to_owned())]
        );
        let many = numbered(limits::FACTS_MAX_COUNT).collect();
        assert_eq!(facts([("one-more".into(), String::new())]).unwrap().added_to(&many), None);
    }
}
