//! What is taken from where, and what is refused.

use super::*;

const TOKEN: &str = "[[token]]\nprincipal = 'alice'\nsha256 = \
    'c775e7b757ede630cd0aa1113bd102661ab38829ca52a6422ab782862f268646'\n";
const JWT: &str = "[jwt]\nissuer = 'https://id.test'\naudience = 'gatepost'\njwks_url = 'https://id.test/keys'\n";

fn args(listen: &str) -> ServeArgs {
    ServeArgs { listen: Some(listen.parse().unwrap()), ..ServeArgs::default() }
}

/// Reads flags and a file of this text.
fn config(text: &str, args: ServeArgs) -> Result<Config, Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gatepost.toml");
    std::fs::write(&path, text).unwrap();
    let config = Config::new(ServeArgs { config: Some(path), ..args });
    config.map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

#[test]
fn beyond_loopback_nobody_is_served_unasked_or_unencrypted_unless_insecure_is_given() {
    let file = || Some(PathBuf::from("x.pem"));
    let plain = ServeArgs::default();
    let tls = ServeArgs { tls_cert: file(), tls_key: file(), ..plain.clone() };
    let mutual = ServeArgs { tls_client_ca: file(), ..tls.clone() };
    for listen in ["127.0.0.1:7070", "127.8.8.8:0", "[::1]:7070"] {
        for identities in ["", TOKEN, JWT] {
            let config = config(identities, args(listen)).unwrap();
            assert_eq!(config.danger(), None, "{listen} {identities}");
        }
    }
    let (open, readable) = (Some("nothing protects it"), Some("without TLS"));
    for listen in ["0.0.0.0:7070", "[::]:7070", "192.168.1.2:7070"] {
        for (flags, identities, danger) in [
            (&plain, "", open),
            (&plain, TOKEN, readable),
            (&plain, JWT, readable),
            (&tls, "", open),
            (&tls, TOKEN, None),
            (&tls, JWT, None),
            (&mutual, "", None),
            (&mutual, "[certificates]", None),
        ] {
            let flags = ServeArgs { listen: args(listen).listen, ..flags.clone() };
            let insecure = ServeArgs { insecure: Some(true), ..flags.clone() };
            let (safely, anyway) = (config(identities, flags), config(identities, insecure).unwrap());
            match danger {
                None => assert!(safely.is_ok() && anyway.danger().is_none(), "{listen} {identities}: {safely:?}"),
                Some(danger) => {
                    let told = safely.unwrap_err().concat();
                    assert!(told.contains(danger) && told.contains("--insecure"), "{listen} {identities}: {told}");
                    assert!(anyway.danger().unwrap().to_string().contains(danger));
                }
            }
        }
    }
}

#[test]
fn flags_override_the_file_and_the_file_overrides_the_defaults() {
    let file = "public_url = 'https://gates.test'\n[server]\nlisten = '127.0.0.1:1'\ndrain_seconds = 0\ninsecure = true\n\
                [store]\ndata_dir = 'here'\ncache_mib = 3\nretention = 'forever'\nretention_events = 7\n\
                [tls]\ncert = 'c'\nkey = 'k'\nclient_ca = 'ca'\n[log]\nformat = 'json'\notlp_endpoint = 'http://o'\n";
    let told = |config: Config| {
        let Config { listen, is_insecure, drain, store, retention_age, retention_events, .. } = config;
        let Store::Sled { data_dir, cache_bytes } = store else { panic!("{store:?}") };
        let Config { tls, log_format, otlp_endpoint, .. } = config;
        let tls = tls.map(|TlsFiles { cert, key, client_ca, .. }| [Some(cert), Some(key), client_ca]);
        let server = format!("{listen} {is_insecure} {drain:?} {log_format:?} {otlp_endpoint:?} {tls:?}");
        format!("{server} {} {cache_bytes} {retention_age:?} {retention_events:?}", data_dir.display())
    };
    let defaults = told(Config::new(ServeArgs::default()).unwrap());
    assert_eq!(defaults, "127.0.0.1:7070 false 8s Text None None gatepost-data 67108864 Some(7776000s) None");
    let of_file = told(config(file, ServeArgs::default()).unwrap());
    assert_eq!(
        of_file,
        "127.0.0.1:1 true 0ns Json Some(\"http://o\") Some([Some(\"c\"), Some(\"k\"), Some(\"ca\")]) here 3145728 None Some(7)"
    );
    let flags = ServeArgs {
        config: None,
        listen: Some("127.0.0.1:2".parse().unwrap()),
        store: StoreArgs { data_dir: Some("there".into()), cache_mib: Some(4), ..StoreArgs::default() },
        retention: Some("1d".parse().unwrap()),
        retention_events: Some(0),
        max_connections: None,
        drain_seconds: Some(5),
        log_format: Some(LogFormat::Text),
        otlp_endpoint: Some(String::new()),
        tls_cert: Some("c2".into()),
        tls_key: Some("k2".into()),
        tls_client_ca: Some("ca2".into()),
        insecure: Some(false),
    };
    let of_flags = told(config(file, flags).unwrap());
    assert_eq!(
        of_flags,
        "127.0.0.1:2 false 5s Text None Some([Some(\"c2\"), Some(\"k2\"), Some(\"ca2\")]) there 4194304 Some(86400s) None"
    );
}

