//! The folders that a client names.

use serde_json::json;

use crate::session::Session;

#[tokio::test]
async fn the_clients_roots_may_be_used_and_nothing_beside_them() {
    for is_stateless in [false, true] {
        let session = Session::with_roots(is_stateless, &["mine"]).await;
        let mut arguments = session.project_arguments();
        arguments["base_model_config"] = json!({ "type": "olmo", "model_id": "a/b" });
        arguments["output_dir"] = json!(session.root().join("other"));
        let (problem, text) = session.refuse("generate_fine_tuning_project", arguments.clone()).await;
        assert_eq!(problem["code"], "path.outside_roots", "{is_stateless}");
        assert!(text.contains("--allow-dir"), "{text}");
        arguments["output_dir"] = json!(session.root().join("mine"));
        let (made, _) = session.succeed("generate_fine_tuning_project", arguments).await;
        assert_eq!(made["project_path"], json!(session.root().join("mine/health")), "{is_stateless}");
    }
}

#[tokio::test]
async fn a_home_folder_is_no_root_because_a_client_says_so() {
    for is_stateless in [false, true] {
        let session = Session::with_roots(is_stateless, &["user", "."]).await;
        let mut arguments = session.project_arguments();
        arguments["base_model_config"] = json!({ "type": "olmo", "model_id": "a/b" });
        arguments["output_dir"] = json!(session.root().join("user"));
        let (problem, _) = session.refuse("generate_fine_tuning_project", arguments).await;
        assert_eq!(problem["code"], "path.outside_roots", "{is_stateless}");
    }
}
