//! Certificates of clients: who they name. The handshake has verified where they come from.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::{Unauthenticated, Verified, principal, verified};
use crate::domain::{Authentication, Group};

/// How certificates of clients are read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Certificates {
    /// What names the principal.
    #[serde(default)]
    pub principal: NameField,
    /// What is put before it.
    #[serde(default)]
    pub principal_prefix: String,
    /// What names groups; none: nothing does.
    pub groups: Option<GroupsField>,
    /// What is put before each of them.
    #[serde(default)]
    pub groups_prefix: String,
}

/// What of a certificate names the principal, if there is one of its kind alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NameField {
    /// The URI among the subject's alternative names, such as a SPIFFE id.
    #[default]
    Uri,
    /// The name of a host among them.
    Dns,
    /// The e-mail address among them.
    Email,
    /// The subject's common name.
    CommonName,
}

/// What of a certificate names groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupsField {
    /// Each organizational unit of the subject.
    OrganizationalUnit,
}

impl Certificates {
    /// Says whom a certificate names. It is looked at for every call: its time may end while the connection lasts.
    pub(super) fn verify(&self, der: &CertificateDer<'_>, now: SystemTime) -> Result<Verified, Unauthenticated> {
        let malformed = |_| Unauthenticated::MalformedCertificate;
        let (_, certificate) = X509Certificate::from_der(der).map_err(malformed)?;
        let seconds = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
        let expires = UNIX_EPOCH + Duration::from_secs(seconds);
        if expires < now {
            return Err(Unauthenticated::ExpiredCertificate);
        }
        let name = self.name(&certificate)?.ok_or(Unauthenticated::NamelessCertificate)?;
        let name = format!("{}{name}", self.principal_prefix);
        let principal = principal(&name).map_err(|_| Unauthenticated::NamelessCertificate)?;
        let units = certificate.subject().iter_organizational_unit().filter(|_| self.groups.is_some());
        let group = |unit: &str| Group::parse(&format!("{}{unit}", self.groups_prefix)).ok();
        let groups: BTreeSet<_> = units.filter_map(|unit| group(unit.as_str().ok()?)).collect();
        let verified = verified(principal, groups, Authentication::Certificate);
        Ok(Verified { expires: Some(expires), ..verified })
    }

    fn name<'a>(&self, certificate: &'a X509Certificate<'_>) -> Result<Option<&'a str>, Unauthenticated> {
        if self.principal == NameField::CommonName {
            let name = alone(certificate.subject().iter_common_name());
            return Ok(name.and_then(|name| name.as_str().ok()));
        }
        let names = certificate.subject_alternative_name().map_err(|_| Unauthenticated::MalformedCertificate)?;
        let names = names.iter().flat_map(|names| &names.value.general_names);
        Ok(alone(names.filter_map(|name| match (self.principal, name) {
            (NameField::Uri, GeneralName::URI(name))
            | (NameField::Dns, GeneralName::DNSName(name))
            | (NameField::Email, GeneralName::RFC822Name(name)) => Some(*name),
            _ => None,
        })))
    }
}

/// Returns the only one there is: which of several is meant would be a guess, and SPIFFE has two URIs refused.
fn alone<T>(mut all: impl Iterator<Item = T>) -> Option<T> {
    let first = all.next();
    first.filter(|_| all.next().is_none())
}

#[cfg(test)]
pub(super) mod tests;
