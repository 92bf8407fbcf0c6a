//! Which of what is shown counts.

use std::time::{Duration, UNIX_EPOCH};

use super::tokens::Token;
use super::*;

const NOW: Duration = Duration::from_secs(1_800_000_000);

fn token(principal: &str, expires: Option<Duration>) -> Token {
    let principal = self::principal(principal).unwrap();
    Token { principal, groups: BTreeSet::new(), expires: expires.map(|expires| UNIX_EPOCH + expires) }
}

fn settings() -> Settings {
    let mut tokens = Tokens::default();
    tokens.add(TokenDigest::of("gp_alice"), token("alice", None)).unwrap();
    Settings { tokens, certificates: Some(Certificates::default()), ..Settings::default() }
}

fn shown(settings: Settings, bearer: Option<&str>, certificate: Option<&CertificateDer<'_>>) -> String {
    let authenticator = Authenticator::new(settings).unwrap();
    match authenticator.authenticate(&Shown { bearer, certificate }, UNIX_EPOCH + NOW) {
        Ok(verified) => format!("{} {:?}", verified.identity.principal, verified.identity.authentication),
        Err(problem) => format!("{problem:?}"),
    }
}

#[test]
fn a_token_goes_before_a_certificate_and_a_wrong_one_is_refused_whatever_the_certificate_says() {
    let certificate = &certificates::tests::certificate(|params| {
        params.subject_alt_names = vec![rcgen::SanType::URI("spiffe://prod/bob".try_into().unwrap())];
    });
    assert_eq!(shown(settings(), None, Some(certificate)), "spiffe://prod/bob Certificate");
    assert_eq!(shown(settings(), Some("gp_alice"), Some(certificate)), "alice Token");
    for wrong in ["gp_bob", "", "a.b.c"] {
        assert_eq!(shown(settings(), Some(wrong), Some(certificate)), "UnknownToken", "{wrong}");
    }
    assert_eq!(shown(settings(), None, None), "Nothing");
    let without = Settings { certificates: None, ..settings() };
    assert_eq!(shown(without, None, Some(certificate)), "Nothing", "certificates name nobody unless they are to");
}

#[test]
fn whom_a_certificate_named_by_other_settings_is_no_longer_known() {
    fn read(change: fn(&mut Certificates)) -> Authenticator {
        let mut certificates = Certificates::default();
        change(&mut certificates);
        Authenticator::new(Settings { certificates: Some(certificates), ..Settings::default() }).unwrap()
    }
    let certificate = &certificates::tests::certificate(|params| {
        params.subject_alt_names = vec![rcgen::SanType::URI("spiffe://prod/bob".try_into().unwrap())];
    });
    let shown = Shown { bearer: None, certificate: Some(certificate) };
    let verified = read(|_| {}).authenticate(&shown, UNIX_EPOCH + NOW).unwrap();
    assert!(read(|_| {}).identity(&verified).is_ok(), "it is known wherever the settings are the same");
    let changes: [fn(&mut Certificates); 4] = [
        |settings| settings.principal = certificates::NameField::Email,
        |settings| settings.principal_prefix = "x509:".into(),
        |settings| settings.groups = Some(certificates::GroupsField::OrganizationalUnit),
        |settings| settings.groups_prefix = "x509:".into(),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        assert_eq!(read(change).identity(&verified), Err(Unauthenticated::Nothing), "{number}");
    }
}

#[test]
fn a_token_is_known_until_it_expires() {
    let mut tokens = Tokens::default();
    let end = NOW + Duration::from_secs(1);
    tokens.add(TokenDigest::of("gp_alice"), token("alice", Some(end))).unwrap();
    let verify = |now: Duration| tokens.verify("gp_alice", UNIX_EPOCH + now);
    let verified = verify(NOW).unwrap();
    assert_eq!((verified.token, verified.expires), (Some(TokenDigest::of("gp_alice")), Some(UNIX_EPOCH + end)));
    assert_eq!(verify(end).unwrap_err(), Unauthenticated::ExpiredToken);
    assert_eq!(tokens.verify("gp_alicf", UNIX_EPOCH + NOW).unwrap_err(), Unauthenticated::UnknownToken);
    assert_eq!(tokens.add(TokenDigest::of("gp_alice"), token("bob", None)), Err(token("alice", Some(end))));
}

#[test]
fn a_token_that_is_made_is_new_and_found_by_its_digest() {
    let (one, other) = (tokens::generate().unwrap(), tokens::generate().unwrap());
    assert!(one.starts_with("gp_") && one.len() == 3 + 64 && one != other && !jwt::is_jwt(&one));
    let digest = TokenDigest::of(&one);
    assert_eq!(TokenDigest::from_hex(&digest.to_hex()), Some(digest));
    // The example of FIPS 180.
    let example = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(TokenDigest::of("abc").to_hex(), example);
    assert!(!format!("{digest:?}").contains(&digest.to_hex()[..8]));
}

#[test]
fn nobody_is_called_like_those_who_were_not_verified_or_like_a_group() {
    assert_eq!(principal("spiffe://prod/ci").unwrap().as_str(), "spiffe://prod/ci");
    for name in ["", "anonymous", "group:ops", "a\nb", &"x".repeat(256)] {
        assert!(principal(name).is_err(), "{name}");
    }
}
