//! Where a coordinator is.

use tonic::codegen::http::Uri;

use super::Error;

/// Parses `http://host:port`, `https://host:port` or `host:port`.
pub(super) fn parse(text: &str) -> Result<Uri, Error> {
    let problem = |problem: &str| Error::Address { given: text.to_owned(), problem: problem.to_owned() };
    let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let uri: Uri = url.parse().map_err(|error| problem(&format!("{error}")))?;
    match (uri.scheme_str(), uri.port_u16(), uri.path(), uri.query()) {
        (Some("http" | "https"), Some(1..), "" | "/", None) => Ok(uri),
        (Some("http" | "https"), None | Some(0), ..) => Err(problem("it has no port")),
        (Some("http" | "https"), ..) => Err(problem("it has a path")),
        _ => Err(problem("it has to begin with http:// or https://")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_a_port_are_understood() {
        for text in ["127.0.0.1:7070", "http://127.0.0.1:7070", "http://127.0.0.1:7070/"] {
            assert_eq!(parse(text).unwrap(), "http://127.0.0.1:7070/", "{text}");
        }
        assert_eq!(parse("gates.example.org:80").unwrap(), "http://gates.example.org:80/");
        assert_eq!(parse("https://gates.example.org:443").unwrap(), "https://gates.example.org:443/");
        assert_eq!(parse("[::1]:7070").unwrap(), "http://[::1]:7070/");
    }

    #[test]
    fn other_addresses_are_refused() {
        for text in [
            "",
            "localhost",
            "http://",
            "localhost:0",
            "localhost:x",
            "ftp://a:1",
            "https://a",
            "http://a:1/b",
            "a:1?b",
            "a b:1",
        ] {
            assert!(matches!(parse(text), Err(Error::Address { .. })), "{text}");
        }
    }
}