#[test]
fn the_defaults_are_those_that_help_shows() {
    let help = ServeArgs::augment_args(clap::Command::new("serve")).render_long_help().to_string();
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let age = RETENTION.0.unwrap().as_secs() / 86_400;
    for shown in [
        format!("--listen <HOST:PORT> Address to listen on [default: {LISTEN}]"),
        format!("made if it is missing (sled only) [default: {}]", store::DATA_DIR),
        format!("page cache, in MiB (sled only) [default: {}]", store::CACHE_MIB),
        format!("keeps them all [default: {age}d]"),
        "0 sets no bound [default: 0]".to_owned(),
        format!("give way to new ones [default: {}]", Limits::default().connections),
        format!("in seconds [default: {DRAIN_SECONDS}]"),
        format!("one JSON object a line [default: {}]", format!("{:?}", LogFormat::default()).to_lowercase()),
    ] {
        assert!(help.contains(&shown), "{shown}: {help}");
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let file = format!(
        "public_url = 'gates'\n{TOKEN}sha256_env = 'X'\n[tls]\ncert = 'c'\n[[rule]]\nname = ''\nwhen = ''\naction = \
         'approve'\n[[webhook]]\nname = 'w'\n"
    );
    let problems = config(&file, ServeArgs::default()).unwrap_err();
    let told = ["[[token]] 1, of alice", "webhook \"w\"", "public_url", "a rule is called", "go together"];
    assert_eq!(problems.len(), told.len(), "{problems:#?}");
    for (problem, told) in problems.iter().zip(told) {
        assert!(problem.contains(told), "{problem}");
    }
}

#[test]
fn certificates_name_nobody_where_none_is_asked_for() {
    let tls = "[tls]\ncert = 'c'\nkey = 'k'\n";
    let problems = config(&format!("{tls}[certificates]\n"), ServeArgs::default()).unwrap_err();
    assert!(problems[0].contains("client_ca"), "{problems:?}");
    assert!(config(&format!("{tls}client_ca = 'r'\n[certificates]\n"), ServeArgs::default()).is_ok());
    let problems = config("[tls]\nclient_ca = 'r'\n", ServeArgs::default()).unwrap_err();
    assert!(problems[0].contains("need TLS"), "{problems:?}");
}

#[test]
fn who_needs_no_certificate_has_to_show_a_token() {
    let optional = "[tls]\ncert = 'c'\nkey = 'k'\nclient_ca = 'r'\nclient_optional = true\n";
    for (identities, is_fine) in [("", false), ("[certificates]\n", false), (TOKEN, true), (JWT, true)] {
        let read = config(&format!("{optional}{identities}"), args("0.0.0.0:7070"));
        assert_eq!(read.is_ok(), is_fine, "{identities}: {read:?}");
    }
}

#[test]
fn who_may_call_is_read_again_if_all_of_it_is_right_and_safe() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gatepost.toml");
    let write = |text: &str| std::fs::write(&path, text).unwrap();
    write(TOKEN);
    let file = || Some(PathBuf::from("x.pem"));
    let flags = ServeArgs { tls_cert: file(), tls_key: file(), config: Some(path.clone()), ..args("0.0.0.0:0") };
    let config = Config::new(flags).unwrap();
    assert_eq!(config.identities_again().unwrap().tokens.len(), 1);
    write(&format!("{TOKEN}{}", TOKEN.replace("c775", "0000")));
    assert_eq!(config.identities_again().unwrap().tokens.len(), 2);
    write(&format!("{TOKEN}groups = 1"));
    assert!(matches!(config.identities_again(), Err(Error::File(_))));
    // Everybody would be let in where only those with a token were.
    write("");
    assert!(matches!(config.identities_again(), Err(Error::Insecure { danger: Danger::Open(_) })));
}

#[test]
fn links_lead_somewhere() {
    for (text, url) in [
        ("https://gates.example.org/", "https://gates.example.org"),
        ("http://10.0.0.1:7070", "http://10.0.0.1:7070"),
        ("https://example.org/gates/", "https://example.org/gates"),
    ] {
        assert_eq!(public_url(text.to_owned()).unwrap(), url);
    }
    for text in ["", "gates.example.org", "ftp://gates.example.org", "https://a.org/?x=1", "https://a.org/#x"] {
        assert!(matches!(public_url(text.to_owned()), Err(Error::PublicUrl(_))), "{text}");
    }
}

#[test]
fn durations_are_read_as_people_write_them() {
    for (text, seconds) in
        [("2s", 2), ("5m", 300), ("1h 30m", 5_400), ("PT5M", 300), ("1 day", 86_400), ("2w", 1_209_600), ("90sec", 90)]
    {
        assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
    }
    assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
    for text in ["", "5", "soon", "0s", "-5m", "5m ago", "1 month", "1y"] {
        assert!(duration(text).is_err(), "{text}");
    }
}

#[test]
fn retention_may_be_for_ever() {
    assert_eq!("forever".parse(), Ok(Age(None)));
    assert_eq!("90d".parse(), Ok(Age(Some(Duration::from_secs(90 * 86_400)))));
    assert!("never".parse::<Age>().is_err());
}

#[test]
fn a_key_of_sessions_is_long_and_never_shown() {
    let secret = "0123456789abcdef0123456789abcdef";
    let key = |text: &str| config(&format!("[session]\n{text}\n"), ServeArgs::default()).map(|it| it.session_key);
    let one = key(&format!("key = '{secret}'")).unwrap();
    assert!(one.is_some() && one == SessionKey::of(secret));
    assert_eq!(key("").unwrap(), None);
    let told = key(&format!("key = '{}'", &secret[1..])).unwrap_err().concat();
    assert!(told.contains("shorter than 32 characters") && !told.contains(&secret[1..]), "{told}");
    assert!(key(&format!("key = '{secret}'\nkey_env = 'X'")).unwrap_err().concat().contains("only one of"));
}
