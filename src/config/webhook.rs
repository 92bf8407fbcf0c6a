//! A `[[webhook]]` of the configuration file: as written, and turned into one that makes sense.

use std::env::VarError;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use super::duration;
use crate::domain::{Prefix, WebhookName};
use crate::webhooks::{self, Format, Keys, Topic};

/// How long before a deadline there is a warning, unless it says so.
const WARN_BEFORE: Duration = Duration::from_secs(10 * 60);
/// How long an attempt may take, unless it says so.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest pause between two attempts, unless it says so: a receiver that is back hears of everything soon after.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// How late a message that fails may become, unless it says so.
const GIVE_UP_AFTER: Duration = Duration::from_secs(24 * 3600);

/// The table, as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// What it is called.
    pub name: String,
    /// Where messages go, or where that is written.
    pub url: Option<Secret>,
    /// A file that says it.
    pub url_file: Option<PathBuf>,
    /// A variable of the environment that says it.
    pub url_env: Option<String>,
    /// What messages look like.
    #[serde(default)]
    pub format: FormatName,
    /// What it is told; not set: everything.
    pub events: Option<Vec<EventName>>,
    /// Of which gates; not set: of all.
    #[serde(default)]
    pub prefix: String,
    /// What messages are signed with, or where that is written.
    pub secret: Option<Secret>,
    /// A file that says it.
    pub secret_file: Option<PathBuf>,
    /// A variable of the environment that says it.
    pub secret_env: Option<String>,
    /// How long before a deadline there is a warning.
    pub warn_before: Option<String>,
    /// How long an attempt may take.
    pub timeout: Option<String>,
    /// The longest pause between two attempts.
    pub max_pause: Option<String>,
    /// How late a message that fails may become before it is given up.
    pub give_up_after: Option<String>,
}

/// What messages look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FormatName {
    /// Standard Webhooks.
    #[default]
    Standard,
    /// Slack's incoming webhooks.
    Slack,
}

/// What can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventName {
    /// The first worker of a round waits.
    Waiting,
    /// A deadline is near.
    Expiring,
    /// A round has its resolution.
    Resolved,
    /// A round was approved by breaking the glass.
    BreakGlass,
}

/// Text that is never shown.
#[derive(Clone)]
pub struct Secret(String);

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The error of its own would show what is there instead.
        String::deserialize(deserializer).map(Self).map_err(|_| de::Error::custom("it has to be text in quotes"))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Why a webhook cannot be taken.
#[derive(Debug, thiserror::Error)]
#[error("webhook {name:?}: {problem}")]
pub struct Error {
    /// What it is called.
    pub name: String,
    /// What is wrong, and what to do.
    pub problem: String,
}

/// Turns the tables into webhooks that make sense.
///
/// # Errors
///
/// The first problem there is.
pub fn validated(webhooks: Vec<Webhook>) -> Result<Vec<webhooks::Webhook>, Error> {
    let mut valid: Vec<webhooks::Webhook> = Vec::new();
    for webhook in webhooks {
        let name = webhook.name.clone();
        let webhook = webhook.validate().and_then(|webhook| {
            let is_new = valid.iter().all(|other| other.name != webhook.name);
            is_new.then_some(webhook).ok_or_else(|| "another webhook has that name".to_owned())
        });
        valid.push(webhook.map_err(|problem| Error { name, problem })?);
    }
    Ok(valid)
}

