//! Names and numbers that are parsed once at the edge and trusted inside.

use std::cmp::Ordering;
use std::fmt;
use std::num::NonZeroU32;

use super::refusal::{Invalid, InvalidKind};

/// The name of a gate: 1 to 8 segments joined by `/`, as in `release-42/prod`.
///
/// Each segment is `[A-Za-z0-9][A-Za-z0-9._-]{0,62}` and the whole is at most 255 bytes, so a name can stand in a path,
/// a URL, a shell command and a log line without quoting. The leading segments group gates: see [`Prefix`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GateName(String);

impl GateName {
    /// Longest name in bytes: a file name's limit on common systems, and short enough for a store's key.
    pub const BYTES_MAX: usize = 255;
    /// Most segments: project, pipeline, run, stage and as many again.
    pub const SEGMENTS_MAX: usize = 8;
    /// Longest segment in bytes: that of a DNS label, so that host and job names fit.
    pub const SEGMENT_BYTES_MAX: usize = 63;

    /// Parses a name that came in the request field `field`.
    ///
    /// # Errors
    ///
    /// [`InvalidKind::Name`] with what is wrong.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, Invalid> {
        let invalid = |problem: String| Invalid::new(InvalidKind::Name, field, problem);
        if text.is_empty() {
            return Err(invalid("is empty: name a gate, for example \"release-42/prod\"".into()));
        }
        if text.len() > Self::BYTES_MAX {
            return Err(invalid(format!("has {} bytes; at most {} are allowed", text.len(), Self::BYTES_MAX)));
        }
        let segments = text.split('/').count();
        if segments > Self::SEGMENTS_MAX {
            return Err(invalid(format!("has {segments} segments; at most {} are allowed", Self::SEGMENTS_MAX)));
        }
        match text.split('/').find(|segment| !is_segment(segment)) {
            None => Ok(Self(text.to_owned())),
            Some("") => Err(invalid("has an empty segment: write \"a/b\", not \"/a\", \"a//b\" or \"a/\"".into())),
            Some(segment) => Err(invalid(format!(
                "has the segment {segment:?}: use 1 to {} of A-Z a-z 0-9 . _ - and start with a letter or digit",
                Self::SEGMENT_BYTES_MAX
            ))),
        }
    }

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_segment(text: &str) -> bool {
    text.len() <= GateName::SEGMENT_BYTES_MAX
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

impl fmt::Display for GateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names are ordered segment by segment, so that a group stands together: `a`, `a/b`, `a-b`.
impl Ord for GateName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.split('/').cmp(other.0.split('/'))
    }
}

impl PartialOrd for GateName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Whole leading segments of gate names: the group `release-42` holds `release-42` and `release-42/prod`, not
/// `release-421`. The empty prefix holds every gate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefix(Option<GateName>);

impl Prefix {
    /// Parses a prefix; a `/` at its end changes nothing.
    ///
    /// # Errors
    ///
    /// As [`GateName::parse`].
    pub fn parse(field: &'static str, text: &str) -> Result<Self, Invalid> {
        match text.strip_suffix('/').unwrap_or(text) {
            "" if text.is_empty() => Ok(Self(None)),
            trimmed => GateName::parse(field, trimmed).map(|name| Self(Some(name))),
        }
    }

    /// Returns the gate that the group is named after, or none for the group of all gates.
    #[must_use]
    pub fn root(&self) -> Option<&GateName> {
        self.0.as_ref()
    }

