//! Each key of the tables of identities, and what is refused.

use super::*;
use crate::config::file;

const DIGEST: &str = "c775e7b757ede630cd0aa1113bd102661ab38829ca52a6422ab782862f268646";
const TOKEN: &str = "[[token]]\nprincipal = 'alice'\n";
const JWT: &str = "[jwt]\nissuer = 'https://id.test'\naudience = 'gatepost'\n";

/// Reads a file of this text, which may use `DIR` for where it is; what is wrong is told in full.
fn identities(text: &str) -> Result<auth::Settings, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gatepost.toml");
    std::fs::write(dir.path().join("digest"), format!("{DIGEST}\n")).unwrap();
    std::fs::write(&path, text.replace("DIR", dir.path().to_str().unwrap())).unwrap();
    let file = file::read(&path).map_err(|error| error.to_string())?;
    file.identities().map_err(|error| error.to_string())
}

fn names<'a, T: ToString + 'a>(names: impl IntoIterator<Item = &'a T>) -> Vec<String> {
    names.into_iter().map(ToString::to_string).collect()
}

#[test]
fn a_token_is_told_by_its_digest_here_or_elsewhere() {
    for digest in [format!("sha256 = '{DIGEST}'"), format!("sha256 = '{}'", DIGEST.to_uppercase())] {
        let tokens = identities(&format!("{TOKEN}{digest}")).unwrap().tokens;
        let token = tokens.iter().next().unwrap();
        assert_eq!((token.principal.as_str(), token.groups.len(), token.expires), ("alice", 0, None));
    }
    assert_eq!(identities(&format!("{TOKEN}sha256_file = 'DIR/digest'")).unwrap().tokens.len(), 1);
    let unset = identities(&format!("{TOKEN}sha256_env = 'GATEPOST_NO_SUCH_VARIABLE'")).unwrap_err();
    assert_eq!(unset, "[[token]] 1, of alice: its sha256_env GATEPOST_NO_SUCH_VARIABLE is not set");
}

#[test]
fn a_token_may_have_groups_and_an_end() {
    for time in ["'2027-01-31T12:00:00+01:00'", "2027-01-31T11:00:00Z"] {
        let text = format!("{TOKEN}sha256 = '{DIGEST}'\ngroups = ['ops', 'dev']\nexpires = {time}");
        let tokens = identities(&text).unwrap().tokens;
        let token = tokens.iter().next().unwrap();
        let expires: Timestamp = "2027-01-31T11:00:00Z".parse().unwrap();
        assert_eq!((names(&token.groups), token.expires), (vec!["dev".into(), "ops".into()], Some(expires.into())));
    }
}

#[test]
fn groups_are_those_of_their_members() {
    let token = format!("{TOKEN}sha256 = '{DIGEST}'\n");
    let group = |name: &str, members: &str| format!("[[group]]\nname = '{name}'\nmembers = {members}\n");
    let groups = group("ops", "['alice', 'bob']") + &group("dev", "['alice']");
    let groups = identities(&format!("{token}{groups}")).unwrap().groups;
    let of = |name: &str| groups.get(&principal(name).unwrap()).map(names).unwrap_or_default();
    assert_eq!((of("alice"), of("bob"), of("eve")), (vec!["dev".into(), "ops".into()], vec!["ops".into()], vec![]));
    let ops = group("ops", "[]");
    assert!(identities(&format!("{token}{ops}{ops}")).unwrap_err().contains("two groups are called ops"));
    assert!(identities(&ops).unwrap_err().contains("do nothing"));
}

#[test]
fn grants_are_read_and_checked() {
    let token = format!("{TOKEN}sha256 = '{DIGEST}'\n");
    let grant = "[[grant]]\nto = ['alice']\nroles = ['viewer']\non = ['prod']\n";
    let settings = identities(&format!("{token}{grant}")).unwrap();
    let alice = domain::Identity::from(principal("alice").unwrap());
    let gate = domain::GateName::parse("gate", "prod/x").unwrap();
    let sees = |gate| settings.grants.allows(&alice, crate::coordinator::Permission::View, gate);
    assert!(sees(Some(&gate)) && !sees(None));
    let error = identities(&format!("{token}{grant}{}", grant.replace("prod", "/"))).unwrap_err();
    assert!(error.starts_with("grant 2: on = "), "{error}");
    let error = identities(&format!("{token}{}", grant.replace("viewer", "king"))).unwrap_err();
    assert!(error.contains("line 6: roles: unknown variant `king`"), "{error}");
    assert!(identities(grant).unwrap_err().contains("do nothing"));
}

