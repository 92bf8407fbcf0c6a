//! Where coordinators are.

use tonic::codegen::http::Uri;

use super::Error;

/// Parses one address, or some with commas between: all of them with TLS or none, and each once.
pub(super) fn parse_all(text: &str) -> Result<Vec<Uri>, Error> {
    let problem = |problem: String| Err(Error::Address { given: text.to_owned(), problem });
    let parts: Vec<_> = text.split(',').map(str::trim).collect();
    if parts.len() > 1 && parts.contains(&"") {
        return problem("an address is missing beside a comma".to_owned());
    }
    let uris = parts.into_iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    if uris.iter().any(|uri| uri.scheme() != uris[0].scheme()) {
        return problem("it mixes http:// and https://".to_owned());
    }
    let is_repeated = |at: &usize| uris[..*at].contains(&uris[*at]);
    match (0..uris.len()).find(is_repeated) {
        Some(at) => problem(format!("it names {} twice", shown(&uris[at]))),
        None => Ok(uris),
    }
}

/// Returns an address as people write it.
pub(super) fn shown(uri: &Uri) -> String {
    uri.to_string().trim_end_matches('/').to_owned()
}

/// Parses `http://host:port`, `https://host:port` or `host:port`.
fn parse(text: &str) -> Result<Uri, Error> {
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

    #[test]
    fn several_addresses_are_understood() {
        let shown: Vec<_> = parse_all("a:1, http://b:2/ ,[::1]:3").unwrap().iter().map(shown).collect();
        assert_eq!(shown, ["http://a:1", "http://b:2", "http://[::1]:3"]);
        assert_eq!(parse_all(" a:1 ").unwrap().len(), 1);
    }

    #[test]
    fn addresses_that_do_not_go_together_are_refused() {
        for (text, problem) in [
            ("a:1,", "an address is missing beside a comma"),
            (",", "an address is missing beside a comma"),
            ("a:1,,b:1", "an address is missing beside a comma"),
            ("a:1,https://b:1", "it mixes http:// and https://"),
            ("a:1,b:1,http://A:1/", "it names http://a:1 twice"),
        ] {
            let error = parse_all(text).unwrap_err().to_string();
            assert_eq!(
                error.to_lowercase(),
                format!("{text:?} is not the address of a coordinator: {problem}").to_lowercase()
            );
        }
        // The one that is wrong is named.
        assert!(parse_all("a:1,b").unwrap_err().to_string().starts_with("\"b\" is not"));
    }
}
