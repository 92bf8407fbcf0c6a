//! What a gate asks for, and the bounds of every text in it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::identity::{Authentication, Party};
use super::refusal::{Invalid, InvalidKind};

/// The bounds of what a gate may hold, in bytes unless the name says otherwise. Together they keep the largest gate,
/// with all its votes, below 112 KiB: an event fits a gRPC message many times over.
pub mod limits {
    use std::time::Duration;

    /// The shortest timeout; the clock's unit in the API's durations that people write.
    pub const TIMEOUT_MIN: Duration = Duration::from_millis(1);
    /// The longest timeout: a leap year. Longer waits have none.
    pub const TIMEOUT_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);
    /// One line on a screen, generously.
    pub const TITLE_MAX: usize = 256;
    /// A change's summary; more belongs behind a link.
    pub const DESCRIPTION_MAX: usize = 4 * 1024;
    /// Labels of one gate.
    pub const LABELS_MAX_COUNT: usize = 16;
    /// A label's key, as long as a name's segment.
    pub const LABEL_KEY_MAX: usize = 63;
    /// A label's value.
    pub const LABEL_VALUE_MAX: usize = 256;
    /// Links of one gate.
    pub const LINKS_MAX_COUNT: usize = 8;
    /// What a link is called.
    pub const LINK_TITLE_MAX: usize = 64;
    /// A link's or a subject's address.
    pub const URL_MAX: usize = 1024;
    /// A digest with its algorithm; SHA-512 in hexadecimal takes 135.
    pub const DIGEST_MAX: usize = 256;
    /// The most approvals a gate can ask for, and so the most votes of a round.
    pub const REQUIRED_APPROVALS_MAX: u32 = 16;
    /// Principals and groups that may decide one gate.
    pub const APPROVERS_MAX_COUNT: usize = 16;
    /// The comment of an approval or the reason of a rejection.
    pub const COMMENT_MAX: usize = 2 * 1024;
    /// Whom a decision was made for.
    pub const ON_BEHALF_OF_MAX: usize = 255;
    /// Inputs of an approval, encoded.
    pub const INPUTS_MAX: usize = 16 * 1024;
    /// Facts that are known of one round.
    pub const FACTS_MAX_COUNT: usize = 32;
    /// A fact's value: a word, a number, the address of a report.
    pub const FACT_VALUE_MAX: usize = 512;
}

/// What a gate asks for. Fixed when the gate is created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// How long a round waits for a decision, from its first wait. None: for ever.
    pub timeout: Option<Duration>,
    /// Creates the gate approved. Only its first round: a reset makes it pending.
    pub auto_approve: bool,
    /// One line for people.
    pub title: String,
    /// What is being asked, at length.
    pub description: String,
    /// For programs to find and group gates.
    pub labels: BTreeMap<String, String>,
    /// Where to look before deciding.
    pub links: Vec<Link>,
    /// How many principals have to approve.
    pub required_approvals: u32,
    /// The thing that is approved.
    pub subject: Option<Subject>,
    /// Who may approve and reject. Empty: whoever may decide gates at all.
    pub approvers: Vec<Party>,
    /// Whether those who ask for the gate are kept from approving it. None: those whose identity was verified are.
    pub forbid_requester: Option<bool>,
    /// How long a round waits, from its first wait, before an approval counts.
    pub min_wait: Option<Duration>,
    /// What becomes of a round that nobody decides in time.
    pub on_timeout: OnTimeout,
}

/// What becomes of a round that nobody decides before its deadline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnTimeout {
    /// It times out.
    #[default]
    TimeOut,
    /// It is approved: silence is consent.
    Approve,
    /// It is rejected.
    Reject,
}

/// A page to look at before deciding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// What to call it.
    pub title: String,
    /// An http or https address.
    pub url: String,
}

/// The thing that an approval is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// Where it is.
    pub uri: String,
    /// Its exact content.
    pub digest: String,
}