impl Webhook {
    fn validate(self) -> Result<webhooks::Webhook, String> {
        let url = one_of("url", self.url, self.url_file, self.url_env)?.ok_or("it needs a url")?;
        let secret = one_of("secret", self.secret, self.secret_file, self.secret_env)?;
        let format = match (self.format, secret) {
            (FormatName::Standard, Some(keys)) => Format::Standard(Keys::parse(&keys)?),
            (FormatName::Standard, None) => return Err("it needs a secret, to sign what it sends".to_owned()),
            (FormatName::Slack, None) => Format::Slack,
            (FormatName::Slack, Some(_)) => return Err("the format slack has no secret: its url is one".to_owned()),
        };
        let topics: Vec<_> = match self.events {
            Some(events) => events.into_iter().map(Topic::from).collect(),
            None => Topic::ALL.to_vec(),
        };
        if topics.is_empty() {
            return Err("events is empty: leave it out for all of them".to_owned());
        }
        Ok(webhooks::Webhook {
            name: WebhookName::parse("name", &self.name).map_err(|invalid| invalid.to_string())?,
            url: webhooks::url(&url)?,
            format,
            topics,
            prefix: Prefix::parse("prefix", &self.prefix).map_err(|invalid| invalid.to_string())?,
            warn_before: time("warn_before", self.warn_before.as_deref(), WARN_BEFORE)?,
            timeout: time("timeout", self.timeout.as_deref(), TIMEOUT)?,
            max_pause: time("max_pause", self.max_pause.as_deref(), MAX_PAUSE)?,
            give_up_after: time("give_up_after", self.give_up_after.as_deref(), GIVE_UP_AFTER)?,
        })
    }
}

impl From<EventName> for Topic {
    fn from(event: EventName) -> Self {
        match event {
            EventName::Waiting => Self::Waiting,
            EventName::Expiring => Self::Expiring,
            EventName::Resolved => Self::Resolved,
            EventName::BreakGlass => Self::BreakGlass,
        }
    }
}

/// Reads a text that is written here, in a file or in the environment.
pub(super) fn one_of(
    what: &str,
    text: Option<Secret>,
    file: Option<PathBuf>,
    env: Option<String>,
) -> Result<Option<String>, String> {
    match (text, file, env) {
        (None, None, None) => Ok(None),
        (Some(Secret(text)), None, None) => Ok(Some(text)),
        (None, Some(path), None) => match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(error) => Err(format!("its {what}_file {} cannot be read: {error}", path.display())),
        },
        (None, None, Some(name)) => variable(&name).map(Some).map_err(|hint| format!("its {what}_env {name} {hint}")),
        _ => Err(format!("give only one of {what}, {what}_file and {what}_env")),
    }
}

/// Reads a variable of the environment. What is wrong is said without its value.
fn variable(name: &str) -> Result<String, &'static str> {
    std::env::var(name).map_err(|error| match error {
        VarError::NotPresent => "is not set",
        VarError::NotUnicode(_) => "is no UTF-8",
    })
}

