//! Whom certificates name.

use rcgen::string::Ia5String;
use rcgen::{CertificateParams, DnType, KeyPair, SanType};

use super::*;

/// Makes a certificate that ends in 2030.
pub(in crate::auth) fn certificate(say: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
    let mut params = CertificateParams::default();
    params.not_after = rcgen::date_time_ymd(2030, 1, 1);
    say(&mut params);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
}

/// 2030-01-01.
const END: Duration = Duration::from_secs(1_893_456_000);

fn text(text: &str) -> Ia5String {
    text.try_into().unwrap()
}

fn full() -> CertificateDer<'static> {
    certificate(|params| {
        params.subject_alt_names = vec![
            SanType::DnsName(text("host.test")),
            SanType::Rfc822Name(text("alice@test")),
            SanType::URI(text("spiffe://prod/alice")),
        ];
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "Alice");
        params.distinguished_name.push(DnType::OrganizationalUnitName, "ops");
    })
}

fn verify(settings: &Certificates, certificate: &CertificateDer<'_>) -> Result<Verified, Unauthenticated> {
    settings.verify(certificate, UNIX_EPOCH + END)
}

#[test]
fn the_field_that_is_configured_names_the_principal() {
    for (field, name) in [
        (NameField::Uri, "spiffe://prod/alice"),
        (NameField::Dns, "host.test"),
        (NameField::Email, "alice@test"),
        (NameField::CommonName, "Alice"),
    ] {
        let settings = Certificates { principal: field, ..Certificates::default() };
        let verified = verify(&settings, &full()).unwrap();
        assert_eq!(verified.identity.principal.as_str(), name);
        assert_eq!(verified.identity.authentication, Authentication::Certificate);
        assert!(verified.identity.groups.is_empty() && verified.token.is_none());
        assert_eq!(verified.expires, Some(UNIX_EPOCH + END));
        let prefixed = Certificates { principal_prefix: "x509:".into(), ..settings };
        let verified = verify(&prefixed, &full()).unwrap();
        assert_eq!(verified.identity.principal.as_str(), format!("x509:{name}"));
    }
}

#[test]
fn organizational_units_are_groups_if_asked_for() {
    let settings = Certificates { groups: Some(GroupsField::OrganizationalUnit), ..Certificates::default() };
    let groups = verify(&settings, &full()).unwrap().identity.groups;
    assert_eq!(groups.iter().map(Group::as_str).collect::<Vec<_>>(), ["ops"]);
    let prefixed = Certificates { groups_prefix: "x509:".into(), ..settings };
    let groups = verify(&prefixed, &full()).unwrap().identity.groups;
    assert_eq!(groups.iter().map(Group::as_str).collect::<Vec<_>>(), ["x509:ops"]);
}

#[test]
fn a_certificate_without_the_field_names_nobody() {
    let plain = certificate(|params| params.distinguished_name = rcgen::DistinguishedName::new());
    for field in [NameField::Uri, NameField::Dns, NameField::Email, NameField::CommonName] {
        let settings = Certificates { principal: field, ..Certificates::default() };
        assert_eq!(verify(&settings, &plain).unwrap_err(), Unauthenticated::NamelessCertificate, "{field:?}");
    }
    let anonymous = certificate(|params| {
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "anonymous");
    });
    let settings = Certificates { principal: NameField::CommonName, ..Certificates::default() };
    assert_eq!(verify(&settings, &anonymous).unwrap_err(), Unauthenticated::NamelessCertificate);
}

#[test]
fn which_of_two_common_names_is_meant_is_not_guessed() {
    let two = certificate(|params| {
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "alice");
        params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 3]), "bob");
    });
    let settings = Certificates { principal: NameField::CommonName, ..Certificates::default() };
    assert_eq!(verify(&settings, &two).unwrap_err(), Unauthenticated::NamelessCertificate);
}

#[test]
fn which_of_two_alternative_names_of_a_kind_is_meant_is_not_guessed() {
    let two = certificate(|params| {
        params.subject_alt_names = vec![
            SanType::URI(text("spiffe://prod/alice")),
            SanType::URI(text("spiffe://prod/bob")),
            SanType::DnsName(text("alice.test")),
            SanType::DnsName(text("bob.test")),
            SanType::Rfc822Name(text("alice@test")),
            SanType::Rfc822Name(text("bob@test")),
        ];
    });
    for field in [NameField::Uri, NameField::Dns, NameField::Email] {
        let settings = Certificates { principal: field, ..Certificates::default() };
        assert_eq!(verify(&settings, &two).unwrap_err(), Unauthenticated::NamelessCertificate, "{field:?}");
    }
}

#[test]
fn a_certificate_whose_time_is_over_names_nobody_however_old_the_connection() {
    let later = UNIX_EPOCH + END + Duration::from_secs(1);
    let expired = Certificates::default().verify(&full(), later).unwrap_err();
    assert_eq!(expired, Unauthenticated::ExpiredCertificate);
}

#[test]
fn what_is_no_certificate_names_nobody() {
    let malformed = verify(&Certificates::default(), &CertificateDer::from(&b"nothing"[..])).unwrap_err();
    assert_eq!(malformed, Unauthenticated::MalformedCertificate);
}
