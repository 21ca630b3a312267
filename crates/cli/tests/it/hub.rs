//! A base model of the Hugging Face Hub, through the variables that the Python client uses.

use std::{fs, process::Command};

use greentune_test_support::fake_hub::{Behaviour, FakeHub};
use serde_json::json;

use crate::sandbox::{Ran, Sandbox, ran};

/// A project on a model of a Hub on this machine.
struct Place {
    sandbox: Sandbox,
    hub: FakeHub,
}

impl Place {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let model = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/reference/olmo2-tiny");
        let hub = FakeHub::serving(&model, "org/tiny").unwrap();
        let made = sandbox.run(["new", "p", "--base-model", "org/tiny"]);
        assert_eq!(made.code, 0, "{made:?}");
        for name in ["train", "validation"] {
            let records = format!("{{\"instruction\":\"say {name}\",\"output\":\"{name}\"}}\n").repeat(4);
            sandbox.write(&format!("p/{name}.jsonl"), &records);
        }
        Self { sandbox, hub }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.sandbox.command(arguments);
        command.current_dir(self.sandbox.path("p")).env("HF_ENDPOINT", self.hub.endpoint());
        command
    }

    fn configure(&self, adjust: impl FnOnce(&mut Command) -> &mut Command) -> Ran {
        let new = [
            "runs",
            "new",
            "--json",
            "--name",
            "r",
            "--train",
            "train.jsonl",
            "--validation",
            "validation.jsonl",
        ];
        let few = ["--set", "training.num_stages=1", "--set", "training.stage1.iterations=2"];
        let quick = ["--set", "training.stage1.warmup_steps=0", "--set", "evaluation.generate_records=1"];
        ran(adjust(&mut self.command(&[&new[..], &few, &quick].concat())))
    }
}

#[test]
fn a_model_of_the_hub_is_downloaded_once_and_trained_without_network() {
    let place = Place::new();
    let made = place.configure(|command| command).json();
    let (commit, summary) = (place.hub.commit(), &made["configuration_summary"]);
    assert_eq!((&summary["model_id"], &summary["commit"]), (&json!("org/tiny"), &json!(commit)));
    let snapshot = place.sandbox.path("huggingface/hub/models--org--tiny/snapshots").join(&commit);
    assert_eq!(summary["base_model"], json!(snapshot));

    let before = place.hub.requests().len();
    let run_id = made["run_id"].as_str().unwrap();
    let inspected =
        ran(place.command(&["data", "inspect", "train.jsonl", "--json"]).env("HF_HUB_OFFLINE", "1"));
    assert_eq!(inspected.json()["counts"]["kept"], 4);
    let trained = ran(place.command(&["train", run_id, "--json"]).env("HF_HUB_OFFLINE", "1"));
    assert_eq!(trained.json()["status"], "completed");
    assert_eq!(place.hub.requests().len(), before);
}

#[test]
fn refusals_have_the_exit_code_of_their_kind_and_no_token() {
    let place = Place::new();
    let with_token = |command: &mut Command| -> Ran { ran(command.env("HF_TOKEN", "hf_secret")) };
    for (behaviour, code, kind) in [
        (Behaviour::Gated, 77, "credentials"),
        (Behaviour::Private("hf_other".into()), 1, "not_found"),
        (Behaviour::RateLimited { times: 9, retry_after: 3600 }, 75, "rate_limited"),
        (Behaviour::LoginPage, 69, "unavailable"),
    ] {
        place.hub.behave(behaviour);
        let refused = place.configure(|command| command.env("HF_TOKEN", "hf_secret"));
        assert_eq!((refused.code, &refused.problem()["kind"]), (code, &json!(kind)), "{refused:?}");
        assert!(!refused.stderr.contains("hf_secret"), "{refused:?}");
    }
    let refused = place.configure(|command| command.env("HF_ENDPOINT", "http://127.0.0.1:9"));
    assert_eq!(refused.code, 69);
    assert!(refused.problem()["hint"].as_str().unwrap().contains("HF_ENDPOINT"), "{refused:?}");
    let doctor = with_token(&mut place.command(&["doctor"]));
    assert!(
        doctor.stdout.contains("a token from HF_TOKEN") && !doctor.stdout.contains("hf_secret"),
        "{doctor:?}"
    );
    let mut runs = fs::read_dir(place.sandbox.path("p/runs")).unwrap().flatten();
    assert!(!runs.any(|entry| entry.path().is_dir()));
}

#[test]
fn an_id_that_cannot_be_one_makes_no_project() {
    let sandbox = Sandbox::new();
    let refused = sandbox.run(["new", "p", "--base-model", "org/tiny/main", "--json"]);
    assert_eq!((refused.code, &refused.problem()["code"]), (2, &json!("model.id")));
    assert!(!sandbox.path("p").exists());
}
