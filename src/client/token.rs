//! The token that goes with each call.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};

use super::Error;

/// What a client shows of itself: a token of the coordinator's configuration, or a JWT of an issuer that it trusts.
#[derive(Clone)]
pub struct Token {
    source: Source,
    over_http: bool,
}

#[derive(Clone)]
enum Source {
    Text(String),
    File(PathBuf),
}

impl Token {
    /// Takes a token as it is.
    #[must_use]
    pub fn new(token: impl Into<String>) -> Self {
        Self { source: Source::Text(token.into()), over_http: false }
    }

    /// Takes the token that is in a file, which is read for each call: it may be replaced while the client is used.
    #[must_use]
    pub fn in_file(path: impl Into<PathBuf>) -> Self {
        Self { source: Source::File(path.into()), over_http: false }
    }

    /// Lets it be sent over plain HTTP to other hosts too, where whoever is in between can read it.
    #[must_use]
    pub fn even_over_http(self) -> Self {
        Self { over_http: true, ..self }
    }

    /// Checks that it is a token, and one that may be sent to an address.
    pub(super) fn check(&self, address: &str) -> Result<(), Error> {
        let refuse = |problem: String| Err(Error::Token { problem });
        if !self.over_http && !address.starts_with("https://") && !is_loopback(address) {
            return refuse(format!("it would go to {address} readable for whoever is in between: use https://"));
        }
        self.header().map(drop).or_else(refuse)
    }

    fn header(&self) -> Result<MetadataValue<Ascii>, String> {
        let text = match &self.source {
            Source::Text(text) => text.clone(),
            Source::File(path) => {
                std::fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?
            }
        };
        let token = text.trim();
        let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        let header = is_token.then(|| format!("Bearer {token}").parse().ok()).flatten();
        let mut header: MetadataValue<Ascii> =
            header.ok_or("it is empty, or has a space or another character that no token has")?;
        header.set_sensitive(true);
        Ok(header)
    }
}

/// Shows nothing of the token.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Text(_) => f.write_str("Token"),
            Source::File(path) => f.debug_tuple("Token").field(path).finish(),
        }
    }
}

/// Puts the token into each call, if there is one.
#[derive(Clone, Debug, Default)]
pub(super) struct Bearer(pub Option<Token>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            let header = token
                .header()
                .map_err(|problem| Status::unauthenticated(format!("the token cannot be used: {problem}")))?;
            request.metadata_mut().insert("authorization", header);
        }
        Ok(request)
    }
}

/// Says whether an address is one of this host, which nobody is between.
fn is_loopback(address: &str) -> bool {
    let authority = address.trim_start_matches("http://").trim_end_matches('/');
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_encrypted_or_stays_on_this_host() {
        let token = Token::new("gp_secret");
        for address in
            ["https://gates.test:443", "http://127.0.0.1:7070", "http://[::1]:7070", "http://localhost:7070/"]
        {
            assert!(token.check(address).is_ok(), "{address}");
        }
        for address in
            ["http://gates.test:7070", "http://127.0.0.1.gates.test:1", "http://10.0.0.1:1", "http://[::2]:1"]
        {
            let error = token.check(address).unwrap_err().to_string();
            assert!(error.contains("https://") && !error.contains("secret"), "{error}");
            assert!(token.clone().even_over_http().check(address).is_ok(), "{address}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused_and_none_is_shown() {
        for text in ["", " ", "gp_a b", "gp_a\nb", "gp_é"] {
            assert!(Token::new(text).check("https://a:1").is_err(), "{text:?}");
        }
        let missing = Token::in_file("no-such-file").check("https://a:1").unwrap_err().to_string();
        assert!(missing.contains("no-such-file cannot be read"), "{missing}");
        let shown = format!("{:?} {:?}", Token::new("gp_secret"), Token::new("gp_secret").header().unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }

    #[test]
    fn a_file_is_read_for_each_call() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut bearer = Bearer(Some(Token::in_file(file.path())));
        for text in ["gp_one\n", "gp_other"] {
            std::fs::write(&file, text).unwrap();
            let request = bearer.call(Request::new(())).unwrap();
            let header = request.metadata().get("authorization").unwrap();
            assert_eq!(header.to_str().unwrap(), format!("Bearer {}", text.trim()));
        }
        std::fs::write(&file, "").unwrap();
        assert_eq!(bearer.call(Request::new(())).unwrap_err().code(), tonic::Code::Unauthenticated);
        assert!(Bearer(None).call(Request::new(())).unwrap().metadata().is_empty());
    }
}