#[test]
fn certificates_are_read_as_configured() {
    use auth::certificates::{Certificates, GroupsField, NameField};
    let read = |text: &str| identities(text).unwrap().certificates.unwrap();
    assert_eq!(read("[certificates]"), Certificates::default());
    assert_eq!(Certificates::default().principal, NameField::Uri);
    for (name, field) in [
        ("uri", NameField::Uri),
        ("dns", NameField::Dns),
        ("email", NameField::Email),
        ("common_name", NameField::CommonName),
    ] {
        let principal = format!("[certificates]\nprincipal = '{name}'\nprincipal_prefix = 'x:'\n");
        let groups = "groups = 'organizational_unit'\ngroups_prefix = 'y:'";
        let expected = Certificates {
            principal: field,
            principal_prefix: "x:".to_owned(),
            groups: Some(GroupsField::OrganizationalUnit),
            groups_prefix: "y:".to_owned(),
        };
        assert_eq!(read(&format!("{principal}{groups}")), expected);
    }
}

#[test]
fn only_what_must_be_said_of_an_issuer_has_to_be() {
    let jwt = identities(&format!("{JWT}jwks_url = 'https://id.test/keys'")).unwrap().jwt.unwrap();
    let url = "https://id.test/keys".parse().unwrap();
    let expected = jwt::Settings {
        issuer: "https://id.test".into(),
        audiences: vec!["gatepost".into()],
        algorithms: vec![Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA],
        keys: Source::Url { url, refresh: Duration::from_secs(300) },
        leeway: Duration::from_secs(60),
        principal_claim: "sub".into(),
        principal_prefix: String::new(),
        groups_claim: "groups".into(),
        groups_prefix: String::new(),
    };
    assert_eq!(jwt, expected);
}

#[test]
fn everything_can_be_said_of_an_issuer() {
    let text = "[jwt]\nissuer = 'https://id.test'\naudience = ['a', 'b']\nalgorithms = ['PS512', 'ES384']\n\
                jwks_file = 'keys.json'\nleeway = '1s'\nprincipal_claim = 'email'\nprincipal_prefix = 'oidc:'\n\
                groups_claim = 'roles'\ngroups_prefix = 'idp:'\n";
    let expected = jwt::Settings {
        issuer: "https://id.test".into(),
        audiences: vec!["a".into(), "b".into()],
        algorithms: vec![Algorithm::PS512, Algorithm::ES384],
        keys: Source::File("keys.json".into()),
        leeway: Duration::from_secs(1),
        principal_claim: "email".into(),
        principal_prefix: "oidc:".into(),
        groups_claim: "roles".into(),
        groups_prefix: "idp:".into(),
    };
    assert_eq!(identities(text).unwrap().jwt.unwrap(), expected);
}

