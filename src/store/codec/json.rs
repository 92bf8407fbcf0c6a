//! The records as canonical `ProtoJSON`, for files that people and other stores read. Nothing that a record holds is lost.

use std::sync::LazyLock;

use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use serde_json::Value;

use super::{Parsed, answer_record, event_record, outbox, record};
use crate::domain::Event;
use crate::store::{Answer, DeadLetter, Outbox};

/// The encoded `FileDescriptorSet` of the records.
const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/record_descriptor_set.bin"));

/// Writes an event, stamped or not: its revision is no part of the record.
pub fn write_event(event: &Event) -> Parsed<Value> {
    write(&event_record(event))
}

/// Reads an event, not stamped. The revision of its resolution is 0 where it is the event's own.
pub fn read_event(json: Value) -> Parsed<Event> {
    read(json).and_then(super::event)
}

/// Writes how a request was answered.
pub fn write_answer(answer: &Answer) -> Parsed<Value> {
    write(&answer_record(&answer.fingerprint, &answer.revisions, answer.time))
}

/// Reads how a request was answered.
pub fn read_answer(json: Value) -> Parsed<Answer> {
    read(json).and_then(super::answer)
}

/// Writes how far a webhook has come.
pub fn write_outbox(outbox: &Outbox) -> Parsed<Value> {
    write(&outbox::outbox_record(outbox))
}

/// Reads how far a webhook has come.
pub fn read_outbox(json: Value) -> Parsed<Outbox> {
    read(json).map(outbox::outbox)
}

/// Writes a dead letter, but for its number.
pub fn write_dead_letter(letter: &DeadLetter) -> Parsed<Value> {
    write(&outbox::dead_letter_record(letter))
}

/// Reads the dead letter of a number.
pub fn read_dead_letter(number: u64, json: Value) -> Parsed<DeadLetter> {
    read(json).and_then(|record: record::DeadLetter| outbox::dead_letter(number, record))
}

/// Writes a message. Its maps are in the order of their keys, so that equal records are equal texts.
fn write<M: Message + Name>(message: &M) -> Parsed<Value> {
    let mut dynamic = DynamicMessage::new(descriptor::<M>()?);
    dynamic.transcode_from(message).map_err(|error| error.to_string())?;
    serde_json::to_value(dynamic).map_err(|error| error.to_string())
}

fn read<M: Message + Name + Default>(json: Value) -> Parsed<M> {
    let dynamic = DynamicMessage::deserialize(descriptor::<M>()?, json).map_err(|error| error.to_string())?;
    dynamic.transcode_to().map_err(|error| error.to_string())
}

fn descriptor<M: Name>() -> Parsed<MessageDescriptor> {
    static POOL: LazyLock<Result<DescriptorPool, prost_reflect::DescriptorError>> =
        LazyLock::new(|| DescriptorPool::decode(DESCRIPTOR_SET));
    let pool = POOL.as_ref().map_err(|error| format!("the descriptors of the records are damaged: {error}"))?;
    let name = M::full_name();
    pool.get_message_by_name(&name).ok_or_else(|| format!("there is no record {name}"))
}
