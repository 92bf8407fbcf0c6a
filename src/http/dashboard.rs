//! The dashboard: pages for people, made of files that are part of the program.
//!
//! They are what `dashboard/` holds. A page asks the JSON API for all that it shows, and nothing else: no other host, and
//! no script or style that is not a file here.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use sha2::{Digest, Sha256};

use super::status;

/// A file, as it is served.
struct File {
    path: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The page for every path below; its script looks at the path.
const SHELL: File = File { path: "/", kind: "text/html; charset=utf-8", bytes: include_bytes!("dashboard/index.html") };
/// What is below it is the name of a gate, whose page it is.
const GATES: &str = "/gates/";

/// What the page is made of.
const ASSETS: [File; 14] = [
    File { path: "/assets/icon.svg", kind: "image/svg+xml", bytes: include_bytes!("dashboard/icon.svg") },
    File { path: "/assets/style.css", kind: "text/css; charset=utf-8", bytes: include_bytes!("dashboard/style.css") },
    script("/assets/api.js", include_bytes!("dashboard/api.js")),
    script("/assets/clock.js", include_bytes!("dashboard/clock.js")),
    script("/assets/connection.js", include_bytes!("dashboard/connection.js")),
    script("/assets/decision.js", include_bytes!("dashboard/decision.js")),
    script("/assets/dom.js", include_bytes!("dashboard/dom.js")),
    script("/assets/gate.js", include_bytes!("dashboard/gate.js")),
    script("/assets/list_page.js", include_bytes!("dashboard/list_page.js")),
    script("/assets/gate_page.js", include_bytes!("dashboard/gate_page.js")),
    script("/assets/live.js", include_bytes!("dashboard/live.js")),
    script("/assets/login.js", include_bytes!("dashboard/login.js")),
    script("/assets/main.js", include_bytes!("dashboard/main.js")),
    script("/assets/session.js", include_bytes!("dashboard/session.js")),
];

/// What a browser may do with each file. Text that would become markup is refused by the browser itself.
const HEADERS: [(HeaderName, &str); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    // Kept, but asked for again each time: a newer program may serve other files.
    (header::CACHE_CONTROL, "no-cache"),
];

const fn script(path: &'static str, bytes: &'static [u8]) -> File {
    File { path, kind: SCRIPT, bytes }
}

/// Answers a request for a file; none if the path is none of the dashboard's.
pub fn answer(request: &Request) -> Option<Response> {
    let file = find(request.uri().path())?;
    Some(match *request.method() {
        Method::GET => response(file, request.headers(), true),
        Method::HEAD => response(file, request.headers(), false),
        _ => status::method_not_allowed(&[Method::GET, Method::HEAD]),
    })
}

/// Says whether a request asks for a file, which says nothing about any gate.
pub fn is_file(method: &Method, path: &str) -> bool {
    [Method::GET, Method::HEAD].contains(method) && find(path).is_some()
}

fn find(path: &str) -> Option<&'static File> {
    let is_page = path == SHELL.path || path.strip_prefix(GATES).is_some_and(|gate| !gate.is_empty());
    if is_page { Some(&SHELL) } else { ASSETS.iter().find(|file| file.path == path) }
}

fn response(file: &File, asked: &HeaderMap, with_body: bool) -> Response {
    let etag = etag(file.bytes);
    let known = asked.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes());
    let mut response = Response::new(if with_body && !known { Body::from(file.bytes) } else { Body::empty() });
    let headers = response.headers_mut();
    headers.extend(HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.kind));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(header::ETAG, etag);
    }
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        headers.insert(header::CONTENT_LENGTH, file.bytes.len().into());
    }
    response
}

/// Names the content of a file.
fn etag(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    format!("\"{:x}\"", u128::from_be_bytes(std::array::from_fn(|index| digest[index])))
}
