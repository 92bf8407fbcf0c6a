//! The configuration file: what is too long for flags, as TOML.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::webhook::Webhook;
use crate::policy;

/// The file, as written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Where people reach the coordinator, for the links in notifications. Not set: the address that it listens on.
    pub public_url: Option<String>,
    /// Rules that decide gates, in the order in which they are asked.
    #[serde(default)]
    pub rule: Vec<policy::Settings>,
    /// Who is told what happens to gates.
    #[serde(default)]
    pub webhook: Vec<Webhook>,
}

/// Why the file cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not the TOML that is expected.
    #[error("{} is no configuration of gatepost: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        problem: String,
    },
}

/// Reads a file.
///
/// # Errors
///
/// If it cannot be read, or says something that is not known.
pub fn read(path: &Path) -> Result<File, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Unreadable { path: path.into(), source })?;
    toml::from_str(&text).map_err(|error| {
        // Its own text would show the line, and there may be a secret in it.
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let problem = format!("line {}: {}", before.matches('\n').count() + 1, error.message());
        Error::Malformed { path: path.into(), problem }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<File, Error> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gatepost.toml");
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn an_empty_file_says_nothing() {
        assert_eq!(read_text("").unwrap().public_url, None);
    }

    #[test]
    fn what_is_not_known_is_refused_with_its_place() {
        let error = read_text("public_url = \"http://gates.test\"\npublik = 1\n").unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("publik"), "{error}");
    }

    #[test]
    fn an_error_shows_no_secret() {
        let error = read_text("[[webhook]]\nname = 'a'\nsecrett = 'whsec_0123'\n").unwrap_err().to_string();
        assert!(error.contains("line 3: unknown field `secrett`") && !error.contains("whsec"), "{error}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read(Path::new("nowhere/gatepost.toml")).unwrap_err().to_string();
        assert!(error.starts_with("nowhere/gatepost.toml cannot be read: "), "{error}");
    }
}
