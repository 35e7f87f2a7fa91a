//! The same operations by the two ways, against a real admin address.

use std::sync::{Arc, mpsc};

use metrics_exporter_prometheus::PrometheusBuilder;
use programs::{Program, samples};
use serde_json::json;

use consumers::{Cursor, Start};

use super::*;
use crate::admin::Admin;
use crate::ops::Part;

/// Serves a data directory on a thread of its own, as a role does.
struct Owning {
    stop: actix_web::dev::ServerHandle,
    thread: std::thread::JoinHandle<()>,
}

fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.admin.body_bytes_max = 4_096;
    settings
}

fn own(data: &DataDir, token_given: &'static str) -> Owning {
    let (started, starting) = mpsc::channel();
    let data = data.clone();
    let thread = std::thread::spawn(move || {
        let _claim = data.claim().unwrap();
        actix_rt::System::new().block_on(async {
            let owner = Arc::new(Owner::new(settings(), data.clone()));
            let admin = Admin::bind(([127, 0, 0, 1], 0).into(), "right".to_owned()).unwrap();
            let run = RunFile {
                pid: std::process::id(),
                role: "up".to_owned(),
                admin: admin.address(),
                token: token_given.to_owned(),
                version: "0".to_owned(),
            };
            let prometheus = PrometheusBuilder::new().build_recorder().handle();
            let server = admin.serve(owner, prometheus).unwrap();
            let handle = server.handle();
            data.write_run_file(&run).unwrap();
            started.send(handle).unwrap();
            server.await.unwrap();
        });
        data.remove_run_file();
    });
    Owning { stop: starting.recv().unwrap(), thread }
}

impl Owning {
    fn end(self) {
        // Told when this returns a future; the server ends by itself then.
        drop(self.stop.stop(false));
        self.thread.join().unwrap();
    }
}

fn sample(id: &str) -> Program {
    Program { id: id.parse().unwrap(), ..samples().remove(0) }.or_revision(7)
}

/// Asks everything that needs no tracker; the answers.
fn ask_everything(client: &mut Client) -> Vec<Result<Json, String>> {
    let id = |id: &str| id.parse().unwrap();
    let newest = Part { start: Start::Newest, limit: 10 };
    [
        Op::ProgramsPut(Box::new(sample("a"))),
        Op::ProgramsPut(Box::new(sample("a"))),
        Op::ProgramsPut(Box::new(Program { revision: Some(6), ..sample("a") })),
        Op::ProgramsImport(vec![sample("b"), sample("c")]),
        Op::ProgramsGet(id("b")),
        Op::ProgramsGet(id("nobody")),
        Op::ProgramsRemove(id("b"), Some(8)),
        Op::ProgramsRemove(id("nobody"), None),
        Op::ProgramsGet(id("b")),
        Op::ProgramsList,
        Op::EventsTail(newest.clone(), None),
        Op::EventsCount { program: None, scan: true },
        Op::EventsRejected(newest.clone(), Some("expired".to_owned())),
        Op::EventsGet(id("a"), proto::Uuid::from_u128(1)),
        Op::Reconcile,
        Op::DeadLettersList(newest),
        Op::DeadLettersShow(Cursor::new("3")),
        Op::DeadLettersReplay(Cursor::new("3")),
        Op::DeadLettersDrop(Cursor::new("3")),
        Op::CacheFill,
    ]
    .iter()
    .map(|op| client.ask(op).map_err(|error| error.to_string()))
    .collect()
}

#[test]
fn an_operation_answers_the_same_beside_an_owner_and_without_one() {
    let beside_root = tempfile::tempdir().unwrap();
    let beside = DataDir::new(beside_root.path());
    let alone_root = tempfile::tempdir().unwrap();
    let alone = DataDir::new(alone_root.path());
    let owning = own(&beside, "right");
    let mut client = Client::open(&settings(), &beside).unwrap();
    assert!(client.may_others_write());
    let by_the_owner = ask_everything(&mut client);
    owning.end();

    let here = ask_everything(&mut Client::open(&settings(), &alone).unwrap());
    assert_eq!(by_the_owner, here);
    let stored: Vec<bool> = here.iter().map(Result::is_ok).collect();
    assert_eq!(stored[..5], [true, true, false, true, true]);
    assert_eq!(here[9].as_ref().unwrap().as_array().unwrap().len(), 2, "a and c are left");
    assert_eq!(here[11], Ok(json!({ "items": 0, "expired": 0, "scanned": 0 })));
}

#[test]
fn a_question_survives_the_end_of_its_owner_and_a_wrong_token_does_not_pass() {
    let root = tempfile::tempdir().unwrap();
    let data = DataDir::new(root.path());
    let owning = own(&data, "wrong");
    let mut client = Client::open(&settings(), &data).unwrap();
    let refused = client.ask(&Op::ProgramsPut(Box::new(sample("a")))).unwrap_err();
    assert!(refused.to_string().contains("token"), "{refused}");
    assert_eq!(client.ask(&Op::ProgramsList).unwrap(), json!([]), "reading needs none on loopback");
    owning.end();
    assert_eq!(client.ask(&Op::ProgramsList).unwrap(), json!([]));
    assert!(!client.may_others_write());
}

#[test]
fn a_body_beyond_its_limit_is_refused_and_nothing_is_stored() {
    let root = tempfile::tempdir().unwrap();
    let data = DataDir::new(root.path());
    let owning = own(&data, "right");
    let mut client = Client::open(&settings(), &data).unwrap();
    let many = (0..100).map(|number| sample(&number.to_string())).collect();
    let refused = client.ask(&Op::ProgramsImport(many)).unwrap_err();
    assert!(refused.to_string().contains("admin.body_bytes_max, 4096 bytes"), "{refused}");
    assert_eq!(client.ask(&Op::ProgramsList).unwrap(), json!([]));
    owning.end();
}

#[test]
fn every_answer_of_the_admin_address_is_guarded_and_metrics_make_no_table() {
    let root = tempfile::tempdir().unwrap();
    let data = DataDir::new(root.path());
    let owning = own(&data, "right");
    let Access::Theirs(run) = data.access().unwrap() else { panic!("it is owned") };
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let get = |path: &str, host: &str| {
        agent.get(format!("http://{}{path}", run.admin)).header("Host", host).call().unwrap()
    };
    let own_name = run.admin.to_string();
    for (path, host, status) in [
        ("/", own_name.as_str(), 200),
        ("/metrics", &own_name, 200),
        ("/stats", &own_name, 200),
        ("/log", &own_name, 200),
        ("/nowhere", &own_name, 404),
        ("/programs", "rebound.example", 421),
    ] {
        let answer = get(path, host);
        assert_eq!(answer.status().as_u16(), status, "{path}");
        let policy = match path {
            "/" => crate::admin::PAGE_POLICY,
            _ => "default-src 'none'; frame-ancestors 'none'",
        };
        for (name, value) in [
            ("content-security-policy", policy),
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(answer.headers()[name], value, "{path}");
        }
    }
    assert!(!root.path().join("table.redb").exists(), "a tracker alone has no table");
    owning.end();
}
