//! Where a cluster is, and who the coordinator is to it.

use std::fmt;

/// Where a cluster is, and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its members, each as `http://host:port` or `https://host:port`.
    pub endpoints: Vec<String>,
    /// What all keys begin with.
    pub prefix: String,
    /// What is trusted and shown where a member is reached by `https`.
    pub tls: Tls,
    /// Who the coordinator is to etcd; none where it does not ask.
    pub login: Option<Login>,
}

/// What is trusted, and shown of oneself.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// The roots that the certificates of members lead to, in PEM. None: those of the system.
    pub ca: Option<Vec<u8>>,
    /// The coordinator's own certificate and its private key, each in PEM.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// A user of etcd.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
}

/// The key is a secret.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ca, identity) = (self.ca.is_some(), self.identity.is_some());
        f.debug_struct("Tls").field("ca", &ca).field("identity", &identity).finish_non_exhaustive()
    }
}

/// The password is a secret.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}
