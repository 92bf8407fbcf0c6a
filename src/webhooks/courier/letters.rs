//! What was given up, and what operators do about it.

use super::{Command, Courier};
use crate::coordinator::{DeadLetter, StoreError, Topic};
use crate::webhooks::Error;
use crate::webhooks::lanes::{Dead, Origin, Parcel};
use crate::webhooks::message::Message;

/// Dead letters that are kept; the oldest gives way.
const LETTERS_MAX: usize = 10_000;
/// The longest text about a failure in characters, so that a dead letter fits one part of a record.
const PROBLEM_MAX: usize = 256;

impl Courier {
    /// Keeps what was given up, until somebody looks at it.
    pub(super) fn bury(&mut self, dead: Dead<Message>) {
        let Dead { parcel: Parcel { gate, origin, message, .. }, attempts, problem } = dead;
        let number = match origin {
            Origin::Letter(number) if !self.redelivering.remove(&number) || !self.letters.contains(&number) => return,
            Origin::Letter(number) => number,
            Origin::Event(_) | Origin::Deadline(_) => self.next_letter,
        };
        let message_id = self.sender.id(&message);
        let (name, topic) = (&self.webhook.name, message.topic.as_str());
        tracing::error!("webhook {name} gave up {topic} of {gate} ({message_id}) after {attempts} attempts: {problem}");
        self.next_letter = self.next_letter.max(number + 1);
        self.letters.insert(number);
        self.put.push(DeadLetter {
            number,
            message_id,
            topic: message.topic,
            gate,
            round: message.event.gate.round,
            revision: message.event.revision(),
            attempts,
            problem: problem.chars().take(PROBLEM_MAX).collect(),
            time: self.coordinator.now(),
        });
        if self.letters.len() > LETTERS_MAX
            && let Some(oldest) = self.letters.first().copied()
        {
            tracing::error!(
                "webhook {} has more than {LETTERS_MAX} dead letters: the oldest is gone",
                self.webhook.name
            );
            self.discard(oldest);
        }
        self.changed();
    }

    pub(super) fn discard(&mut self, number: u64) {
        if self.letters.remove(&number) {
            self.put.retain(|letter| letter.number != number);
            self.remove.push(number);
            self.changed();
        }
    }

    /// Does what an operator asks for.
    pub(super) async fn obey(&mut self, command: Command) -> Result<(), StoreError> {
        let (reply, answer) = match command {
            Command::Redeliver(number, reply) => (reply, self.redeliver(number).await),
            Command::Delete(number, reply) if self.letters.contains(&number) => {
                self.discard(number);
                self.save().await?;
                // Gone only once that is durable.
                (reply, if self.remove.is_empty() { Ok(()) } else { Err(StoreError::Full.into()) })
            }
            Command::Delete(number, reply) => (reply, Err(self.no_letter(number))),
        };
        // Who asked may have gone.
        drop(reply.send(answer));
        Ok(())
    }

    /// Puts a dead letter behind what its gate has to tell. It stays a dead letter until it is delivered.
    async fn redeliver(&mut self, number: u64) -> Result<(), Error> {
        self.save().await?;
        let letter = self.coordinator.dead_letters(&self.webhook.name, number, 1).await?.pop();
        let letter = letter.filter(|letter| letter.number == number && self.letters.contains(&number));
        let letter = letter.ok_or_else(|| self.no_letter(number))?;
        let event = self.coordinator.event(letter.revision).await?;
        let oldest = self.coordinator.oldest();
        let event = event.ok_or(Error::EventForgotten { revision: letter.revision, oldest })?;
        if self.redelivering.insert(number) {
            let now = self.coordinator.now();
            let time = if letter.topic == Topic::Expiring { letter.time } else { event.time };
            let message = Message { topic: letter.topic, event, time };
            self.lanes.push(Parcel { gate: letter.gate, origin: Origin::Letter(number), since: now, message });
        }
        Ok(())
    }

    fn no_letter(&self, number: u64) -> Error {
        Error::NoSuchLetter { webhook: self.webhook.name.clone(), number }
    }
}
