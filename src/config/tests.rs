use std::ffi::OsString;
use std::path::Path;

use super::*;

fn read_both(file: &str, variables: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
    let variables = variables.iter().map(|(name, text)| (OsString::from(name), OsString::from(text)));
    let read = read(Some((Path::new("edge.toml"), file)), variables);
    read.map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

#[test]
fn nothing_set_is_the_defaults_of_the_crates() {
    let settings = read_both("", &[]).unwrap();
    assert_eq!(settings.tracker, tracker::Config::default());
    assert_eq!(settings.consumer, consumers::Config::default());
    assert_eq!(crate::cursors::events_log(&settings).cursors, [crate::cursors::TABLE]);
}

#[test]
fn the_environment_is_read_over_the_file() {
    let file = "tracker.workers = 3\n[tracker.catalog]\nfresh_seconds = 60\n[drain]\nlinger_ms = 5";
    let settings = read_both(
        file,
        &[
            ("CLICKGATE__TRACKER__CATALOG__FRESH_SECONDS", "90"),
            ("CLICKGATE__TRACKER__TRUSTED_PROXIES", "10.0.0.0/8, 192.168.0.0/16"),
            ("CLICKGATE__TRACKER__LEVELS__CLICK", "synced"),
            ("CLICKGATE__LOG__SYNC_INTERVAL_MS", "250"),
            ("CLICKGATE_OTHER", "not ours"),
        ],
    )
    .unwrap();
    assert_eq!((settings.tracker.workers, settings.tracker.catalog.fresh_seconds), (3, 90));
    assert_eq!(settings.tracker.trusted_proxies.len(), 2);
    assert_eq!(settings.tracker.levels.click, stream::Level::Synced);
    assert_eq!(settings.stream.sync_interval.as_millis(), 250);
    assert_eq!(settings.drain.linger_ms, 5);
}

#[test]
fn everything_that_is_wrong_is_said_at_once_with_its_place() {
    let file = "\
        [tracker]\n\
        worker = 3\n\
        listen = 8080\n\
        keep_alive_seconds = -1\n\
        trusted_proxies = [\"10.0.0.0/8\", \"office\"]\n\
        [lgo]\n\
        segment_bytes = 1\n\
        [log]\n\
        segment_bytes = 1\n\
        json = \"yes\"\n";
    let variables = [
        ("CLICKGATE__TRACKER__LEVELS__CLICK", "sometimes"),
        ("CLICKGATE__NO__SUCH__KEY", "1"),
        ("CLICKGATE__DRAIN__GRACE_MS", "20s"),
    ];
    let errors = read_both(file, &variables).unwrap_err();
    assert_eq!(
        errors,
        [
            "edge.toml:2: tracker.worker: unknown key; did you mean tracker.workers?",
            "edge.toml:3: tracker.listen: expected a text, found the number 8080",
            "edge.toml:4: tracker.keep_alive_seconds: -1 is not a number from 0 to 18446744073709551615",
            "edge.toml:5: tracker.trusted_proxies: [1] \"office\" is no network such as 10.0.0.0/8",
            "edge.toml:7: lgo.segment_bytes: unknown key; did you mean log.segment_bytes?",
            "edge.toml:9: log.segment_bytes: 1 is not between 65536 and 1073741824",
            "edge.toml:10: log.json: expected a true | false, found the text \"yes\"",
            "CLICKGATE__DRAIN__GRACE_MS: drain.grace_ms: \"20s\" is not a number",
            "CLICKGATE__NO__SUCH__KEY: no.such.key: unknown key; `clickgate config keys` lists all",
            "CLICKGATE__TRACKER__LEVELS__CLICK: tracker.levels.click: \"sometimes\" is not one of memory, \
             written, synced, stream",
        ]
    );
}

#[test]
fn what_does_not_fit_together_names_the_place_where_it_was_set() {
    let file =
        "[log]\nsegment_bytes = 1048576\nlane_bytes_max = 1048576\n[tracker.prefixes]\nclick = \"i\"\n";
    let variables = [("CLICKGATE__ADMIN__LISTEN", "0.0.0.0:9090"), ("CLICKGATE__LOG__LEVEL", "tracker=loud")];
    let errors = read_both(file, &variables).unwrap_err();
    let starts = [
        "CLICKGATE__LOG__LEVEL: log.level: \"tracker=loud\" is no filter",
        "edge.toml:5: tracker.prefixes.click: \"i\" is not a path",
        "edge.toml:3: log.lane_bytes_max: 1048576 is not between",
        "default: admin.token: must be set, as admin.listen 0.0.0.0:9090 is not loopback",
    ];
    assert_eq!(errors.len(), starts.len(), "{errors:#?}");
    for (error, start) in errors.iter().zip(starts) {
        assert!(error.starts_with(start), "{error:?} does not start with {start:?}");
    }
}

#[test]
fn a_variable_that_is_no_key_is_an_error_with_the_nearest_variable() {
    for (name, nearest) in [
        ("CLICKGATE__TRACKER__WORKER", "CLICKGATE__TRACKER__WORKERS"),
        ("CLICKGATE__TRACKER_WORKERS", "CLICKGATE__TRACKER__WORKERS"),
        ("CLICKGATE___TRACKER__WORKERS", "CLICKGATE__TRACKER__WORKERS"),
        ("CLICKGATE__TRACKER__CATALOG_FRESH_SECONDS", "CLICKGATE__TRACKER__CATALOG__FRESH_SECONDS"),
        ("CLICKGATE__REGISTRY__REDIS__PASSWROD", "CLICKGATE__REGISTRY__REDIS__PASSWORD"),
    ] {
        let errors = read_both("", &[(name, "s3cret")]).unwrap_err();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(
            errors[0].starts_with(name) && errors[0].ends_with(&format!("did you mean {nearest}?")),
            "{errors:?}"
        );
        assert!(!errors[0].contains("s3cret"));
    }
    for name in ["CLICKGATE__", "CLICKGATE__SERVICE_HOST_OF_NOBODY"] {
        let errors = read_both("", &[(name, "1")]).unwrap_err();
        assert!(errors[0].ends_with("unknown key; `clickgate config keys` lists all"), "{errors:?}");
    }
}

#[test]
fn a_token_that_can_be_guessed_is_refused_where_others_could_guess() {
    let read = |listen: &str, token: &str| {
        read_both("", &[("CLICKGATE__ADMIN__LISTEN", listen), ("CLICKGATE__ADMIN__TOKEN", token)])
    };
    assert!(read("127.0.0.1:9090", "short").is_ok());
    assert!(read("[::1]:9090", "short").is_ok());
    assert!(read("10.0.0.1:9090", "0123456789abcdef").is_ok());
    for listen in ["0.0.0.0:9090", "10.0.0.1:9090", "[::]:9090"] {
        let errors = read(listen, "0123456789abcde").unwrap_err();
        assert_eq!(
            errors,
            [format!(
                "CLICKGATE__ADMIN__TOKEN: admin.token: has 15 characters, which can be guessed; it must have at \
                 least 16, as admin.listen {listen} is not loopback. Make one with `openssl rand -hex 32`, or \
                 listen on loopback"
            )]
        );
    }
}

#[test]
fn every_entry_of_a_list_that_is_wrong_is_named() {
    let file = "tracker.trusted_proxies = [\"10.0.0.0/33\", \"10.0.0.0/8\", \"::1\", \"office\", \"10.1.2.3\", \"\"]\n\
                admin.hosts = [\"a\", 1, \"b\", true]";
    assert_eq!(
        read_both(file, &[]).unwrap_err(),
        [
            "edge.toml:1: tracker.trusted_proxies: [0] \"10.0.0.0/33\" is no network such as 10.0.0.0/8; \
             [2] \"::1\" is an address and no network; write ::1/128; \
             [3] \"office\" is no network such as 10.0.0.0/8; \
             [4] \"10.1.2.3\" is an address and no network; write 10.1.2.3/32; \
             [5] \"\" is no network such as 10.0.0.0/8",
            "edge.toml:2: admin.hosts: expected a list of texts: [1] is a integer; [3] is a boolean",
        ]
    );
    let variable = [("CLICKGATE__TRACKER__TRUSTED_PROXIES", "office,10.0.0.0/8,home")];
    let errors = read_both("", &variable).unwrap_err();
    assert!(errors[0].contains("[0] \"office\"") && errors[0].contains("[2] \"home\""), "{errors:?}");
}

#[test]
fn two_addresses_that_cannot_be_bound_at_once_are_an_error_of_the_one_that_was_set() {
    let admin = [("CLICKGATE__ADMIN__LISTEN", "127.0.0.1:8080")];
    assert_eq!(
        read_both("", &admin).unwrap_err(),
        ["CLICKGATE__ADMIN__LISTEN: admin.listen: 127.0.0.1:8080 cannot be bound beside tracker.listen, \
          127.0.0.1:8080; give it another port"]
    );
    assert_eq!(
        read_both("tracker.listen = \"0.0.0.0:9090\"", &[]).unwrap_err(),
        ["edge.toml:1: tracker.listen: 0.0.0.0:9090 cannot be bound beside admin.listen, 127.0.0.1:9090; \
          give it another port"]
    );
    let any_port = "tracker.listen = \"127.0.0.1:0\"\nadmin.listen = \"127.0.0.1:0\"";
    assert!(read_both(any_port, &[]).is_ok());
    let unreadable =
        read_both("tracker.listen = \"0.0.0.0:9090\"\nadmin.listen = \"nowhere\"", &[]).unwrap_err();
    assert_eq!(unreadable.len(), 1, "{unreadable:?}");
}

#[test]
fn a_file_that_is_no_toml_names_the_line() {
    let errors = read_both("[tracker]\nworkers = = 3\n", &[]).unwrap_err();
    assert!(errors[0].starts_with("edge.toml:2: "), "{errors:?}");
}

#[test]
fn printed_settings_are_read_again_as_the_same() {
    let file = "[tracker]\nfallback_url = \"https://a.example/\"\nworkers = 7\n[admin]\nhosts = [\"a\", \"b\"]\n\
                [table]\npath = \"/t.redb\"\n";
    let printed = print(&read_both(file, &[]).unwrap());
    let again = print(&read_both(&printed, &[]).unwrap());
    assert_eq!(printed, again);
    assert!(printed.contains("fallback_url = \"https://a.example/\""), "{printed}");
}

#[test]
fn a_secret_is_never_shown_and_never_quoted() {
    let settings = read_both("", &[("CLICKGATE__ADMIN__TOKEN", "s3cret")]).unwrap();
    assert_eq!(settings.admin.token.as_deref(), Some("s3cret"));
    let printed = print(&settings);
    assert!(!printed.contains("s3cret") && printed.contains("# token is set, and not shown"), "{printed}");
    let errors = read_both("admin.token = [\"s3cret\"]", &[]).unwrap_err();
    assert_eq!(errors, ["edge.toml:1: admin.token: expected a text"]);
}

#[test]
fn redis_is_set_key_by_key_and_its_password_is_never_shown() {
    let file = "[registry]\nkind = \"redis\"\n[registry.redis]\nurls = [\"rediss://cache:6379\"]\nusername = \"edge\"\n";
    let password = [("CLICKGATE__REGISTRY__REDIS__PASSWORD", "s3cret")];
    let settings = read_both(file, &password).unwrap();
    assert_eq!(settings.registry.kind, RegistryKind::Redis);
    assert_eq!(settings.registry.redis.password.as_deref(), Some("s3cret"));
    let printed = print(&settings);
    assert!(!printed.contains("s3cret") && printed.contains("# password is set, and not shown"), "{printed}");
    assert!(!format!("{settings:?}").contains("s3cret"));
    assert_eq!(print(&read_both(&printed, &password).unwrap()), printed);
}

#[test]
fn what_is_wrong_with_redis_is_said_with_its_place_and_without_its_secrets() {
    let file = "[registry]\nkind = \"memcached\"\n[registry.redis]\nurls = [\"redis://u:s3cret@cache\"]\nprefix = \"\"\n";
    let errors = read_both(file, &[("CLICKGATE__REGISTRY__REDIS__USERNAME", "edge")]).unwrap_err();
    let starts = [
        "edge.toml:2: registry.kind: \"memcached\" is not one of local, redis",
        "edge.toml:4: registry.redis.urls: ",
        "default: registry.redis.password: ",
        "edge.toml:5: registry.redis.prefix: ",
    ];
    assert_eq!(errors.len(), starts.len(), "{errors:#?}");
    for (error, start) in errors.iter().zip(starts) {
        assert!(error.starts_with(start) && !error.contains("s3cret"), "{error:?}");
    }
}

#[test]
fn every_key_can_be_set_by_the_value_that_it_shows() {
    let mut settings = read_both("", &[]).unwrap();
    for key in KEYS {
        assert!(key.name.contains('.'), "{} is in no table", key.name);
        assert_eq!(KEYS.iter().filter(|other| other.name == key.name).count(), 1, "{}", key.name);
        if let Some(value) = key.shown(&settings) {
            key.set(&mut settings, value.clone()).unwrap_or_else(|error| panic!("{}: {error}", key.name));
            assert_eq!(key.shown(&settings), Some(value), "{}", key.name);
        }
    }
}

/// The names are those of the pretty form of `Debug`: a field a line, a table in braces.
#[test]
fn every_setting_of_the_tracker_has_a_key() {
    let shown = format!("{:#?}", tracker::Config::default());
    let mut above = vec!["tracker"];
    let mut found = 0;
    for line in shown.lines().skip(1) {
        match line.trim().split_once(": ") {
            Some((table, value)) if value.ends_with('{') => above.push(table),
            Some((name, _)) => {
                let key = format!("{}.{name}", above.join("."));
                assert!(Key::find(&key).is_some(), "{key} cannot be set");
                found += 1;
            }
            None if line.trim() == "}," => drop(above.pop()),
            None => {}
        }
    }
    let keys = KEYS.iter().filter(|key| key.name.starts_with("tracker.")).count();
    assert_eq!(found, keys, "{shown}");
}

#[test]
fn every_number_of_the_tracker_has_bounds() {
    for key in KEYS.iter().filter(|key| key.name.starts_with("tracker.")) {
        assert_eq!(key.bounds().is_some(), key.kind == field::Kind::Number, "{}", key.name);
    }
}

const BRIDGE: &str = "\
    [bridge.activemq.brokers.main]\n\
    urls = [\"stomp+ssl://b-1:61614\", \"stomp+ssl://b-2:61614\"]\n\
    username = \"bridge\"\n\
    [bridge.activemq.queues.orders]\n\
    broker = \"main\"\n\
    destination = \"/queue/orders\"\n\
    format = \"xml\"\n\
    program = \"/order/@program\"\n\
    parameters = [\"amount=/order/sum\", \"shop=header:shop\", \"kind==x=y\"]\n";

#[test]
fn brokers_and_queues_have_names_and_the_password_comes_from_the_environment() {
    let password = [("CLICKGATE__BRIDGE__ACTIVEMQ__BROKERS__MAIN__PASSWORD", "s3cret")];
    let settings = read_both(BRIDGE, &password).unwrap();
    let main = &settings.bridge.activemq.brokers["main"];
    assert_eq!((main.urls.len(), main.password.as_deref()), (2, Some("s3cret")));
    let orders = &settings.bridge.activemq.queues["orders"];
    assert_eq!((orders.prefetch, orders.level), (2_000, stream::Level::Stream));
    assert_eq!(orders.fields.parameters[2].1, bridges::activemq::Source::Constant("x=y".into()));
    let printed = print(&settings);
    assert!(!printed.contains("s3cret") && printed.contains("# password is set, and not shown"), "{printed}");
    assert_eq!(print(&read_both(&printed, &password).unwrap()), printed);
}

#[test]
fn what_is_wrong_with_brokers_and_queues_is_said_at_once_with_its_place() {
    let file = "[bridge.activemq.brokers.Main]\nurls = [\"stomp://a:1\"]\n\
                [bridge.activemq.brokers.main]\nurls = [\"tcp://a:1\", \"stomp://u:s3cret@a:1\"]\n\
                [bridge.activemq.queues.a]\nbroker = \"man\"\ndestination = \"orders\"\nformt = \"json\"\n\
                prefetch = 0\nparameters = [\"s3cret\"]\n";
    let errors = read_both(file, &[]).unwrap_err();
    let starts = [
        "edge.toml:2: bridge.activemq.brokers.Main.urls: \"Main\" is no name",
        "edge.toml:4: bridge.activemq.brokers.main.urls: [0] \"tcp://a:1\" is not stomp://host:port",
        "edge.toml:8: bridge.activemq.queues.a.formt: unknown key; did you mean bridge.activemq.queues.a.format?",
        "edge.toml:9: bridge.activemq.queues.a.prefetch: 0 is not between 1 and 100000",
        "edge.toml:10: bridge.activemq.queues.a.parameters: [0] is not name=value",
        "edge.toml:6: bridge.activemq.queues.a.broker: \"man\" is none of the brokers",
        "edge.toml:7: bridge.activemq.queues.a.destination: must be /queue/NAME or /topic/NAME",
    ];
    assert_eq!(errors.len(), starts.len(), "{errors:#?}");
    for (error, start) in errors.iter().zip(starts) {
        assert!(error.starts_with(start) && !error.contains("s3cret"), "{error:?}");
    }
}

#[test]
fn every_key_of_brokers_and_queues_can_be_set_by_the_value_that_it_shows() {
    let mut settings = read_both(BRIDGE, &[]).unwrap();
    for key in NAMED {
        let name = if key.pattern.contains(".brokers.") { "main" } else { "orders" };
        assert_eq!(
            NamedKey::find(&key.of(name)).map(|(found, name)| (found.pattern, name)),
            Some((key.pattern, name))
        );
        if let Some(value) = key.shown(&settings, name) {
            key.set(&mut settings, name, value.clone())
                .unwrap_or_else(|error| panic!("{}: {error}", key.pattern));
            assert_eq!(key.shown(&settings, name), Some(value), "{}", key.pattern);
        }
        assert_eq!(key.bounds.is_some(), key.kind == field::Kind::Number, "{}", key.pattern);
    }
}
