//! Models that are uploaded to the Hugging Face Hub.

use std::{collections::BTreeSet, fs, path::PathBuf};

use greentune_core_config::{ProblemKind, layout::RunLayout};
use greentune_test_support::fake_hub::{
    Behaviour, FINE_GRAINED_TOKEN, FakeHub, READ_TOKEN, Repository, WRITE_TOKEN,
};
use greentune_workbench::{
    ExportFormat, Token, Workbench, WorkbenchConfig,
    operation::{ExportModel, ModelPlace, SyncModel},
};

use crate::sandbox::{Sandbox, problem};

const REPOSITORY: &str = "ada/story-teller";

struct Author {
    sandbox: Sandbox,
    run: RunLayout,
    hub: FakeHub,
    config: WorkbenchConfig,
}

impl Author {
    async fn new() -> Self {
        let sandbox = Sandbox::new("trains").await;
        let run = sandbox.configured().await;
        sandbox.start(&run, true).await.unwrap();
        let hub = FakeHub::serving(&sandbox.root().join("base"), "org/tiny").unwrap();
        let mut config = sandbox.config("trains");
        config.hub.endpoint = hub.endpoint();
        config.hub.token = Token::new(WRITE_TOKEN, "HF_TOKEN");
        Self { sandbox, run, hub, config }
    }

    fn workbench(&self) -> Workbench {
        Workbench::new(self.config.clone())
    }

    fn folder(&self) -> PathBuf {
        self.sandbox.project.root().join("exported")
    }

    fn export(&self) -> ExportModel {
        ExportModel {
            project_path: Some(self.sandbox.project.root().to_owned()),
            run_id: self.run.run_id(),
            stage: 2,
            export_format: ExportFormat::Huggingface,
            export_path: "exported".into(),
            merge_adapters: Some(true),
            upload_to_huggingface: Some(true),
            hf_repo_id: Some(REPOSITORY.into()),
            ..ExportModel::default()
        }
    }

    fn sync(&self) -> SyncModel {
        SyncModel {
            from: Some(ModelPlace::Local),
            model_path: self.folder(),
            hf_repo: REPOSITORY.into(),
            ..SyncModel::default()
        }
    }

    fn repository(&self) -> Repository {
        self.hub.repository(REPOSITORY).unwrap()
    }

    fn check_uploaded(&self) {
        for (name, bytes) in self.repository().files {
            assert!(bytes == fs::read(self.folder().join(&name)).unwrap(), "{name}");
        }
    }

    fn uploads(&self) -> usize {
        self.hub.requests().iter().filter(|request| request.method == "PUT").count()
    }
}

#[tokio::test]
async fn an_export_is_uploaded_in_one_private_commit() {
    let author = Author::new().await;
    let response = author.workbench().export_model(author.export()).await.unwrap();
    assert_eq!(response.huggingface_url, Some(format!("{}/{REPOSITORY}", author.hub.endpoint())));
    let Repository { is_private, files, commits, .. } = author.repository();
    assert!(is_private);
    assert_eq!(commits.len(), 2);
    let exported: BTreeSet<&String> = response.files.iter().map(|file| &file.name).collect();
    assert!(exported.into_iter().eq(files.keys()), "{:?}", files.keys());
    author.check_uploaded();
}

#[tokio::test]
async fn an_upload_that_was_cut_leaves_the_export_and_says_how_to_go_on() {
    let author = Author::new().await;
    author.hub.behave(Behaviour::CutsUploads { times: 99, after: 1_000 });
    let problem = problem(author.workbench().export_model(author.export()).await.unwrap_err());
    assert_eq!((problem.kind, problem.code.as_str()), (ProblemKind::Unavailable, "hub.upload_cut"));
    assert!(problem.message.contains("the model is complete in"), "{problem}");
    let again = &problem.suggestions[0];
    assert_eq!((again.operation.as_str(), &again.arguments["hf_repo"]), ("sync_model", &REPOSITORY.into()));
    assert_eq!(author.repository().files.len(), 0);
    author.hub.behave(Behaviour::Public);
    let arguments = serde_json::from_value(again.arguments.clone().into()).unwrap();
    let synced = author.workbench().sync_model(arguments).await.unwrap();
    assert!(synced.success && !synced.is_public && synced.files.iter().all(|file| !file.was_there));
    author.check_uploaded();
    let before = author.uploads();
    let synced = author.workbench().sync_model(author.sync()).await.unwrap();
    assert!(synced.files.iter().all(|file| file.was_there));
    assert_eq!((synced.sent_bytes, author.uploads()), (0, before));
}

#[tokio::test]
async fn an_upload_that_cannot_be_is_refused_before_the_export() {
    let mut author = Author::new().await;
    let refused = async |author: &Author, request: ExportModel| {
        let problem = problem(author.workbench().export_model(request).await.unwrap_err());
        assert!(!author.folder().exists(), "{problem}");
        problem.code
    };
    let code = refused(&author, ExportModel { hf_repo_id: None, ..author.export() }).await;
    assert_eq!(code, "request.value");
    let code = refused(&author, ExportModel { upload_to_huggingface: None, ..author.export() }).await;
    assert_eq!(code, "request.value");
    let code = refused(&author, ExportModel { hf_repo_id: Some("mine".into()), ..author.export() }).await;
    assert_eq!(code, "hub.repository_id");
    author.config.hub.token = None;
    assert_eq!(refused(&author, author.export()).await, "hub.login_needed");
    author.config.hub.offline = true;
    assert_eq!(refused(&author, author.export()).await, "hub.offline");
    assert!(author.hub.requests().is_empty());
}

