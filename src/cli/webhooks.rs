//! `gatepost webhooks`: how webhooks fare, and what they gave up.

use clap::{Args, Subcommand};
use comfy_table::Cell;
use jiff::Timestamp;

use super::failure::Failure;
use super::output;
use super::table::{borderless, rendered};
use super::text::{escape, relative};
use super::{Globals, OnGates};
use crate::client::{self, Client};
use crate::proto::{
    DeadLetter, DeleteDeadLetterRequest, ListDeadLettersRequest, RedeliverDeadLetterRequest, Webhook, WebhookEvent,
    WebhookFormat,
};

/// What `gatepost webhooks` does.
#[derive(Subcommand)]
pub(super) enum Action {
    /// List the webhooks of the coordinator, with how they fare
    List(OnGates<NoArgs>),
    /// List what a webhook gave up
    Dead(OnGates<DeadArgs>),
    /// Deliver dead letters again; each stays one until it is delivered
    Redeliver(OnGates<LetterArgs>),
    /// Remove dead letters
    Delete(OnGates<LetterArgs>),
}

/// No flags of its own.
#[derive(Args)]
pub(super) struct NoArgs {}

/// The flags of `gatepost webhooks dead`.
#[derive(Args)]
pub(super) struct DeadArgs {
    /// The webhook
    webhook: String,
}

/// The flags of `gatepost webhooks redeliver` and `delete`.
#[derive(Args)]
pub(super) struct LetterArgs {
    /// The webhook
    webhook: String,

    /// The dead letters
    #[arg(required_unless_present = "all", value_name = "NUMBER")]
    numbers: Vec<u64>,

    /// All dead letters of the webhook
    #[arg(long, conflicts_with = "numbers")]
    all: bool,
}

/// Runs one of the actions.
pub(super) async fn run(action: Action) -> Result<(), Failure> {
    match action {
        Action::List(OnGates { globals, .. }) => list(&globals).await,
        Action::Dead(OnGates { args, globals }) => dead(&globals, args).await,
        Action::Redeliver(OnGates { args, globals }) => {
            let client = &globals.client()?;
            let call = async |webhook, number| client.redeliver(RedeliverDeadLetterRequest { webhook, number }).await;
            let done = |number| format!("{} delivers {number} again", escape(&args.webhook));
            each(&globals, client, &args, call, done).await
        }
        Action::Delete(OnGates { args, globals }) => {
            let client = &globals.client()?;
            let call =
                async |webhook, number| client.delete_dead_letter(DeleteDeadLetterRequest { webhook, number }).await;
            let done = |number| format!("dead letter {number} of {} deleted", escape(&args.webhook));
            each(&globals, client, &args, call, done).await
        }
    }
}

async fn list(globals: &Globals) -> Result<(), Failure> {
    let webhooks = globals.client()?.webhooks().await?;
    globals.output.write_all(&webhooks, "no webhooks", |webhooks| webhook_rows(webhooks, Timestamp::now()))
}

async fn dead(globals: &Globals, args: DeadArgs) -> Result<(), Failure> {
    let request = ListDeadLettersRequest { webhook: args.webhook, ..ListDeadLettersRequest::default() };
    let letters = globals.client()?.dead_letters(request).await?;
    globals.output.write_all(&letters, "no dead letters", |letters| letter_rows(letters, Timestamp::now()))
}

