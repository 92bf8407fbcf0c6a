//! Certificates for tests.

#![allow(dead_code, reason = "no binary needs all of it")]

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType};

/// A root that gives certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> Vec<u8> {
        self.0.pem().into_bytes()
    }

    /// Gives a certificate and its key, in PEM.
    fn certificate(&self, name: &str, uri: Option<&str>, purpose: ExtendedKeyUsagePurpose) -> (Vec<u8>, Vec<u8>) {
        let mut params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        if let Some(uri) = uri {
            params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
        }
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem().into_bytes(), key.serialize_pem().into_bytes())
    }

    pub fn server(&self) -> (Vec<u8>, Vec<u8>) {
        self.certificate("gatepost", None, ExtendedKeyUsagePurpose::ServerAuth)
    }

    pub fn client(&self, name: &str) -> (Vec<u8>, Vec<u8>) {
        self.certificate(name, None, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// Gives a client a certificate that names it by a URI.
    pub fn workload(&self, uri: &str) -> (Vec<u8>, Vec<u8>) {
        self.certificate("workload", Some(uri), ExtendedKeyUsagePurpose::ClientAuth)
    }
}