/// Waits for ever for one approval.
impl Default for Spec {
    fn default() -> Self {
        Self {
            timeout: None,
            auto_approve: false,
            title: String::new(),
            description: String::new(),
            labels: BTreeMap::new(),
            links: Vec::new(),
            required_approvals: 1,
            subject: None,
            approvers: Vec::new(),
            forbid_requester: None,
            min_wait: None,
            on_timeout: OnTimeout::TimeOut,
        }
    }
}

impl Spec {
    /// Checks the spec against [`limits`].
    ///
    /// # Errors
    ///
    /// [`InvalidKind::Spec`] with the first field that is out of bounds.
    pub fn validated(self) -> Result<Self, Invalid> {
        use limits::*;

        check(self.timeout.is_none_or(|t| (TIMEOUT_MIN..=TIMEOUT_MAX).contains(&t)), "spec.timeout", || {
            "has to be from 1 ms to 366 days; leave it out to wait for ever".into()
        })?;
        at_most("spec.title", &self.title, TITLE_MAX)?;
        at_most("spec.description", &self.description, DESCRIPTION_MAX)?;
        count("spec.labels", self.labels.len(), LABELS_MAX_COUNT)?;
        for (key, value) in &self.labels {
            check(is_label_key(key), "spec.labels", || no_label_key(key))?;
            at_most("spec.labels", value, LABEL_VALUE_MAX)?;
        }
        count("spec.links", self.links.len(), LINKS_MAX_COUNT)?;
        for link in &self.links {
            at_most("spec.links.title", &link.title, LINK_TITLE_MAX)?;
            at_most("spec.links.url", &link.url, URL_MAX)?;
            check(is_web_address(&link.url), "spec.links.url", || {
                format!("is {:?}: it has to start with http:// or https://", link.url)
            })?;
        }
        check((1..=REQUIRED_APPROVALS_MAX).contains(&self.required_approvals), "spec.required_approvals", || {
            format!("is {}; 1 to {REQUIRED_APPROVALS_MAX} are allowed", self.required_approvals)
        })?;
        if let Some(subject) = &self.subject {
            at_most("spec.subject.uri", &subject.uri, URL_MAX)?;
            at_most("spec.subject.digest", &subject.digest, DIGEST_MAX)?;
        }
        self.check_approvers()?;
        check(self.min_wait.is_none_or(|wait| (TIMEOUT_MIN..=TIMEOUT_MAX).contains(&wait)), "spec.min_wait", || {
            "has to be from 1 ms to 366 days; leave it out to let approvals count at once".into()
        })?;
        let leaves_time = self.min_wait.zip(self.timeout).is_none_or(|(min_wait, timeout)| min_wait < timeout);
        check(leaves_time, "spec.min_wait", || "has to be shorter than spec.timeout: nobody could approve".into())?;
        check(self.timeout.is_some() || self.on_timeout == OnTimeout::TimeOut, "spec.on_timeout", || {
            "goes with spec.timeout: a gate without one never times out".into()
        })?;
        Ok(self)
    }

    fn check_approvers(&self) -> Result<(), Invalid> {
        count("spec.approvers", self.approvers.len(), limits::APPROVERS_MAX_COUNT)?;
        let mut named = BTreeSet::new();
        for party in &self.approvers {
            check(named.insert(party), "spec.approvers", || format!("has {party} twice: name each once"))?;
        }
        // Of a group nobody here knows how many there are.
        let are_few = u32::try_from(named.len()).is_ok_and(|people| people < self.required_approvals)
            && named.iter().all(|party| matches!(party, Party::Principal(_)));
        check(named.is_empty() || !are_few, "spec.approvers", || {
            format!("has {} principals, and {} have to approve: name more", named.len(), self.required_approvals)
        })
    }

    /// Says whether those who ask for the gate may not approve it, verified as they were.
    #[must_use]
    pub fn forbids_requester(&self, authentication: Authentication) -> bool {
        self.forbid_requester.unwrap_or(authentication != Authentication::Anonymous)
    }

    /// Says whether the gate can be approved without anybody but those who ask for it.
    #[must_use]
    pub fn exempts(&self) -> bool {
        self.auto_approve || self.on_timeout == OnTimeout::Approve || self.forbid_requester == Some(false)
    }

