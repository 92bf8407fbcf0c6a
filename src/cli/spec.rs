//! The flags that say what a gate asks for.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::failure::Failure;
use super::text;
use crate::config;
use crate::proto::{self, Link, OnTimeout, Spec, Subject};

/// What a gate asks for, as written.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
#[command(next_help_heading = "What the gate asks for")]
pub(super) struct SpecArgs {
    /// How long a round waits for a decision, from its first wait: 30s, 5m, 1h 30m; for ever if left out
    #[arg(long, value_name = "DURATION", value_parser = config::duration)]
    timeout: Option<Duration>,

    /// One line for people
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    title: String,

    /// What is being asked, at length
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    description: String,

    /// A label for programs to find the gate by; can be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = text::pair)]
    labels: Vec<(String, String)>,

    /// A page to look at before deciding; can be repeated
    #[arg(long = "link", value_name = "TITLE=URL", value_parser = text::pair)]
    links: Vec<(String, String)>,

    /// How many people have to approve [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    required_approvals: Option<u32>,

    /// Who may approve and reject: a principal, or group:NAME; can be repeated [default: whoever may decide gates]
    #[arg(long = "approver", value_name = "WHO")]
    approvers: Vec<String>,

    /// How long a round waits, from its first wait, before an approval counts
    #[arg(long, value_name = "DURATION", value_parser = config::duration)]
    min_wait: Option<Duration>,

    /// What becomes of a round that nobody decides in time [default: time-out]
    #[arg(long, value_name = "WHAT")]
    on_timeout: Option<OnTimeoutArg>,

    /// Let those who ask for the gate approve it, also where identities are verified
    #[arg(long, conflicts_with = "forbid_requester")]
    allow_requester: bool,

    /// Keep those who ask for the gate from approving it, also where no identities are verified
    #[arg(long)]
    forbid_requester: bool,

    /// Where the thing is that is approved
    #[arg(long, value_name = "URI", default_value = "", hide_default_value = true)]
    subject_uri: String,

    /// The exact content of the thing that is approved, such as sha256:…
    #[arg(long, value_name = "DIGEST", default_value = "", hide_default_value = true)]
    subject_digest: String,

    /// Create the gate approved, for test runs
    #[arg(long)]
    auto_approve: bool,
}

/// What becomes of a round that nobody decides in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnTimeoutArg {
    /// It times out
    TimeOut,
    /// It is approved
    Approve,
    /// It is rejected
    Reject,
}

impl From<OnTimeoutArg> for OnTimeout {
    fn from(what: OnTimeoutArg) -> Self {
        match what {
            OnTimeoutArg::TimeOut => Self::TimeOut,
            OnTimeoutArg::Approve => Self::Approve,
            OnTimeoutArg::Reject => Self::Reject,
        }
    }
}

impl SpecArgs {
    /// Returns the spec, or none if no flag was given.
    pub(super) fn spec(self) -> Result<Option<Spec>, Failure> {
        if self == Self::default() {
            return Ok(None);
        }
        if let Some(key) = text::repeated(self.labels.iter().map(|(key, _)| key)) {
            return Err(Failure::Usage(format!("--label {key} is given twice: a label has one value")));
        }
        let duration = |flag: &str, duration: Option<Duration>| {
            let duration = duration.map(proto::Duration::try_from).transpose();
            duration.map_err(|error| Failure::Here(format!("{flag}: {error}")))
        };
        let subject = Subject { uri: self.subject_uri, digest: self.subject_digest };
        Ok(Some(Spec {
            timeout: duration("--timeout", self.timeout)?,
            auto_approve: self.auto_approve,
            title: self.title,
            description: self.description,
            labels: self.labels.into_iter().collect(),
            links: self.links.into_iter().map(|(title, url)| Link { title, url }).collect(),
            required_approvals: self.required_approvals.unwrap_or_default(),
            subject: (subject != Subject::default()).then_some(subject),
            approvers: self.approvers,
            min_wait: duration("--min-wait", self.min_wait)?,
            on_timeout: self.on_timeout.map_or(OnTimeout::Unspecified, OnTimeout::from).into(),
            forbid_requester: (self.allow_requester || self.forbid_requester).then_some(self.forbid_requester),
        }))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        spec: SpecArgs,
    }

    fn spec(flags: &[&str]) -> Option<Spec> {
        Command::try_parse_from([&["x"], flags].concat()).unwrap().spec.spec().unwrap()
    }

    #[test]
    fn without_flags_there_is_no_spec() {
        assert_eq!(spec(&[]), None);
    }

    #[test]
    fn each_flag_alone_makes_a_spec() {
        let base = Spec::default;
        let timeout = Some(proto::Duration { seconds: 300, nanos: 0 });
        assert_eq!(spec(&["--timeout", "5m"]), Some(Spec { timeout, ..base() }));
        assert_eq!(spec(&["--auto-approve"]), Some(Spec { auto_approve: true, ..base() }));
        assert_eq!(spec(&["--title", "t"]), Some(Spec { title: "t".into(), ..base() }));
        assert_eq!(spec(&["--required-approvals", "2"]), Some(Spec { required_approvals: 2, ..base() }));
        let approvers = vec!["alice".into(), "group:ops".into()];
        assert_eq!(spec(&["--approver", "alice", "--approver", "group:ops"]), Some(Spec { approvers, ..base() }));
        let min_wait = Some(proto::Duration { seconds: 90, nanos: 0 });
        assert_eq!(spec(&["--min-wait", "1m 30s"]), Some(Spec { min_wait, ..base() }));
        let on_timeout = OnTimeout::Reject.into();
        assert_eq!(spec(&["--on-timeout", "reject"]), Some(Spec { on_timeout, ..base() }));
        assert_eq!(spec(&["--allow-requester"]), Some(Spec { forbid_requester: Some(false), ..base() }));
        assert_eq!(spec(&["--forbid-requester"]), Some(Spec { forbid_requester: Some(true), ..base() }));
        let digest = Some(Subject { digest: "sha256:0".into(), ..Subject::default() });
        assert_eq!(spec(&["--subject-digest", "sha256:0"]), Some(Spec { subject: digest, ..base() }));
    }

    #[test]
    fn labels_and_links_are_split_at_the_first_equals_sign() {
        let spec = spec(&["--label", "team=web", "--label", "empty=", "--link", "diff=https://x/?a=b"]).unwrap();
        assert_eq!((&*spec.labels["team"], &*spec.labels["empty"]), ("web", ""));
        assert_eq!((&*spec.links[0].title, &*spec.links[0].url), ("diff", "https://x/?a=b"));
    }

    #[test]
    fn a_label_with_two_values_is_refused() {
        let Command { spec } = Command::parse_from(["x", "--label", "a=1", "--label", "b=1", "--label", "a=2"]);
        let Err(Failure::Usage(told)) = spec.spec() else { panic!("it was taken") };
        assert_eq!(told, "--label a is given twice: a label has one value");
    }

    #[test]
    fn flags_that_make_no_sense_are_refused() {
        for flags in [
            ["--timeout", "5"],
            ["--min-wait", "5"],
            ["--label", "team"],
            ["--required-approvals", "0"],
            ["--on-timeout", "ignore"],
            ["--allow-requester", "--forbid-requester"],
        ] {
            assert!(Command::try_parse_from(["x"].into_iter().chain(flags)).is_err(), "{flags:?}");
        }
    }
}
