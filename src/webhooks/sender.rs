//! One attempt to deliver one message, over HTTP.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP};

use super::lanes::Failure;
use super::settings::{Format, Webhook};

/// What is read of an answer, so that its connection can be used again. Nothing is done with it.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// How long a connection may take: as the client of the coordinator, three lost packets of a handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Delivers messages.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Tries once, for as long as the webhook allows.
    async fn post(&self, webhook: &Webhook, id: &str, body: String) -> Result<(), Failure>;
}

/// Delivers over HTTP. Redirects are not followed: what is signed for one receiver goes to no other.
pub struct Http(Client);

impl Http {
    /// Makes the client that all webhooks share.
    ///
    /// # Errors
    ///
    /// If TLS cannot be set up.
    pub fn new() -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .user_agent(concat!("gatepost/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIMEOUT);
        client.build().map(Self)
    }
}

#[async_trait]
impl Transport for Http {
    async fn post(&self, webhook: &Webhook, id: &str, body: String) -> Result<(), Failure> {
        let mut request = self.0.post(webhook.url.clone()).timeout(webhook.timeout);
        request = request.header(CONTENT_TYPE, "application/json");
        if let Format::Standard(keys) = &webhook.format {
            // Receivers compare it with their own clock, so it is the machine's and not the deadlines'.
            let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let timestamp = i64::try_from(seconds).unwrap_or(i64::MAX);
            request = request
                .header(HEADER_WEBHOOK_ID, id)
                .header(HEADER_WEBHOOK_TIMESTAMP, timestamp)
                .header(HEADER_WEBHOOK_SIGNATURE, keys.sign(id, timestamp, &body));
        }
        let answer = request.body(body).send().await.map_err(|error| unanswered(webhook, error))?;
        match answer.status() {
            status if status.is_success() => {
                drain(answer).await;
                Ok(())
            }
            status => Err(Failure {
                problem: format!("HTTP {status}"),
                retry_after: retry_after(&answer),
                is_final: status == StatusCode::GONE,
            }),
        }
    }
}

/// Reads an answer to its end, if that is near.
async fn drain(mut answer: Response) {
    let mut left = ANSWER_BYTES_MAX;
    while let Ok(Some(chunk)) = answer.chunk().await
        && let Some(rest) = left.checked_sub(chunk.len())
    {
        left = rest;
    }
}

/// Says why there is no answer, without the address: that may be secret.
fn unanswered(webhook: &Webhook, error: reqwest::Error) -> Failure {
    let error = error.without_url();
    let problem = if error.is_timeout() {
        format!("no answer within {:?}", webhook.timeout)
    } else {
        let cause = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source()).last();
        format!("no connection to {}: {}", webhook.origin(), cause.map(ToString::to_string).unwrap_or_default())
    };
    Failure { problem, retry_after: None, is_final: false }
}

/// Reads how long the receiver asks to be left alone: in seconds, or until a date.
fn retry_after(answer: &Response) -> Option<Duration> {
    let text = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Some(SystemTime::from(date).duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests;