/// Does something to each dead letter that is asked for, whatever is refused on the way. Of all there were, one may be
/// gone by its turn: that is no failure.
async fn each(
    globals: &Globals,
    client: &Client,
    args: &LetterArgs,
    call: impl AsyncFn(String, u64) -> Result<(), client::Error>,
    done: impl Fn(u64) -> String,
) -> Result<(), Failure> {
    let mut failure: Option<Failure> = None;
    for number in numbers(client, args).await? {
        match call(args.webhook.clone(), number).await {
            Ok(()) => globals.output.write(&(), |()| done(number))?,
            Err(client::Error::Refused(refusal)) if args.all && refusal.reason == "DEAD_LETTER_NOT_FOUND" => {}
            Err(error @ client::Error::Refused(_)) => {
                // The last one is told by whoever gets it.
                if let Some(before) = failure.replace(error.into()) {
                    before.tell();
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    failure.map_or(Ok(()), Err)
}

/// Returns the numbers that are asked for: those that are given, or all there are.
async fn numbers(client: &Client, args: &LetterArgs) -> Result<Vec<u64>, Failure> {
    if !args.all {
        return Ok(args.numbers.clone());
    }
    let request = ListDeadLettersRequest { webhook: args.webhook.clone(), ..ListDeadLettersRequest::default() };
    let letters = client.dead_letters(request).await?;
    if letters.is_empty() {
        output::note("no dead letters");
    }
    Ok(letters.iter().map(|letter| letter.number).collect())
}

fn webhook_rows(webhooks: &[Webhook], now: Timestamp) -> String {
    let mut table = borderless();
    table.set_header(["WEBHOOK", "TO", "FORMAT", "EVENTS", "PREFIX", "PENDING", "DEAD", "DELIVERED", "FAILED"]);
    for webhook in webhooks {
        let format = match webhook.format() {
            WebhookFormat::Unspecified => "unknown",
            WebhookFormat::Standard => "standard",
            WebhookFormat::Slack => "slack",
        };
        let events: Vec<_> = webhook.events().map(word).collect();
        let delivered = webhook.last_success_time.as_ref().map(|time| relative(time, now));
        let failed = webhook.last_failure_time.as_ref();
        let failed = failed.map(|time| format!("{}: {}", relative(time, now), escape(&webhook.last_failure)));
        // Nothing is known here, which is not the same as none.
        let held = |count: u32| if webhook.delivered_elsewhere { Cell::new("elsewhere") } else { Cell::new(count) };
        table.add_row([
            Cell::new(escape(&webhook.name)),
            Cell::new(escape(&webhook.origin)),
            Cell::new(format),
            Cell::new(events.join(", ")),
            Cell::new(escape(&webhook.prefix)),
            held(webhook.pending),
            held(webhook.dead_letters),
            Cell::new(delivered.unwrap_or_default()),
            Cell::new(failed.unwrap_or_default()),
        ]);
    }
    rendered(table)
}

fn letter_rows(letters: &[DeadLetter], now: Timestamp) -> String {
    let mut table = borderless();
    table.set_header(["NUMBER", "GATE", "ROUND", "EVENT", "ATTEMPTS", "GIVEN UP", "LAST FAILURE"]);
    for letter in letters {
        table.add_row([
            Cell::new(letter.number),
            Cell::new(escape(&letter.gate)),
            Cell::new(letter.round),
            Cell::new(word(letter.event())),
            Cell::new(letter.attempts),
            Cell::new(letter.time.as_ref().map(|time| relative(time, now)).unwrap_or_default()),
            Cell::new(escape(&letter.last_failure)),
        ]);
    }
    rendered(table)
}

fn word(event: WebhookEvent) -> &'static str {
    match event {
        WebhookEvent::Unspecified => "unknown",
        WebhookEvent::Waiting => "waiting",
        WebhookEvent::Expiring => "expiring",
        WebhookEvent::Resolved => "resolved",
        WebhookEvent::BreakGlass => "break_glass",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_elsewhere_is_not_shown_as_none() {
        let name = || "ops".to_owned();
        let here = Webhook { name: name(), pending: 3, ..Webhook::default() };
        let there = Webhook { name: name(), delivered_elsewhere: true, ..Webhook::default() };
        let shown = webhook_rows(&[here, there], Timestamp::UNIX_EPOCH);
        let words: Vec<Vec<_>> = shown.lines().skip(1).map(|row| row.split_whitespace().collect()).collect();
        assert_eq!(words, [vec!["ops", "unknown", "3", "0"], vec!["ops", "unknown", "elsewhere", "elsewhere"]]);
    }
}
