//! The names that the coordinator is reached by.

use crate::webhooks;

/// A name that no request is sent to.
#[derive(Debug, thiserror::Error)]
#[error("hosts: {0:?} is no name of a host: write it as gates.example.org, without a port")]
pub struct Error(String);

/// Reads the names, and adds the one of `public_url`.
///
/// # Errors
///
/// If one is more, or less, than the name of a host.
pub fn validated(hosts: Vec<String>, public_url: Option<&str>) -> Result<Vec<String>, Error> {
    // A name is what a URL of it names, and nothing is left over.
    let is_name =
        |host: &str| host_of(&format!("http://{host}/")).is_some_and(|found| found.eq_ignore_ascii_case(host));
    match hosts.iter().find(|host| !is_name(host)) {
        Some(host) => Err(Error(host.clone())),
        None => Ok(hosts.into_iter().chain(public_url.and_then(host_of)).collect()),
    }
}

fn host_of(url: &str) -> Option<String> {
    Some(webhooks::url(url).ok()?.host_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_hosts() {
        let names = |host: &str| validated(vec![host.to_owned()], Some("https://Gates.example.org:8443/x"));
        assert_eq!(names("gatepost").unwrap(), ["gatepost", "gates.example.org"]);
        assert_eq!(validated(Vec::new(), None).unwrap(), Vec::<String>::new());
        for host in ["", "https://a.org", "a.org:80", "a.org/x", "u@a.org", "a b", "*.a.org?", "a.org#x"] {
            assert!(names(host).unwrap_err().to_string().contains("gates.example.org"), "{host}");
        }
    }
}