#[test]
fn keys_are_fetched_where_nobody_is_in_between() {
    let with = |keys: &str| identities(&format!("{JWT}{keys}"));
    for url in ["https://id.test/k?x=1", "http://127.0.0.1:1/k", "http://[::1]:1/k", "http://localhost/k"] {
        assert!(with(&format!("jwks_url = '{url}'\nrefresh = '10s'")).is_ok(), "{url}");
    }
    for url in ["http://id.test/k", "http://127.0.0.1.id.test/k", "http://localhost.id.test/k", "file:///k", "k"] {
        assert!(
            with(&format!("jwks_url = '{url}'")).unwrap_err().contains("jwks_url has to begin") || url == "k",
            "{url}"
        );
        assert!(with(&format!("jwks_url = '{url}'")).is_err(), "{url}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let keys = "jwks_file = 'k'\n";
    let group = format!("{TOKEN}sha256 = '{DIGEST}'\n[[group]]\n");
    for (text, problem) in [
        (TOKEN.to_owned(), "needs a sha256"),
        (format!("{TOKEN}sha256 = '{}'", &DIGEST[1..]), "64 hexadecimal digits"),
        (format!("{TOKEN}sha256 = '{}é'", &DIGEST[2..]), "64 hexadecimal digits"),
        (format!("{TOKEN}sha256 = '{DIGEST}'\nsha256_env = 'X'"), "only one of"),
        (
            format!("{TOKEN}sha256 = '{DIGEST}'\n{TOKEN}sha256 = '{DIGEST}'"),
            "[[token]] 2, of alice: it is also a token of",
        ),
        (format!("{TOKEN}sha = ''"), "line 3: unknown field `sha`"),
        (format!("{TOKEN}expires = 'soon'"), "line 3: expires: write the time with its offset"),
        (format!("{TOKEN}expires = 2027-01-31T00:00:00"), "line 3: expires: write the time with its offset"),
        (format!("{TOKEN}expires = 5"), "line 3: expires: write the time with its offset"),
        ("[[token]]\nprincipal = ''".to_owned(), "line 2: principal: "),
        ("[[token]]\nprincipal = 'anonymous'".to_owned(), "line 2: principal: anonymous is no name"),
        ("[[token]]\nprincipal = 'group:ops'".to_owned(), "line 2: principal: group:ops is no name"),
        (format!("{TOKEN}groups = ['authenticated']"), "line 3: groups: authenticated cannot be"),
        (format!("{group}name = 'authenticated'\nmembers = []"), "line 5: name: authenticated cannot be"),
        (format!("{group}name = 'a'\nmembers = ['group:b']"), "line 6: members: group:b is no name"),
        ("[certificates]\nprincipal = 'subject'".to_owned(), "line 2: principal: unknown variant `subject`"),
        (JWT.to_owned(), "one of jwks_file and jwks_url"),
        (format!("{JWT}{keys}jwks_url = 'https://k/'"), "one of jwks_file and jwks_url"),
        (format!("{JWT}{keys}refresh = '1m'"), "refresh is for jwks_url"),
        (format!("{JWT}jwks_url = 'https://k/'\nrefresh = '9s'"), "refresh has to be 10s or longer"),
        (format!("{JWT}{keys}leeway = '11m'"), "leeway has to be 600s or shorter"),
        (format!("{JWT}{keys}leeway = 'long'"), "line 5: leeway: write it as"),
        (format!("{JWT}{keys}algorithms = []"), "algorithms is empty"),
        (format!("{JWT}{keys}algorithms = ['HS256']"), "HS256 is no algorithm that is allowed"),
        (format!("{JWT}{keys}algorithms = ['none']"), "none is no algorithm that is allowed"),
        (format!("[jwt]\nissuer = ''\naudience = 'a'\n{keys}"), "an issuer and an audience"),
        (format!("[jwt]\nissuer = 'a'\naudience = []\n{keys}"), "an issuer and an audience"),
        (format!("[jwt]\nissuer = 'a'\naudience = ['a', '']\n{keys}"), "an issuer and an audience"),
        (format!("[jwt]\nissuer = 'a'\naudience = 5\n{keys}"), "line 3: audience: it has to be text"),
    ] {
        let error = identities(&text).unwrap_err();
        assert!(error.contains(problem), "{text}: {error}");
    }
}

#[test]
fn nothing_of_a_token_is_shown() {
    let digits = &DIGEST[4..60];
    for text in [
        format!("{TOKEN}sha256 = '{DIGEST}0'"),
        format!("{TOKEN}sha256 = {digits}"),
        format!("{TOKEN}sha256 = ['{DIGEST}']"),
        format!("{TOKEN}sha256 = 123456789\n"),
        format!("{TOKEN}sha256 = '{DIGEST}\n"),
        format!("{TOKEN}sha256 = '{DIGEST}'\n{TOKEN}sha256 = '{DIGEST}'"),
    ] {
        let error = identities(&text).unwrap_err();
        assert!(!error.contains(digits) && !error.contains("123456789"), "{text}: {error}");
    }
    let text = format!("{TOKEN}sha256 = '{DIGEST}'");
    let file: File = toml::from_str(&text).unwrap();
    let shown = format!("{file:?} {:?}", file.identities().unwrap());
    assert!(!shown.contains(digits), "{shown}");
}
