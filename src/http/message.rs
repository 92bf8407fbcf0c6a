//! Builds the message of a call from what HTTP carries: a body of JSON, the path and the query.

use prost::{Message, Name};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, ReflectMessage, Value};
use tonic::{Code, Status};

use super::status::{internal, refused};
use crate::proto::{self, JsonError};

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
    message.transcode_to().map_err(|error| invalid(&error.to_string()))
}

/// Sets a field that the body does not set.
fn set(message: &mut DynamicMessage, shown: &str, name: &str, text: &str) -> Result<(), Status> {
    let descriptor = message.descriptor();
    let Some(field) = descriptor.get_field_by_name(name) else {
        return Err(invalid(&format!("{shown} is not known here")));
    };
    let value = value(&field, text).ok_or_else(|| invalid(&format!("{shown} cannot be {text:?}")))?;
    if field.is_list() {
        if let Some(list) = message.get_field_mut(&field).as_list_mut() {
            list.push(value);
        }
        return Ok(());
    }
    if message.has_field(&field) {
        return Err(invalid(&format!("{shown} is given twice")));
    }
    message.set_field(&field, value);
    Ok(())
}

/// Reads the value of a field. An enum's values may be written without what they all begin with.
fn value(field: &FieldDescriptor, text: &str) -> Option<Value> {
    match field.kind() {
        Kind::String => Some(Value::String(text.to_owned())),
        Kind::Bool => text.parse().ok().map(Value::Bool),
        Kind::Uint32 => text.parse().ok().map(Value::U32),
        Kind::Uint64 => text.parse().ok().map(Value::U64),
        Kind::Enum(kind) => {
            let unspecified = kind.default_value();
            let prefix = unspecified.name().strip_suffix("UNSPECIFIED").unwrap_or_default();
            let named = |name: &str| kind.get_value_by_name(name).filter(|value| *value != unspecified);
            named(text).or_else(|| named(&format!("{prefix}{text}"))).map(|value| Value::EnumNumber(value.number()))
        }
        _ => None,
    }
}

pub fn invalid(problem: &str) -> Status {
    refused(Code::InvalidArgument, "INVALID_MESSAGE", problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{ApproveRequest, GateStatus, ListGatesRequest};

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