    /// Names the fields in which two specs differ.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        // Taken apart by name, so that a new field cannot be forgotten here.
        let Self {
            timeout,
            auto_approve,
            title,
            description,
            labels,
            links,
            required_approvals,
            subject,
            approvers,
            forbid_requester,
            min_wait,
            on_timeout,
        } = self;
        [
            ("timeout", *timeout != other.timeout),
            ("auto_approve", *auto_approve != other.auto_approve),
            ("title", *title != other.title),
            ("description", *description != other.description),
            ("labels", *labels != other.labels),
            ("links", *links != other.links),
            ("required_approvals", *required_approvals != other.required_approvals),
            ("subject", *subject != other.subject),
            ("approvers", *approvers != other.approvers),
            ("forbid_requester", *forbid_requester != other.forbid_requester),
            ("min_wait", *min_wait != other.min_wait),
            ("on_timeout", *on_timeout != other.on_timeout),
        ]
        .into_iter()
        .filter_map(|(field, differs)| differs.then_some(field))
        .collect()
    }
}

fn check(holds: bool, field: &'static str, problem: impl FnOnce() -> String) -> Result<(), Invalid> {
    if holds { Ok(()) } else { Err(Invalid::new(InvalidKind::Spec, field, problem())) }
}

fn at_most(field: &'static str, text: &str, bytes_max: usize) -> Result<(), Invalid> {
    check(text.len() <= bytes_max, field, || format!("has {} bytes; at most {bytes_max} are allowed", text.len()))
}

fn count(field: &'static str, count: usize, count_max: usize) -> Result<(), Invalid> {
    check(count <= count_max, field, || format!("has {count} entries; at most {count_max} are allowed"))
}

/// Says what is wrong with what is no label's key.
pub(super) fn no_label_key(key: &str) -> String {
    let max = limits::LABEL_KEY_MAX;
    format!("has the key {key:?}: use 1 to {max} of A-Z a-z 0-9 . _ / - and start with a letter or digit")
}

pub(super) fn is_label_key(key: &str) -> bool {
    key.len() <= limits::LABEL_KEY_MAX
        && key.starts_with(|c: char| c.is_ascii_alphanumeric())
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'/' | b'-'))
}

