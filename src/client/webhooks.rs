//! The calls about webhooks.

use super::calls::Again;
use super::endpoints::Endpoint;
use super::{Client, Error, WebhookCalls};
use crate::proto::{
    DeadLetter, DeleteDeadLetterRequest, ListDeadLettersRequest, ListWebhooksRequest, RedeliverDeadLetterRequest,
    Webhook,
};

impl Client {
    /// Lists the coordinator's webhooks, with how they fare.
    pub async fn webhooks(&self) -> Result<Vec<Webhook>, Error> {
        let request = ListWebhooksRequest {};
        let answer = self.call_on(webhooks, &request, Again::Always, |mut service, request| async move {
            service.list_webhooks(request).await
        });
        Ok(answer.await?.webhooks)
    }

    /// Reads what a webhook gave up, oldest first, from the request's page to the last.
    pub async fn dead_letters(&self, mut request: ListDeadLettersRequest) -> Result<Vec<DeadLetter>, Error> {
        let mut letters = Vec::new();
        loop {
            let page = self.call_on(webhooks, &request, Again::Always, |mut service, request| async move {
                service.list_dead_letters(request).await
            });
            let page = page.await?;
            letters.extend(page.dead_letters);
            if page.next_page_token.is_empty() {
                return Ok(letters);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Puts a dead letter back to delivery.
    pub async fn redeliver(&self, request: RedeliverDeadLetterRequest) -> Result<(), Error> {
        let call = |mut service: WebhookCalls, request| async move { service.redeliver_dead_letter(request).await };
        self.call_on(webhooks, &request, Again::IfUnsent, call).await
    }

    /// Removes a dead letter.
    pub async fn delete_dead_letter(&self, request: DeleteDeadLetterRequest) -> Result<(), Error> {
        let call = |mut service: WebhookCalls, request| async move { service.delete_dead_letter(request).await };
        self.call_on(webhooks, &request, Again::IfUnsent, call).await
    }
}

fn webhooks(endpoint: &Endpoint) -> &WebhookCalls {
    &endpoint.webhooks
}
