//! What was given up, and what operators do about it.

use super::{Command, Courier};
use crate::coordinator::{DeadLetter, StoreError, Topic};
use crate::webhooks::Error;
use crate::webhooks::lanes::{Dead, Origin, Parcel};
use crate::webhooks::message::Message;

/// Dead letters that are kept; the oldest gives way.
const LETTERS_MAX: usize = 10_000;
/// Dead letters that are held for delivery at a time. Of the others that are asked for, only the numbers.
const REDELIVERING_MAX: usize = 64;
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
        let letter = DeadLetter {
            number,
            message_id,
            topic: message.topic,
            gate,
            round: message.event.gate.round,
            revision: message.event.revision(),
            attempts,
            problem: problem.chars().take(PROBLEM_MAX).collect(),
            time: self.coordinator.now(),
        };
        self.put.insert(number, letter);
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
        self.asked.remove(&number);
        if self.lanes.withdraw(number) {
            self.redelivering.remove(&number);
        }
        if self.letters.remove(&number) {
            self.put.remove(&number);
            self.remove.push(number);
            self.changed();
        }
    }

    /// Does what an operator asks for.
    pub(super) async fn obey(&mut self, command: Command) {
        let (reply, answer) = match command {
            Command::Redeliver(number, reply) => (reply, self.redeliver(number).await),
            Command::Delete(number, reply) if self.letters.contains(&number) => {
                self.discard(number);
                // Gone only once that is durable.
                (reply, self.save_now().await.map_err(Error::from))
            }
            Command::Delete(number, reply) => (reply, Err(self.no_letter(number))),
        };
        // Who asked may have gone.
        drop(reply.send(answer));
    }

    /// Notes that a dead letter is to be delivered. It stays a dead letter until it is.
    async fn redeliver(&mut self, number: u64) -> Result<(), Error> {
        self.save().await?;
        self.letter(number).await?;
        if !self.redelivering.contains(&number) {
            self.asked.insert(number);
        }
        Ok(())
    }

    /// Puts the dead letters that are to be delivered into their lanes, as there is room.
    pub(super) async fn load(&mut self) -> Result<(), StoreError> {
        while self.redelivering.len() < REDELIVERING_MAX
            && let Some(number) = self.asked.pop_first()
        {
            match self.letter(number).await {
                Ok(parcel) => {
                    self.redelivering.insert(number);
                    self.lanes.push(parcel);
                }
                Err(Error::Store(error)) if !matches!(error, StoreError::Corrupt { .. }) => return Err(error),
                Err(error) => {
                    tracing::error!("webhook {} leaves dead letter {number} as it is: {error}", self.webhook.name);
                }
            }
        }
        Ok(())
    }

    /// Reads a dead letter, as it is delivered.
    async fn letter(&self, number: u64) -> Result<Parcel<Message>, Error> {
        let letter = self.coordinator.dead_letters(&self.webhook.name, number, 1).await?.pop();
        let letter = letter.filter(|letter| letter.number == number && self.letters.contains(&number));
        let DeadLetter { gate, topic, revision, .. } = letter.ok_or_else(|| self.no_letter(number))?;
        let oldest = self.coordinator.oldest();
        let event = self.coordinator.event(revision).await?.ok_or(Error::EventForgotten { revision, oldest })?;
        let time = if topic == Topic::Expiring { self.time_of_warning(&event) } else { event.time };
        let message = Message { topic, event, time };
        Ok(Parcel { gate, origin: Origin::Letter(number), since: self.coordinator.now(), message })
    }

    fn no_letter(&self, number: u64) -> Error {
        Error::NoSuchLetter { webhook: self.webhook.name.clone(), number }
    }
}