/// The Hub says whose the token is; nothing is exported for somebody who may not write there, and nothing is made.
#[tokio::test]
async fn an_upload_to_where_the_token_may_not_write_is_refused_before_the_export() {
    let mut author = Author::new().await;
    let refused = async |author: &Author, repository: &str| {
        let request = ExportModel { hf_repo_id: Some(repository.into()), ..author.export() };
        let problem = problem(author.workbench().export_model(request).await.unwrap_err());
        assert!(!author.folder().exists(), "{problem}");
        assert!(author.hub.requests().iter().all(|request| request.method == "GET"));
        (problem.kind, problem.code, problem.message)
    };
    let forbidden = |(kind, code, message): (ProblemKind, String, String), part: &str| {
        assert_eq!((kind, code.as_str()), (ProblemKind::Credentials, "hub.write_forbidden"));
        assert!(message.contains(part), "{message}");
    };
    forbidden(refused(&author, "bob/story-teller").await, "belongs to ada, and bob is somebody else");
    forbidden(
        refused(&author, "readers/story-teller").await,
        "ada may only read in the organisation readers",
    );
    for (token, part) in [(READ_TOKEN, "a token for reading"), (FINE_GRAINED_TOKEN, "fine-grained")] {
        author.config.hub.token = Token::new(token, "HF_TOKEN");
        forbidden(refused(&author, REPOSITORY).await, part);
    }
    author.config.hub.token = Token::new("hf_unknown", "HF_TOKEN");
    assert_eq!(refused(&author, REPOSITORY).await.1, "hub.token_refused");
    author.config.hub.endpoint = String::from("http://127.0.0.1:1");
    author.config.hub.retry_delay = std::time::Duration::from_millis(1);
    assert_eq!(refused(&author, REPOSITORY).await.1, "hub.unreachable");
}

#[tokio::test]
async fn a_folder_is_not_sent_to_where_the_token_may_not_write() {
    let author = Author::new().await;
    let local = ExportModel { upload_to_huggingface: None, hf_repo_id: None, ..author.export() };
    author.workbench().export_model(local).await.unwrap();
    let request = SyncModel { hf_repo: "bob/story-teller".into(), ..author.sync() };
    let problem = problem(author.workbench().sync_model(request).await.unwrap_err());
    assert_eq!(problem.code, "hub.write_forbidden");
    assert!(author.hub.requests().iter().all(|request| request.method == "GET"));
    let of_makers = SyncModel { hf_repo: "makers/story-teller".into(), ..author.sync() };
    author.workbench().sync_model(of_makers).await.unwrap();
    assert!(author.hub.repository("makers/story-teller").is_some());
}

#[tokio::test]
async fn only_the_files_of_a_model_are_uploaded() {
    let author = Author::new().await;
    let local = ExportModel { upload_to_huggingface: None, hf_repo_id: None, ..author.export() };
    author.workbench().export_model(local).await.unwrap();
    let refused = async || {
        let problem = problem(author.workbench().sync_model(author.sync()).await.unwrap_err());
        assert_eq!(problem.kind, ProblemKind::InvalidInput, "{problem}");
        problem.to_string()
    };
    for name in [".env", "notes.pdf", "train.jsonl", ".hidden.json"] {
        let path = author.folder().join(name);
        fs::write(&path, "secret").unwrap();
        assert!(refused().await.contains(name));
        fs::remove_file(path).unwrap();
    }
    let folder = author.folder().join("more");
    fs::create_dir(&folder).unwrap();
    assert!(refused().await.contains("more"));
    fs::remove_dir(folder).unwrap();
    #[cfg(unix)]
    {
        let link = author.folder().join("linked.json");
        std::os::unix::fs::symlink("/etc/hostname", &link).unwrap();
        assert!(refused().await.contains("linked.json"));
        fs::remove_file(link).unwrap();
    }
    let other = SyncModel { model_path: author.sandbox.project.root().join("config"), ..author.sync() };
    assert!(author.workbench().sync_model(other).await.is_err());
    assert!(author.hub.requests().is_empty());
    fs::create_dir(author.folder().join(".eval_results")).unwrap();
    fs::write(author.folder().join(".eval_results/own.yaml"), "- value: 1\n").unwrap();
    author.workbench().sync_model(author.sync()).await.unwrap();
    assert!(author.repository().files.contains_key(".eval_results/own.yaml"));
}

#[tokio::test]
async fn a_project_makes_nothing_public_where_an_assistant_acts() {
    let mut author = Author::new().await;
    let manifest = author.run.manifest();
    let text = fs::read_to_string(&manifest).unwrap();
    let public = text.replace(r#""private_repos": true"#, r#""private_repos": false"#);
    assert_ne!(public, text);
    fs::write(&manifest, public).unwrap();
    author.config.allowed_roots = Some(vec![author.sandbox.root()]);
    author.workbench().export_model(author.export()).await.unwrap();
    assert!(author.repository().is_private);
    author.config.allowed_roots = None;
    let own =
        ExportModel { export_path: "again".into(), hf_repo_id: Some("ada/open".into()), ..author.export() };
    author.workbench().export_model(own).await.unwrap();
    assert!(!author.hub.repository("ada/open").unwrap().is_private);
}
