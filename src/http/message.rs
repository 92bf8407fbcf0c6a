//! Builds the message of a call from what HTTP carries: a body of JSON, the path and the query.

use prost::{Message, Name};
use prost_reflect::{DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, ReflectMessage, Value};
use tonic::{Code, Status};

use super::status::{internal, refused, too_large};
use crate::proto::{self, JsonError, REQUEST_BYTES_MAX};

/// Reads a message from its JSON, which may be empty, and sets fields from text.
pub fn read<M: Message + Name + Default>(json: &[u8], fields: &[(&str, &str, String)]) -> Result<M, Status> {
    let json = if json.is_empty() { b"{}" } else { json };
    let mut message = proto::dynamic_from_json::<M>(json).map_err(|error| match error {
        JsonError::Json(error) => invalid(&format!("the body is not the JSON of a {}: {error}", M::NAME)),
        error => internal(&error),
    })?;
    for (shown, name, text) in fields {
        set(&mut message, shown, name, text)?;
    }
    // Its JSON may say in less than the bound what takes more.
    let bytes = message.encoded_len();
    if bytes > REQUEST_BYTES_MAX {
        let problem = format!("the message has {bytes} bytes; at most {REQUEST_BYTES_MAX} are allowed");
        return Err(too_large(&problem, REQUEST_BYTES_MAX, "bytes in one request"));
    }
    message.transcode_to().map_err(|error| invalid(&error.to_string()))
}

/// Sets a field that the body does not set, by its path.
fn set(message: &mut DynamicMessage, shown: &str, path: &str, text: &str) -> Result<(), Status> {
    let (name, below) = path.split_once('.').map_or((path, None), |(name, below)| (name, Some(below)));
    let Some(field) = message.descriptor().get_field_by_name(name) else {
        return Err(invalid(&format!("{shown} is not known here")));
    };
    if let Some(below) = below {
        let Some(inner) = message.get_field_mut(&field).as_message_mut() else {
            return Err(invalid(&format!("{shown} is not known here")));
        };
        return set(inner, shown, below, text);
    }
    let value = value(&field, text).ok_or_else(|| invalid(&format!("{shown} cannot be {text:?}")))?;
    if field.is_list() {
        if let Some(list) = message.get_field_mut(&field).as_list_mut() {
            list.push(value);
        }
        return Ok(());
    }
    if message.has_field(&field) {
        return Err(given_twice(shown));
    }
    message.set_field(&field, value);
    Ok(())
}

/// Reads the value of a field.
fn value(field: &FieldDescriptor, text: &str) -> Option<Value> {
    match field.kind() {
        Kind::String => Some(Value::String(text.to_owned())),
        Kind::Bool => text.parse().ok().map(Value::Bool),
        Kind::Uint32 => text.parse().ok().map(Value::U32),
        Kind::Uint64 => text.parse().ok().map(Value::U64),
        Kind::Enum(kind) => enum_values(&kind).find(|(name, short, _)| text == name || text == short).map(|it| it.2),
        _ => None,
    }
}

/// Lists how the values of an enum may be written.
pub fn enum_texts(kind: &EnumDescriptor) -> Vec<String> {
    enum_values(kind).flat_map(|(name, short, _)| [short, name]).collect()
}

/// Lists the values of an enum that say something: the name of each, and the name without what they all begin with.
fn enum_values(kind: &EnumDescriptor) -> impl Iterator<Item = (String, String, Value)> {
    let unspecified = kind.default_value();
    let prefix = unspecified.name().strip_suffix("UNSPECIFIED").unwrap_or_default().to_owned();
    kind.values().filter(move |value| *value != unspecified).map(move |value| {
        let short = value.name().strip_prefix(&prefix).unwrap_or(value.name());
        (value.name().to_owned(), short.to_owned(), Value::EnumNumber(value.number()))
    })
}

/// Refuses what may be said once.
pub fn given_twice(shown: &str) -> Status {
    invalid(&format!("{shown} is given twice"))
}

pub fn invalid(problem: &str) -> Status {
    refused(Code::InvalidArgument, "INVALID_MESSAGE", problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{ApproveRequest, GateStatus, ListGatesRequest, WaitRequest, Waiter};

    fn fields(pairs: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str, String)> {
        pairs.iter().map(|(name, text)| (*name, *name, (*text).to_owned())).collect()
    }

    #[test]
    fn text_sets_fields_by_their_kind() {
        let fields = fields(&[
            ("prefix", "a"),
            ("statuses", "WAITING"),
            ("statuses", "GATE_STATUS_PENDING"),
            ("page_size", "5"),
        ]);
        let request: ListGatesRequest = read(b"", &fields).unwrap();
        let statuses = vec![GateStatus::Waiting.into(), GateStatus::Pending.into()];
        assert_eq!(request, ListGatesRequest { prefix: "a".into(), statuses, page_size: 5, ..Default::default() });
    }

    #[test]
    fn a_body_and_the_path_make_one_message() {
        let request: ApproveRequest = read(br#"{"comment":"ok","round":2}"#, &fields(&[("gate", "a/b")])).unwrap();
        assert_eq!((request.gate.as_str(), request.comment.as_str(), request.round), ("a/b", "ok", 2));
    }

    #[test]
    fn a_field_is_set_inside_another() {
        let request: WaitRequest = read(b"", &fields(&[("waiter.id", "job-7"), ("waiter.host", "ci-3")])).unwrap();
        assert_eq!(request.waiter, Some(Waiter { id: "job-7".into(), host: "ci-3".into(), ..Waiter::default() }));
    }

    #[test]
    fn a_message_is_as_large_as_over_grpc_at_most() {
        let of = |bytes: usize| format!(r#"{{"comment":"{}"}}"#, "x".repeat(bytes));
        let read = |json: &str| read::<ApproveRequest>(json.as_bytes(), &[]);
        // A field's key takes a byte, its length three.
        assert_eq!(read(&of(REQUEST_BYTES_MAX - 4)).unwrap().encoded_len(), REQUEST_BYTES_MAX);
        let status = read(&of(REQUEST_BYTES_MAX - 3)).unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let refused = |json: &str, given: &[(&'static str, &'static str)]| {
            let status = read::<ListGatesRequest>(json.as_bytes(), &fields(given)).unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument);
            status.message().to_owned()
        };
        assert!(refused("{", &[]).contains("the body is not the JSON of a ListGatesRequest: EOF"));
        assert!(refused("{} {}", &[]).contains("trailing"));
        assert!(refused(r#"{"prefx":"a"}"#, &[]).contains("prefx"));
        assert_eq!(refused(r#"{"prefix":"a"}"#, &[("prefix", "b")]), "prefix is given twice");
        assert_eq!(refused("", &[("page_size", "-1")]), r#"page_size cannot be "-1""#);
        assert_eq!(refused("", &[("statuses", "UNSPECIFIED")]), r#"statuses cannot be "UNSPECIFIED""#);
        assert_eq!(refused("", &[("colour", "red")]), "colour is not known here");
    }
}
