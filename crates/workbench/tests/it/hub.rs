//! Base models of the Hugging Face Hub.

use std::sync::{Arc, Mutex};

use greentune_core_config::{
    ProblemKind,
    port::{TransferProgress, TransferReporter},
};
use greentune_test_support::fake_hub::{Behaviour, FakeHub};
use greentune_workbench::{
    Observer, Workbench,
    operation::{BaseModelConfig, ConfigureTrainingRun, Diagnose, InspectDataset},
};
use serde_json::{Map, Value, json};

use crate::sandbox::{Sandbox, manifest, overrides, problem, project_request, write_base_model};

#[derive(Debug, Default)]
struct Ear(Mutex<Vec<TransferProgress>>);

impl TransferReporter for Ear {
    fn report(&self, progress: &TransferProgress) {
        self.0.lock().unwrap().push(progress.clone());
    }
}

impl Observer for Ear {}

struct Place {
    sandbox: Sandbox,
    hub: FakeHub,
    workbench: Workbench,
    ear: Arc<Ear>,
}

impl Place {
    async fn new() -> Self {
        let sandbox = Sandbox::new("trains").await;
        let hub = FakeHub::serving(&sandbox.root().join("base"), "org/tiny").unwrap();
        let mut config = sandbox.config("trains");
        config.hub.endpoint = hub.endpoint();
        let ear = Arc::new(Ear::default());
        let workbench = Workbench::new(config).reporting(Arc::clone(&ear) as _);
        Self { sandbox, hub, workbench, ear }
    }

    fn request(&self) -> ConfigureTrainingRun {
        let mut request = self.sandbox.request();
        request.override_params.as_mut().unwrap().extend(from_hub());
        request
    }
}

fn from_hub() -> Map<String, Value> {
    overrides(json!({ "base_model.local_path": "", "base_model.model_id": "org/tiny" })).unwrap()
}

#[tokio::test]
async fn a_run_is_configured_and_trained_on_a_model_of_the_hub() {
    let place = Place::new().await;
    let response = place.workbench.configure_training_run(place.request()).await.unwrap();
    let summary = &response.configuration_summary;
    let commit = place.hub.commit();
    assert_eq!((summary.model_id.as_deref(), summary.commit.as_ref()), (Some("org/tiny"), Some(&commit)));
    assert!(summary.warnings.is_empty(), "{:?}", summary.warnings);
    let run = place.sandbox.project.run(&response.run_id);
    let written = manifest(&run);
    assert!(written.base_model_path.ends_with(format!("models--org--tiny/snapshots/{commit}")));
    let model = &written.settings.base_model;
    assert_eq!((model.model_id.as_str(), &model.revision), ("org/tiny", &commit));
    let told = place.ear.0.lock().unwrap().clone();
    assert!(told.iter().any(|progress| progress.file == "model.safetensors" && progress.what == "org/tiny"));

    // Everything is here now: neither configuring nor training needs the Hub.
    place.hub.behave(Behaviour::Fails(503));
    let again = place.workbench.configure_training_run(place.request()).await.unwrap();
    assert!(again.configuration_summary.warnings[0].contains(&commit), "{again:?}");
    let before = place.hub.requests().len();
    crate::sandbox::start(&place.workbench, &run, true).await.unwrap();
    assert_eq!(place.hub.requests().len(), before);
}

#[tokio::test]
async fn an_architecture_that_cannot_be_trained_is_seen_before_weights_are_fetched() {
    let place = Place::new().await;
    let other = place.sandbox.root().join("other");
    write_base_model(&other, "gpt_neox");
    let hub = FakeHub::serving(&other, "org/tiny").unwrap();
    let mut config = place.sandbox.config("trains");
    config.hub.endpoint = hub.endpoint();
    let refused = Workbench::new(config).configure_training_run(place.request()).await.unwrap_err();
    assert_eq!(problem(refused).code, "model.unsupported");
    let fetched: Vec<_> = hub.downloads().into_iter().map(|request| request.path).collect();
    assert!(matches!(fetched.as_slice(), [path] if path.ends_with("/config.json")), "{fetched:?}");
}

#[tokio::test]
async fn what_the_hub_refuses_leaves_no_run_behind() {
    let place = Place::new().await;
    place.hub.behave(Behaviour::Gated);
    let refused = problem(place.workbench.configure_training_run(place.request()).await.unwrap_err());
    assert_eq!((refused.kind, refused.code.as_str()), (ProblemKind::Credentials, "hub.gated"));
    assert_eq!(refused.location.unwrap().key.as_deref(), Some("base_model.model_id"));
    let mut runs = place.sandbox.project.runs().read_dir().unwrap().flatten();
    assert!(!runs.any(|entry| entry.path().is_dir()));
}

#[tokio::test]
async fn a_look_at_data_needs_no_weights() {
    let place = Place::new().await;
    let request = InspectDataset {
        project_path: place.sandbox.project.root().to_owned(),
        dataset: "data/processed/train.jsonl".into(),
        show: None,
        override_params: Some(from_hub()),
    };
    place.workbench.inspect_dataset(request).await.unwrap();
    assert!(place.hub.downloads().iter().all(|request| !request.path.starts_with("/storage/")));
}

#[tokio::test]
async fn impossible_ids_are_refused_when_the_project_is_made() {
    let place = Place::new().await;
    let mut request = project_request(&place.sandbox.root(), "other");
    let base = |id: &str| BaseModelConfig::from([("type", json!("olmo")), ("model_id", json!(id))]);
    for id in ["org/../etc", "https://huggingface.co/org/tiny"] {
        request.base_model_config = base(id);
        let refused =
            problem(place.workbench.generate_fine_tuning_project(request.clone()).await.unwrap_err());
        assert_eq!((refused.kind, refused.code.as_str()), (ProblemKind::InvalidInput, "model.id"), "{id}");
    }
    request.base_model_config = base("org/tiny");
    request.base_model_config.0.insert("revision".into(), json!("v1"));
    let made = place.workbench.generate_fine_tuning_project(request).await.unwrap();
    assert!(made.not_available_yet.is_empty() && made.next_steps[0].contains("org/tiny"), "{made:?}");
    assert_eq!(place.hub.requests(), []);
}

#[tokio::test]
async fn the_doctor_shows_the_hub_and_never_the_token() {
    let place = Place::new().await;
    let mut config = place.sandbox.config("trains");
    config.hub.token = greentune_workbench::Token::new("hf_secret", "HF_TOKEN");
    let checks = Workbench::new(config).diagnose(Diagnose::default()).await.unwrap().checks;
    let hub = checks.iter().find(|check| check.name == "hub").unwrap();
    assert!(hub.detail.starts_with("https://huggingface.co with a token from HF_TOKEN; cache "), "{hub:?}");
    assert!(checks.iter().all(|check| !check.detail.contains("hf_secret")));
}