fn is_web_address(url: &str) -> bool {
    url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).is_some_and(|rest| !rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(spec: Spec) -> &'static str {
        let invalid = spec.validated().unwrap_err();
        assert_eq!(invalid.kind, InvalidKind::Spec);
        invalid.field
    }

    #[test]
    fn a_field_out_of_bounds_is_named() {
        let spec = Spec::default;
        let link = |title: &str, url: &str| Link { title: title.into(), url: url.into() };
        let label = |key: &str, value: String| BTreeMap::from([(key.to_owned(), value)]);

        assert_eq!(refused(Spec { timeout: Some(Duration::ZERO), ..spec() }), "spec.timeout");
        assert_eq!(refused(Spec { timeout: Some(limits::TIMEOUT_MAX * 2), ..spec() }), "spec.timeout");
        assert_eq!(refused(Spec { title: "x".repeat(257), ..spec() }), "spec.title");
        assert_eq!(refused(Spec { description: "x".repeat(4097), ..spec() }), "spec.description");
        assert_eq!(refused(Spec { labels: label("", String::new()), ..spec() }), "spec.labels");
        assert_eq!(refused(Spec { labels: label("a b", String::new()), ..spec() }), "spec.labels");
        assert_eq!(refused(Spec { labels: label("a", "x".repeat(257)), ..spec() }), "spec.labels");
        assert_eq!(refused(Spec { links: vec![link("", "javascript:alert(1)")], ..spec() }), "spec.links.url");
        assert_eq!(refused(Spec { links: vec![link(&"x".repeat(65), "https://x")], ..spec() }), "spec.links.title");
        assert_eq!(refused(Spec { links: vec![link("", "https://x"); 9], ..spec() }), "spec.links");
        assert_eq!(refused(Spec { required_approvals: 0, ..spec() }), "spec.required_approvals");
        assert_eq!(refused(Spec { required_approvals: 17, ..spec() }), "spec.required_approvals");
        let subject = Subject { uri: String::new(), digest: "x".repeat(257) };
        assert_eq!(refused(Spec { subject: Some(subject), ..spec() }), "spec.subject.digest");
    }

    fn parties(names: &[&str]) -> Vec<Party> {
        names.iter().map(|name| Party::parse("approvers", name).unwrap()).collect()
    }

    #[test]
    fn terms_that_nobody_could_meet_are_refused() {
        let second = Duration::from_secs(1);
        let spec = || Spec { timeout: Some(second), ..Spec::default() };
        let many: Vec<_> = (0..17).map(|number| format!("group:{number}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        for (field, wrong) in [
            ("spec.approvers", Spec { approvers: parties(&many), ..spec() }),
            ("spec.approvers", Spec { approvers: parties(&["group:ops", "ann", "group:ops"]), ..spec() }),
            ("spec.approvers", Spec { approvers: parties(&["ann", "bob"]), required_approvals: 3, ..spec() }),
            ("spec.min_wait", Spec { min_wait: Some(Duration::ZERO), ..spec() }),
            ("spec.min_wait", Spec { min_wait: Some(limits::TIMEOUT_MAX + second), timeout: None, ..spec() }),
            ("spec.min_wait", Spec { min_wait: Some(second), ..spec() }),
            ("spec.on_timeout", Spec { on_timeout: OnTimeout::Approve, timeout: None, ..spec() }),
            ("spec.on_timeout", Spec { on_timeout: OnTimeout::Reject, timeout: None, ..spec() }),
        ] {
            assert_eq!(refused(wrong), field);
        }
        for fine in [
            Spec { approvers: parties(&many[..16]), required_approvals: 16, ..spec() },
            Spec { approvers: parties(&["ann", "bob"]), required_approvals: 2, ..spec() },
            Spec { approvers: parties(&["group:ops"]), required_approvals: 3, ..spec() },
            Spec { min_wait: Some(second / 2), ..spec() },
            Spec { min_wait: Some(limits::TIMEOUT_MAX), timeout: None, ..spec() },
            Spec { on_timeout: OnTimeout::Approve, ..spec() },
        ] {
            assert!(fine.clone().validated().is_ok(), "{fine:?}");
        }
    }

    #[test]
    fn a_spec_says_whether_it_needs_a_second_person() {
        let spec = Spec::default;
        for exempt in [
            Spec { auto_approve: true, ..spec() },
            Spec { on_timeout: OnTimeout::Approve, ..spec() },
            Spec { forbid_requester: Some(false), ..spec() },
        ] {
            assert!(exempt.exempts(), "{exempt:?}");
        }
        for bound in [
            spec(),
            Spec { on_timeout: OnTimeout::Reject, ..spec() },
            Spec { forbid_requester: Some(true), ..spec() },
            Spec { approvers: parties(&["ann"]), min_wait: Some(Duration::from_secs(1)), ..spec() },
        ] {
            assert!(!bound.exempts(), "{bound:?}");
        }
    }

    #[test]
    fn the_bounds_themselves_are_allowed() {
        for timeout in [limits::TIMEOUT_MIN, limits::TIMEOUT_MAX] {
            assert!(Spec { timeout: Some(timeout), ..Spec::default() }.validated().is_ok());
        }
        assert!(Spec { title: "x".repeat(256), required_approvals: 16, ..Spec::default() }.validated().is_ok());
    }

    #[test]
    fn the_fields_that_differ_are_named() {
        let other = Spec { timeout: Some(Duration::from_secs(1)), title: "t".into(), ..Spec::default() };
        assert_eq!(Spec::default().differences(&other), ["timeout", "title"]);
        let (min_wait, on_timeout) = (Some(Duration::from_secs(1)), OnTimeout::Reject);
        let terms = Spec {
            approvers: parties(&["ann"]),
            forbid_requester: Some(false),
            min_wait,
            on_timeout,
            ..Spec::default()
        };
        let fields = ["approvers", "forbid_requester", "min_wait", "on_timeout"];
        assert_eq!(Spec::default().differences(&terms), fields);
        assert!(other.differences(&other).is_empty());
    }
}
