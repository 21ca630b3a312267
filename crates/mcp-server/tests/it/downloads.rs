//! A base model of the Hub, with progress while it is downloaded.

use greentune_test_support::fake_hub::{Behaviour, FakeHub};
use serde_json::json;

use crate::session::{Session, fixture, run_arguments};

#[tokio::test]
async fn configuring_a_run_downloads_its_base_model_and_tells_of_it() {
    let hub = FakeHub::serving(&fixture("base-model"), "org/tiny").unwrap();
    let session = Session::with_hub(&hub).await;
    let mut arguments = session.project_arguments();
    arguments["base_model_config"] = json!({ "type": "olmo", "model_id": "org/tiny" });
    let project = session.succeed("generate_fine_tuning_project", arguments).await.0["project_path"].clone();

    hub.behave(Behaviour::Gated);
    let (problem, said) = session.refuse("configure_training_run", run_arguments(&project)).await;
    assert_eq!(problem["kind"], "credentials");
    assert!(said.contains(&format!("{}/org/tiny", hub.endpoint())), "{said}");

    hub.behave(Behaviour::Public);
    // The client puts a progress token into every request.
    let (configured, _) = session.succeed("configure_training_run", run_arguments(&project)).await;
    let summary = &configured["configuration_summary"];
    assert_eq!((&summary["model_id"], &summary["commit"]), (&json!("org/tiny"), &json!(hub.commit())));
    let told = session.client.service().progress.lock().unwrap().clone();
    let last = told.last().expect("progress");
    assert_eq!(last.total, Some(last.progress));
    assert!(last.message.as_ref().unwrap().starts_with("downloading org/tiny: "), "{last:?}");
}
