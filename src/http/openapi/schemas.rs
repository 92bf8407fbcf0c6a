//! JSON Schemas of messages: what a request may hold, and what an answer holds.

use std::collections::BTreeMap;

use prost_reflect::{EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor};
use prost_types::source_code_info::Location;
use serde_json::{Map, Value, json};

/// Seconds, as in `1.5s`. The JSON of protobuf allows a minus and a twelfth digit, which no field of ours takes.
pub const DURATION: &str = "^[0-9]{1,11}(\\.[0-9]{1,9})?s$";

/// The schemas of messages, each made once.
pub struct Schemas {
    made: BTreeMap<String, Value>,
}

/// Which way a message goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// All that protobuf's JSON allows.
    Request,
    /// Its canonical form alone.
    Answer,
}

impl Default for Schemas {
    /// Begins with the refusals, which are no messages of the API.
    fn default() -> Self {
        Self { made: refusals() }
    }
}

impl Schemas {
    /// Refers to the schema of a request, but for fields that are said elsewhere.
    pub fn request(&mut self, message: &MessageDescriptor, without: &[&str]) -> Value {
        self.message(message, Way::Request, without)
    }

    /// Refers to the schema of an answer.
    pub fn answer(&mut self, message: &MessageDescriptor) -> Value {
        self.message(message, Way::Answer, &[])
    }

    /// Returns all schemas that were referred to, by name.
    pub fn into_components(self) -> BTreeMap<String, Value> {
        self.made
    }

    fn message(&mut self, message: &MessageDescriptor, way: Way, without: &[&str]) -> Value {
        if let Some(schema) = well_known(message.full_name()) {
            return schema;
        }
        // What goes both ways has two schemas.
        let goes_in = way == Way::Request && !message.name().ends_with("Request");
        let name = format!("{}{}", message.name(), if goes_in { "Input" } else { "" });
        let reference = json!({"$ref": format!("#/components/schemas/{name}")});
        if self.made.contains_key(&name) {
            return reference;
        }
        // Known before it is made, for messages that hold themselves.
        self.made.insert(name.clone(), Value::Null);
        let mut properties = Map::new();
        let mut twice = Vec::new();
        for field in message.fields().filter(|field| !without.contains(&field.name())) {
            let schema = self.field(&field, way);
            if way == Way::Request && field.name() != field.json_name() {
                properties.insert(field.name().to_owned(), schema.clone());
                // Of other fields the last is taken.
                if field.containing_oneof().is_some() {
                    twice.push(json!({"required": [field.name(), field.json_name()]}));
                }
            }
            properties.insert(field.json_name().to_owned(), schema);
        }
        let about = comment(&message.parent_file(), message.path());
        let mut schema = json!({"type": "object", "properties": properties});
        if !about.is_empty() {
            schema["description"] = about.into();
        }
        if way == Way::Request {
            schema["additionalProperties"] = false.into();
        }
        if !twice.is_empty() {
            schema["not"] = json!({"anyOf": twice});
        }
        self.made.insert(name, schema);
        reference
    }

    fn field(&mut self, field: &FieldDescriptor, way: Way) -> Value {
        let mut schema = if let Some(entry) = field.kind().as_message().filter(|_| field.is_map()) {
            json!({"type": "object", "additionalProperties": self.value(&entry.map_entry_value_field().kind(), way)})
        } else if field.is_list() {
            json!({"type": "array", "items": self.value(&field.kind(), way)})
        } else {
            self.value(&field.kind(), way)
        };
        if way == Way::Request {
            schema = json!({"anyOf": [schema, {"type": "null"}]});
        }
        let about = comment(&field.parent_file(), field.path());
        if !about.is_empty() {
            schema["description"] = about.into();
        }
        schema
    }

