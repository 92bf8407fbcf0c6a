//! What a webhook is told to do, once it makes sense.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use standardwebhooks::Webhook as Signer;

use crate::coordinator::Topic;
use crate::domain::{Prefix, WebhookName};

/// The shortest and the longest key of a signature in base64: 24 and 64 bytes, as Standard Webhooks asks for.
const KEY_CHARS: std::ops::RangeInclusive<usize> = 32..=88;

/// One receiver of notifications.
#[derive(Clone)]
pub struct Webhook {
    /// What it is called; how far it has come is stored under this name.
    pub name: WebhookName,
    /// Where messages go. It may hold a secret.
    pub url: Url,
    /// What they look like.
    pub format: Format,
    /// What it is told.
    pub topics: Vec<Topic>,
    /// Of which gates.
    pub prefix: Prefix,
    /// How long before a deadline it is warned.
    pub warn_before: Duration,
    /// How long an attempt may take.
    pub timeout: Duration,
    /// The longest pause between two attempts, before its random part doubles it at most.
    pub max_pause: Duration,
    /// How late a message that fails may become before it is given up.
    pub give_up_after: Duration,
}

/// What messages look like.
#[derive(Clone, Debug)]
pub enum Format {
    /// Those of Standard Webhooks, signed.
    Standard(Keys),
    /// Those of Slack's incoming webhooks.
    Slack,
}

/// The keys that messages are signed with: one, or two while a key is replaced.
#[derive(Clone)]
pub struct Keys(Arc<[Signer]>);

impl Webhook {
    /// Says where messages go, without what may be secret: not the path, the query or the credentials.
    #[must_use]
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }
}

/// Shows no secret.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, format, topics, prefix, .. } = self;
        let mut shown = f.debug_struct("Webhook");
        shown.field("name", name).field("origin", &self.origin()).field("format", format);
        shown.field("topics", topics).field("prefix", prefix).finish_non_exhaustive()
    }
}

/// Reads where messages go.
///
/// # Errors
///
/// What it has to be. The text itself is not told: it may be secret.
pub fn url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text.trim()).map_err(|error| format!("its url is none: {error}"))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        _ => Err("its url has to begin with http:// or https://".to_owned()),
    }
}

impl Keys {
    /// Reads keys that are separated by spaces, each as `whsec_` and base64.
    ///
    /// # Errors
    ///
    /// What they have to be. The text itself is not told.
    pub fn parse(text: &str) -> Result<Self, String> {
        let hint = "its secret has to be whsec_ and 24 to 64 random bytes in base64";
        let key = |text: &str| {
            let base64 = text.strip_prefix("whsec_").filter(|base64| KEY_CHARS.contains(&base64.len()));
            Signer::new(base64.ok_or(hint)?).map_err(|_| hint.to_owned())
        };
        let keys = text.split_whitespace().map(key).collect::<Result<Arc<[_]>, String>>()?;
        if keys.is_empty() { Err(hint.to_owned()) } else { Ok(Self(keys)) }
    }

    /// Signs a message: a signature for each key, separated by spaces.
    pub(super) fn sign(&self, id: &str, timestamp: i64, body: &str) -> String {
        // Only a body that is no UTF-8 cannot be signed.
        let signatures = self.0.iter().filter_map(|key| key.sign(id, timestamp, body.as_bytes()).ok());
        signatures.collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secret keys", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn the_signature_is_that_of_the_specification() {
        // The example of the Standard Webhooks libraries.
        let signature =
            Keys::parse(KEY).unwrap().sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn while_a_key_is_replaced_both_sign() {
        let other = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
        let both = Keys::parse(&format!("{KEY} {other}")).unwrap().sign("a", 1, "{}");
        let each = [KEY, other].map(|key| Keys::parse(key).unwrap().sign("a", 1, "{}"));
        assert_eq!(both, each.join(" "));
    }

    #[test]
    fn a_weak_key_is_refused_and_none_is_shown() {
        for weak in ["", " ", "whsec_", "whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", &format!("{KEY}*")] {
            let problem = Keys::parse(weak).unwrap_err();
            assert!(weak.trim().is_empty() || !problem.contains(&weak[6..]) || weak == "whsec_", "{problem}");
        }
        assert_eq!(format!("{:?}", Keys::parse(KEY).unwrap()), "1 secret keys");
    }

    #[test]
    fn a_url_is_shown_without_what_may_be_secret() {
        let webhook = Webhook {
            name: WebhookName::parse("name", "ops").unwrap(),
            url: url("https://user:word@hooks.example.org:8443/services/T0/B0/secret?key=secret").unwrap(),
            format: Format::Slack,
            topics: Topic::ALL.to_vec(),
            prefix: Prefix::parse("prefix", "").unwrap(),
            warn_before: Duration::ZERO,
            timeout: Duration::ZERO,
            max_pause: Duration::ZERO,
            give_up_after: Duration::ZERO,
        };
        assert_eq!(webhook.origin(), "https://hooks.example.org:8443");
        let shown = format!("{webhook:?}");
        assert!(!shown.contains("secret") && !shown.contains("word"), "{shown}");
        for wrong in ["", "hooks", "ftp://h/", "file:///etc/passwd", "unix:/run/x"] {
            assert!(url(wrong).is_err(), "{wrong}");
        }
    }
}
