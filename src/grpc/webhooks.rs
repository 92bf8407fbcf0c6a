//! The handlers of `gatepost.v1.WebhookService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::coordinator::Permission;
use crate::proto::webhook_service_server::WebhookService;
use crate::proto::{
    self, DeleteDeadLetterRequest, ListDeadLettersRequest, ListDeadLettersResponse, ListWebhooksRequest,
    ListWebhooksResponse, RedeliverDeadLetterRequest, Timestamp, WebhookEvent, WebhookFormat,
};
use crate::webhooks::{self, DeadLetter, Format, Topic, Webhook, Webhooks};

use super::convert;

/// Tells of the webhooks that are configured.
pub struct WebhookHandlers(pub Arc<Webhooks>);

#[tonic::async_trait]
impl WebhookService for WebhookHandlers {
    async fn list_webhooks(
        &self,
        request: Request<ListWebhooksRequest>,
    ) -> Result<Response<ListWebhooksResponse>, Status> {
        let ListWebhooksRequest {} = received(request)?;
        let webhooks = self.0.list().map(|(webhook, status)| message(webhook, status)).collect();
        Ok(Response::new(ListWebhooksResponse { webhooks }))
    }

    async fn list_dead_letters(
        &self,
        request: Request<ListDeadLettersRequest>,
    ) -> Result<Response<ListDeadLettersResponse>, Status> {
        let request = received(request)?;
        let from = convert::page_token(&request.page_token, |token| token.parse().ok())?.unwrap_or(0);
        let limit = convert::page_size(request.page_size);
        let mut letters = self.0.dead_letters(&request.webhook, from, limit + 1).await?;
        let next = (letters.len() > limit).then(|| letters.pop()).flatten();
        let next_page_token = next.map(|letter| letter.number.to_string()).unwrap_or_default();
        let dead_letters = letters.into_iter().map(|letter| dead_letter(&request.webhook, letter)).collect();
        Ok(Response::new(ListDeadLettersResponse { dead_letters, next_page_token }))
    }

    async fn redeliver_dead_letter(
        &self,
        request: Request<RedeliverDeadLetterRequest>,
    ) -> Result<Response<()>, Status> {
        let request = received(request)?;
        Ok(Response::new(self.0.redeliver(&request.webhook, request.number).await?))
    }

    async fn delete_dead_letter(&self, request: Request<DeleteDeadLetterRequest>) -> Result<Response<()>, Status> {
        let request = received(request)?;
        Ok(Response::new(self.0.delete(&request.webhook, request.number).await?))
    }
}

/// Takes a request apart, and checks that its caller may see and mend webhooks.
fn received<M>(request: Request<M>) -> Result<M, Status> {
    let (caller, request) = convert::received(request)?;
    caller.check(Permission::Webhooks, None)?;
    Ok(request)
}

fn message(webhook: &Webhook, status: webhooks::Status) -> proto::Webhook {
    let (failed_at, failure) = status.last_failure.unzip();
    proto::Webhook {
        name: webhook.name.to_string(),
        origin: webhook.origin(),
        format: match webhook.format {
            Format::Standard(_) => WebhookFormat::Standard,
            Format::Slack => WebhookFormat::Slack,
        }
        .into(),
        events: webhook.topics.iter().map(|topic| WebhookEvent::from(*topic).into()).collect(),
        prefix: webhook.prefix.root().map(ToString::to_string).unwrap_or_default(),
        place: status.place.0,
        pending: count(status.pending),
        dead_letters: count(status.dead_letters),
        last_success_time: status.last_success.map(Timestamp::from),
        last_failure_time: failed_at.map(Timestamp::from),
        last_failure: failure.unwrap_or_default(),
        delivered_elsewhere: status.is_elsewhere,
    }
}

fn dead_letter(webhook: &str, letter: DeadLetter) -> proto::DeadLetter {
    proto::DeadLetter {
        number: letter.number,
        message_id: letter.message_id,
        webhook: webhook.to_owned(),
        event: WebhookEvent::from(letter.topic).into(),
        gate: letter.gate.to_string(),
        round: letter.round.get(),
        revision: letter.revision.0,
        attempts: letter.attempts,
        last_failure: letter.problem,
        time: Some(letter.time.into()),
    }
}

impl From<Topic> for WebhookEvent {
    fn from(topic: Topic) -> Self {
        match topic {
            Topic::Waiting => Self::Waiting,
            Topic::Expiring => Self::Expiring,
            Topic::Resolved => Self::Resolved,
            Topic::BreakGlass => Self::BreakGlass,
        }
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
