//! What the document says of sessions and of who calls, which no message describes.

use serde_json::{Value, json};

use super::super::session::{COOKIE, COOKIE_WITH_TLS};

/// How callers say who they are. Where nobody is asked, nothing is needed.
pub fn security() -> Value {
    json!([{}, {"token": []}, {"certificate": []}, {"session": []}, {"sessionWithTls": []}])
}

/// What [`security`] names.
pub fn schemes() -> Value {
    let cookie =
        |name: &str| json!({"type": "apiKey", "in": "cookie", "name": name, "description": "A browser's session."});
    json!({
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "A token of the configuration, or a JWT of the issuer that it trusts.",
        },
        "certificate": {"type": "mutualTLS", "description": "A certificate that names a principal."},
        "session": cookie(COOKIE),
        "sessionWithTls": cookie(COOKIE_WITH_TLS),
    })
}

/// The operations of its path.
pub fn operations() -> Value {
    let principal = json!({"type": "string", "description": "Who calls; `anonymous` where nobody is asked."});
    json!({
        "get": {
            "operationId": "GetSession",
            "summary": "Says who calls",
            "description": "Says who calls, as their page wants to know it.",
            "parameters": [],
            "responses": responses(&["400", "401", "403", "429"], "Who calls.", &json!({
                "principal": principal,
                "groups": {"type": "array", "items": {"type": "string"}, "description": "The groups that they belong to."},
                "asks": {"type": "boolean", "description": "Whether callers have to say who they are."},
                "session": {"type": "boolean", "description": "Whether they have shown a session."},
                "insecure": {
                    "type": "boolean",
                    "description": "Whether other machines reach the server and nothing protects it.",
                },
            })),
        },
        "post": {
            "operationId": "BeginSession",
            "summary": "Begins the session of a browser",
            "description": "Takes a token, or a JWT, and answers with a cookie that says the same until it expires: after 12 \
                hours at the latest, and with what was shown. No script can read it.",
            "security": [],
            "parameters": [],
            "requestBody": {"required": true, "content": {"application/json": {"schema": {
                "type": "object",
                "required": ["token"],
                "properties": {"token": {"type": "string"}},
                "additionalProperties": false,
            }}}},
            "responses": responses(&["400", "401", "403", "413"], "The session has begun.", &json!({"principal": principal})),
        },
        "delete": {
            "operationId": "EndSession",
            "summary": "Ends the session of a browser",
            "description": "Has the browser forget its session, if it has one.",
            "security": [],
            "parameters": [],
            "responses": responses(&["403"], "There is no session.", &json!({})),
        },
    })
}

fn responses(refusals: &[&str], about: &str, properties: &Value) -> Value {
    let names: Vec<_> = properties.as_object().into_iter().flat_map(serde_json::Map::keys).collect();
    let schema = json!({"type": "object", "required": names, "properties": properties, "additionalProperties": false});
    let refusals = refusals.iter().map(|code| ((*code).to_owned(), super::refusal(code)));
    let mut responses: serde_json::Map<_, _> = refusals.collect();
    let success = json!({"description": about, "content": {"application/json": {"schema": schema}}});
    responses.insert("200".to_owned(), success);
    Value::Object(responses)
}