fn time(what: &str, text: Option<&str>, default: Duration) -> Result<Duration, String> {
    text.map_or(Ok(default), |text| duration(text).map_err(|hint| format!("{what} is no duration: {hint}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn read(table: &str) -> Result<webhooks::Webhook, String> {
        let webhook: Webhook = toml::from_str(table).map_err(|error| error.message().to_owned())?;
        validated(vec![webhook]).map(|mut webhooks| webhooks.remove(0)).map_err(|error| error.to_string())
    }

    fn times(webhook: &webhooks::Webhook) -> [u64; 4] {
        let webhooks::Webhook { warn_before, timeout, max_pause, give_up_after, .. } = webhook;
        [warn_before, timeout, max_pause, give_up_after].map(Duration::as_secs)
    }

    #[test]
    fn every_key_is_documented_and_the_examples_are_read() {
        let documentation = include_str!("../../docs/webhooks.md");
        let rows = documentation.lines().skip_while(|line| !line.starts_with("| Key |")).skip(2);
        let rows = rows.take_while(|line| line.starts_with('|')).filter_map(|row| row.split('|').nth(1));
        let documented: Vec<_> = rows.flat_map(|keys| keys.split(',')).map(|key| key.trim().to_owned()).collect();
        let unknown = toml::from_str::<Webhook>("no-such-key = 1").unwrap_err();
        let keys = unknown.message().split_once("expected one of ").unwrap().1;
        let mut keys: Vec<_> = keys.split(", ").map(str::to_owned).collect();
        let mut sorted = documented.clone();
        sorted.sort();
        keys.sort();
        assert_eq!(sorted, keys);

        for text in [documentation, include_str!("../../README.md")] {
            let examples = text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
            let files = examples.map(|example| toml::from_str::<crate::config::file::File>(example).unwrap());
            assert_eq!(files.map(|file| file.webhook.len()).sum::<usize>(), 2);
        }
    }

    #[test]
    fn only_what_must_be_said_has_to_be() {
        let url = "https://hooks.example.org/x";
        let webhook = read(&format!("name = 'audit'\nurl = '{url}'\nsecret = '{SECRET}'")).unwrap();
        assert_eq!((webhook.name.as_str(), webhook.url.as_str()), ("audit", url));
        assert!(matches!(webhook.format, Format::Standard(_)));
        assert_eq!((webhook.topics.as_slice(), webhook.prefix.root()), (Topic::ALL.as_slice(), None));
        assert_eq!(times(&webhook), [600, 10, 60, 86_400]);
    }

    #[test]
    fn everything_can_be_said() {
        let webhook = read(
            "name = 'ops'\nurl = 'http://127.0.0.1:1/'\nformat = 'slack'\nevents = ['expiring', 'break_glass']\n\
             prefix = 'release-42'\nwarn_before = '5m'\ntimeout = '1s'\nmax_pause = '30s'\ngive_up_after = '2d'",
        );
        let webhook = webhook.unwrap();
        assert!(matches!(webhook.format, Format::Slack));
        assert_eq!(webhook.topics, [Topic::Expiring, Topic::BreakGlass]);
        assert_eq!(webhook.prefix.root().unwrap().as_str(), "release-42");
        assert_eq!(times(&webhook), [300, 1, 30, 172_800]);
    }

    #[test]
    fn secrets_can_be_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, format!("{SECRET}\n")).unwrap();
        let elsewhere = format!("name = 'a'\nurl = 'http://h/'\nsecret_file = '{}'", path.display());
        assert!(read(&elsewhere).is_ok());
        assert!(read("name = 'a'\nurl = 'http://h/'\nsecret_file = 'no-such-file'").unwrap_err().contains("no-such"));
        let unset = read("name = 'a'\nurl_env = 'GATEPOST_NO_SUCH_VARIABLE'\nformat = 'slack'").unwrap_err();
        assert!(unset.contains("its url_env GATEPOST_NO_SUCH_VARIABLE is not set"), "{unset}");
        assert!(read(&format!("{elsewhere}\nsecret = '{SECRET}'")).unwrap_err().contains("only one of"));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let url = "url = 'http://h/'";
        let secret = format!("secret = '{SECRET}'");
        for (table, problem) in [
            (format!("name = 'a/b'\n{url}\n{secret}"), "no name of a webhook"),
            (format!("name = 'a'\n{secret}"), "needs a url"),
            (format!("name = 'a'\nurl = 'h'\n{secret}"), "url"),
            (format!("name = 'a'\n{url}"), "needs a secret"),
            (format!("name = 'a'\n{url}\nsecret = 'whsec_x'"), "24 to 64"),
            (format!("name = 'a'\n{url}\n{secret}\nformat = 'slack'"), "has no secret"),
            (format!("name = 'a'\n{url}\n{secret}\nformat = 'teams'"), "teams"),
            (format!("name = 'a'\n{url}\n{secret}\nevents = []"), "events is empty"),
            (format!("name = 'a'\n{url}\n{secret}\nevents = ['created']"), "created"),
            (format!("name = 'a'\n{url}\n{secret}\nprefix = '/'"), "prefix"),
            (format!("name = 'a'\n{url}\n{secret}\ntimeout = '0s'"), "timeout"),
            (format!("name = 'a'\n{url}\n{secret}\nretries = 3"), "retries"),
        ] {
            let error = read(&table).unwrap_err();
            assert!(error.contains(problem), "{table}: {error}");
        }
        let table = format!("name = 'a'\n{url}\n{secret}");
        let twice = [(); 2].map(|()| toml::from_str(&table).unwrap());
        assert!(validated(twice.into()).unwrap_err().to_string().contains("another webhook has that name"));
    }

    #[test]
    fn secrets_are_never_shown() {
        let webhook: Webhook =
            toml::from_str(&format!("name = 'a'\nurl = 'http://h/t0ken'\nsecret = '{SECRET}'")).unwrap();
        let shown = format!("{webhook:?} {:?}", validated(vec![webhook.clone()]).unwrap());
        assert!(!shown.contains("t0ken") && !shown.contains(&SECRET[6..]), "{shown}");
    }
}
