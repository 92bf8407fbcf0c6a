//! What is taken for a store, and what is refused.

use super::*;

fn etcd(endpoints: &[&str]) -> StoreArgs {
    let etcd_endpoints = endpoints.iter().map(ToString::to_string).collect();
    StoreArgs { store: Some(Kind::Etcd), etcd_endpoints, ..StoreArgs::default() }
}

fn cluster(args: StoreArgs, file: StoreFile, etcd: EtcdFile) -> Result<Etcd, String> {
    match validated(args, file, etcd) {
        Ok(Store::Etcd(etcd)) => Ok(etcd),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.to_string()),
    }
}

fn of_flags(args: StoreArgs) -> Result<Etcd, String> {
    cluster(args, StoreFile::default(), EtcdFile::default())
}

#[test]
fn members_are_urls_or_hosts_with_ports() {
    let found = of_flags(etcd(&["10.0.0.1:2379", " http://b:2379/ ", "[::1]:2379"])).unwrap();
    assert_eq!(found.endpoints, ["http://10.0.0.1:2379", "http://b:2379", "http://[::1]:2379"]);
    assert_eq!((found.prefix.as_str(), found.login), ("/gatepost/", None));
    let ca = Some(PathBuf::from("ca.pem"));
    let found = of_flags(StoreArgs { etcd_ca: ca.clone(), ..etcd(&["a:2379"]) }).unwrap();
    assert_eq!((found.endpoints, found.ca), (vec!["https://a:2379".to_owned()], ca.clone()));

    for (args, told) in [
        (etcd(&[]), "--etcd-endpoints"),
        (etcd(&["a"]), "\"a\""),
        (etcd(&["ftp://a:1"]), "ftp"),
        (etcd(&["http://a:1/x"]), "a:1/x"),
        (etcd(&["http://u:p@a:1"]), "host:2379"),
        (etcd(&["http://a:1", "https://b:1"]), "all of them, or none"),
        (etcd(&["a:1", "b:1", "http://a:1"]), "twice"),
        (StoreArgs { etcd_ca: ca, ..etcd(&["http://a:1"]) }, "write https://"),
        (StoreArgs { etcd_cert: Some("c".into()), ..etcd(&["a:1"]) }, "go together"),
        (StoreArgs { etcd_prefix: Some("gatepost".into()), ..etcd(&["a:1"]) }, "slash at the end"),
        (StoreArgs { etcd_prefix: Some("/".into()), ..etcd(&["a:1"]) }, "slash at the end"),
        (StoreArgs { etcd_prefix: Some(format!("/{}/", "p".repeat(128))), ..etcd(&["a:1"]) }, "128"),
        (StoreArgs { etcd_password_file: Some("p".into()), ..etcd(&["a:1"]) }, "give --etcd-user"),
        (StoreArgs { etcd_user: Some("u".into()), ..etcd(&["a:1"]) }, "GATEPOST_ETCD_PASSWORD is not set"),
    ] {
        let problem = of_flags(args).unwrap_err();
        assert!(problem.contains(told), "{told}: {problem}");
    }
}

#[test]
fn a_flag_that_would_do_nothing_is_refused_and_a_key_of_the_file_is_not() {
    let (none, path, text) = (StoreArgs::default, || Some(PathBuf::from("x")), || Some("x".to_owned()));
    let endpoints = || etcd(&["a:1"]).etcd_endpoints;
    for (kind, flag, args) in [
        (Kind::Sled, "--etcd-endpoints", StoreArgs { etcd_endpoints: endpoints(), ..none() }),
        (Kind::Sled, "--etcd-prefix", StoreArgs { etcd_prefix: text(), ..none() }),
        (Kind::Sled, "--etcd-ca", StoreArgs { etcd_ca: path(), ..none() }),
        (Kind::Sled, "--etcd-cert", StoreArgs { etcd_cert: path(), ..none() }),
        (Kind::Sled, "--etcd-key", StoreArgs { etcd_key: path(), ..none() }),
        (Kind::Sled, "--etcd-user", StoreArgs { etcd_user: text(), ..none() }),
        (Kind::Sled, "--etcd-password-file", StoreArgs { etcd_password_file: path(), ..none() }),
        (Kind::Etcd, "--data-dir", StoreArgs { data_dir: path(), ..none() }),
        (Kind::Etcd, "--cache-mib", StoreArgs { cache_mib: Some(1), ..none() }),
    ] {
        let of_file = StoreFile { kind: Some(kind), ..StoreFile::default() };
        let of_flag = StoreArgs { store: Some(kind), ..args.clone() };
        let both = [(of_flag, StoreFile::default()), (args.clone(), of_file)];
        // Sled is also where nobody says anything.
        let silent = (kind == Kind::Sled).then(|| (args, StoreFile::default()));
        for (args, file) in both.into_iter().chain(silent) {
            let cluster = EtcdFile { endpoints: endpoints(), ..EtcdFile::default() };
            let problem = validated(args, file, cluster).unwrap_err().to_string();
            assert!(problem.starts_with(flag), "{flag}: {problem}");
        }
    }

    let file = || toml::from_str::<StoreFile>("data_dir = 'here'\ncache_mib = 1").unwrap();
    let cluster_file = || EtcdFile { endpoints: endpoints(), prefix: Some("/here/".to_owned()), ..EtcdFile::default() };
    for kind in [Kind::Sled, Kind::Etcd] {
        let args = StoreArgs { store: Some(kind), ..none() };
        let found = validated(args, file(), cluster_file()).unwrap();
        assert_eq!(matches!(found, Store::Etcd(_)), kind == Kind::Etcd);
    }
    // Nobody says which of the two is meant.
    let problem = validated(none(), file(), cluster_file()).unwrap_err().to_string();
    assert!(problem.contains("--store etcd"), "{problem}");
}

#[test]
fn a_password_is_read_from_a_file_and_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("password");
    std::fs::write(&path, "secret\n").unwrap();
    let args = StoreArgs { etcd_user: Some("gate".into()), etcd_password_file: Some(path), ..etcd(&["a:1"]) };
    let found = of_flags(args).unwrap();
    assert_eq!(found.login, Some(Login { user: "gate".into(), password: "secret".into() }));
    assert!(!format!("{found:?}{}", Store::Etcd(found.clone())).contains("secret"));
}

#[test]
fn flags_override_the_file() {
    let file = || toml::from_str::<StoreFile>("kind = 'etcd'").unwrap();
    let cluster_file = || toml::from_str::<EtcdFile>("endpoints = ['a:1']\nprefix = '/here/'\nca = 'ca'\n").unwrap();
    let found = cluster(StoreArgs::default(), file(), cluster_file()).unwrap();
    assert_eq!((found.endpoints[0].as_str(), found.prefix.as_str()), ("https://a:1", "/here/"));
    let flags = StoreArgs { etcd_prefix: Some("/there/".into()), ..etcd(&["b:2"]) };
    let found = cluster(flags, file(), cluster_file()).unwrap();
    assert_eq!((found.endpoints[0].as_str(), found.prefix.as_str()), ("https://b:2", "/there/"));
    let sled = StoreArgs { store: Some(Kind::Sled), ..StoreArgs::default() };
    assert!(matches!(validated(sled, file(), cluster_file()), Ok(Store::Sled { .. })));
}