    /// Says whether a gate belongs to the group.
    #[must_use]
    pub fn contains(&self, name: &GateName) -> bool {
        self.0.as_ref().is_none_or(|root| {
            name.0.strip_prefix(root.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

/// The name of a webhook: one segment of the form of those of [`GateName`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WebhookName(String);

impl WebhookName {
    /// Parses a name that came in the field `field`.
    ///
    /// # Errors
    ///
    /// [`InvalidKind::Argument`] with what it has to be.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, Invalid> {
        if is_segment(text) {
            return Ok(Self(text.to_owned()));
        }
        let max = GateName::SEGMENT_BYTES_MAX;
        let problem =
            format!("is no name of a webhook: use 1 to {max} of A-Z a-z 0-9 . _ - and start with a letter or digit");
        Err(Invalid::new(InvalidKind::Argument, field, problem))
    }

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WebhookName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who somebody is, as the coordinator verified it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal(String);

impl Principal {
    /// Longest principal in bytes: a SPIFFE id of a usual depth, an e-mail address, an OIDC subject.
    pub const BYTES_MAX: usize = 255;

    /// Parses a principal.
    ///
    /// # Errors
    ///
    /// [`InvalidKind::Argument`] if it is empty, too long, or could be taken for another by those who read it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() || text.len() > Self::BYTES_MAX || text.trim() != text || text.chars().any(is_unseen) {
            let problem = format!(
                "has to have 1 to {} bytes, none of them a control or an invisible character, and no space around it",
                Self::BYTES_MAX
            );
            return Err(Invalid::new(InvalidKind::Argument, "principal", problem));
        }
        Ok(Self(text.to_owned()))
    }

    /// Everybody, where no identities are configured.
    #[must_use]
    pub fn anonymous() -> Self {
        Self("anonymous".to_owned())
    }

    /// Returns the principal as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Says whether a character shows nothing of itself: controls, and Unicode's format characters in use.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// A place in the store-wide order of events. It only grows; gaps are allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl Revision {
    /// Before every event; also the revision of a gate or a resolution that no store has committed yet.
    pub const ZERO: Self = Self(0);

    /// Returns the revision after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which time around a gate is being decided. Starts at 1 and grows by one at each reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Round(NonZeroU32);

impl Round {
    /// The round that a new gate is in.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// Makes a round of its number; 0 is none.
    #[must_use]
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// Returns its number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0.get()
    }

    /// Returns the round that a reset begins.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> GateName {
        GateName::parse("gate", text).unwrap()
    }

    #[test]
    fn names_within_the_bounds_are_accepted() {
        let longest_segment = "x".repeat(GateName::SEGMENT_BYTES_MAX);
        let longest = [longest_segment.as_str(); 4].join("/");
        assert_eq!(longest.len(), GateName::BYTES_MAX);
        for text in ["a", "release-42/prod", "0/1/2/3/4/5/6/7", "A.b_c-d", &longest] {
            assert_eq!(name(text).as_str(), text);
        }
    }

    #[test]
    fn a_webhook_is_named_by_one_segment() {
        let segment = "x".repeat(GateName::SEGMENT_BYTES_MAX);
        for text in ["ops-chat", "0", &segment] {
            assert_eq!(WebhookName::parse("name", text).unwrap().as_str(), text);
        }
        for text in ["", "a/b", "-a", "a b", "é", &format!("{segment}x")] {
            assert_eq!(WebhookName::parse("name", text).unwrap_err().field, "name", "{text:?}");
        }
    }

    #[test]
    fn names_outside_the_bounds_are_refused() {
        let long_segment = "x".repeat(GateName::SEGMENT_BYTES_MAX + 1);
        let long = "a/".repeat(127) + "ab";
        for text in [
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            ".",
            "..",
            "../a",
            "a/../b",
            "-a",
            "_a",
            ".a",
            "a b",
            "a\0b",
            "a\n",
            "é",
            "a\u{202e}b",
            "a/b/c/d/e/f/g/h/i",
            "a:b",
            "a\\b",
            "%2e",
            &long_segment,
            &long,
        ] {
            let refused = GateName::parse("gate", text).unwrap_err();
            assert_eq!((refused.kind, refused.field), (InvalidKind::Name, "gate"), "{text:?}");
        }
    }

    #[test]
    fn a_group_stands_together_in_the_order_of_names() {
        let mut names = ["ab", "a-b", "a/z", "a", "a.b", "a/b/c", "b"].map(name);
        names.sort();
        assert_eq!(names.map(|n| n.as_str().to_owned()), ["a", "a/b/c", "a/z", "a-b", "a.b", "ab", "b"]);
    }

    #[test]
    fn a_prefix_holds_whole_segments() {
        let group = Prefix::parse("prefix", "release-42").unwrap();
        assert_eq!(Prefix::parse("prefix", "release-42/").unwrap(), group);
        assert!(group.contains(&name("release-42")));
        assert!(group.contains(&name("release-42/prod")));
        assert!(!group.contains(&name("release-421")));
        assert!(!group.contains(&name("release-42.prod")));
        assert!(Prefix::parse("prefix", "").unwrap().contains(&name("x")));
        assert!(Prefix::parse("prefix", "/").is_err());
    }

    #[test]
    fn principals_are_bounded_and_printable() {
        assert_eq!(Principal::parse("spiffe://prod/alice").unwrap().as_str(), "spiffe://prod/alice");
        for text in
            ["", "a\x1bb", "alice\u{200b}", "\u{202e}ecila", " alice", "alice ", &"x".repeat(Principal::BYTES_MAX + 1)]
        {
            assert!(Principal::parse(text).is_err(), "{text:?}");
        }
    }
}