    fn value(&mut self, kind: &Kind, way: Way) -> Value {
        match (kind, way) {
            (Kind::Message(message), _) => self.message(message, way, &[]),
            (Kind::Enum(kind), _) => enumeration(kind, way),
            (Kind::Bool, _) => json!({"type": "boolean"}),
            (Kind::Uint32, Way::Answer) => json!({"type": "integer", "minimum": 0, "maximum": u32::MAX}),
            (Kind::Uint32, Way::Request) => number_or_text(u32::MAX.into(), "^[0-9]{1,9}$"),
            (Kind::Uint64, Way::Answer) => json!({"type": "string", "pattern": "^[0-9]{1,20}$"}),
            (Kind::Uint64, Way::Request) => number_or_text(u64::MAX, "^[0-9]{1,19}$"),
            (Kind::Double | Kind::Float, _) => json!({"type": "number"}),
            (Kind::String, _) => json!({"type": "string"}),
            // No message of ours has them.
            _ => Value::Bool(true),
        }
    }
}

/// As a text it may have fewer digits than the largest number, so that none of them is larger.
fn number_or_text(max: u64, pattern: &str) -> Value {
    json!({"anyOf": [{"type": "integer", "minimum": 0, "maximum": max}, {"type": "string", "pattern": pattern}]})
}

fn enumeration(kind: &EnumDescriptor, way: Way) -> Value {
    let names: Vec<_> = kind.values().map(|value| value.name().to_owned()).collect();
    let about: Vec<_> = kind
        .values()
        .map(|value| (value.name().to_owned(), comment(&kind.parent_file(), value.path())))
        .filter(|(_, about)| !about.is_empty())
        .map(|(name, about)| format!("{name}: {about}"))
        .collect();
    let text = json!({"type": "string", "enum": names, "description": about.join("\n")});
    match way {
        Way::Answer => text,
        Way::Request => {
            let numbers: Vec<_> = kind.values().map(|value| value.number()).collect();
            json!({"anyOf": [text, {"type": "integer", "enum": numbers}]})
        }
    }
}

/// Messages whose JSON is not that of their fields.
fn well_known(name: &str) -> Option<Value> {
    Some(match name {
        "google.protobuf.Duration" => json!({"type": "string", "pattern": DURATION}),
        "google.protobuf.Timestamp" => json!({"type": "string", "format": "date-time"}),
        "google.protobuf.Struct" => json!({"type": "object"}),
        "google.protobuf.Empty" => json!({"type": "object", "maxProperties": 0}),
        _ => return None,
    })
}

/// The schemas of `google.rpc.Status` and of the details that ours carry.
fn refusals() -> BTreeMap<String, Value> {
    let type_url = |name: &str| json!({"const": format!("type.googleapis.com/google.rpc.{name}")});
    let text = || json!({"type": "string"});
    let status = json!({
        "type": "object",
        "description": "Why a call was refused: code and details are for programs, the message is for people.",
        "required": ["code", "message", "details"],
        "properties": {
            "code": {"type": "integer", "description": "The code of gRPC.", "minimum": 1, "maximum": 16},
            "message": text(),
            "details": {"type": "array", "items": {"anyOf": [
                {"$ref": "#/components/schemas/ErrorInfo"},
                {"$ref": "#/components/schemas/BadRequest"},
            ]}},
        },
    });
    let error_info = json!({
        "type": "object",
        "description": "The reason, and the values that a program needs to go on.",
        "required": ["@type", "reason", "domain", "metadata"],
        "properties": {
            "@type": type_url("ErrorInfo"),
            "reason": {"type": "string", "pattern": "^[A-Z][A-Z_]*$"},
            "domain": {"const": crate::proto::ERROR_DOMAIN},
            "metadata": {"type": "object", "additionalProperties": text()},
        },
    });
    let bad_request = json!({
        "type": "object",
        "description": "The fields that make no sense.",
        "required": ["@type", "fieldViolations"],
        "properties": {
            "@type": type_url("BadRequest"),
            "fieldViolations": {"type": "array", "items": {
                "type": "object",
                "required": ["field", "description"],
                "properties": {"field": text(), "description": text()},
            }},
        },
    });
    let named = [("Status", status), ("ErrorInfo", error_info), ("BadRequest", bad_request)];
    named.map(|(name, schema)| (name.to_owned(), schema)).into()
}

/// Reads the comment above something in a proto file, on one line.
pub fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let locations = file.file_descriptor_proto().source_code_info.iter().flat_map(|info| &info.location);
    let comment = locations.into_iter().find(|location| location.path == path).map(Location::leading_comments);
    comment.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}
