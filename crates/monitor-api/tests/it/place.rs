//! A server's routes over a folder of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode},
};
use greentune_http_server::{Account, Accounts, AuditLog, Caller, Limits};
use greentune_monitor_api::{Access, Served, site};
use greentune_test_support::fake_worker;
use greentune_workbench::{Workbench, WorkbenchConfig};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// The routes of one caller, and what is open to everybody.
#[derive(Clone)]
pub struct Place {
    folder: Arc<tempfile::TempDir>,
    workbench: Workbench,
    log: Arc<AuditLog>,
    routes: Router,
    open: Router,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Status and code of a problem, which has the form that RFC 9457 says.
    pub fn problem(&self) -> (u16, String) {
        let body = self.json();
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        assert_eq!(body["status"], self.status.as_u16());
        assert!(body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{self:?}");
        (self.status.as_u16(), body["code"].as_str().unwrap_or_default().to_owned())
    }
}

impl Place {
    /// A server whose workers act out `mode`.
    pub fn new(mode: &str) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let root = fs::canonicalize(folder.path()).unwrap();
        let mut config = WorkbenchConfig::new(root.join("home"), fake_worker::command(mode).unwrap());
        config.allowed_roots = Some(vec![root, fixture("")]);
        Self::over(folder, Workbench::new(config), Access::Full, None)
    }

    fn over(
        folder: Arc<tempfile::TempDir>,
        workbench: Workbench,
        access: Access,
        account: Option<Account>,
    ) -> Self {
        let project = Some(fs::canonicalize(folder.path()).unwrap().join("health"));
        let log = Arc::new(AuditLog::new(&workbench.config().home).unwrap());
        let served = Served { workbench: workbench.clone(), project, access, notes: Some(log.notes()) };
        let site = site(served, Some(|_: &Caller| Router::new()));
        let caller = Caller { account, limits: Limits::default(), ended: CancellationToken::new() };
        let routes = (site.of_caller)(&caller);
        Self { folder, workbench, log, routes, open: site.open }
    }

    /// The same for callers who may do less.
    pub fn with(&self, access: Access) -> Self {
        Self::over(Arc::clone(&self.folder), self.workbench.clone(), access, None)
    }

    /// The same for a new account, which may use `allowed_dirs` besides its own folder.
    pub fn of_account(&self, name: &str, allowed_dirs: &[PathBuf]) -> Self {
        let accounts = Accounts::new(&self.workbench.config().home);
        accounts.add(name, allowed_dirs).unwrap();
        let account = accounts.list().unwrap().into_iter().find(|account| account.name == name);
        Self::over(Arc::clone(&self.folder), self.workbench.clone(), Access::Full, account)
    }

    pub fn workbench(&self) -> Workbench {
        self.workbench.clone()
    }

    /// The calls that were noted, once nobody serves any more.
    pub fn noted(self) -> Vec<Value> {
        let file = self.root().join("home/audit/calls.jsonl");
        let Self { folder, log, routes, .. } = self;
        drop(routes);
        drop(log);
        let text = fs::read_to_string(file).unwrap_or_default();
        drop(folder);
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub fn root(&self) -> PathBuf {
        fs::canonicalize(self.folder.path()).unwrap()
    }

    pub async fn send(&self, request: Request<Body>) -> Reply {
        let is_open =
            ["/", "/dashboard.js", "/dashboard.css", "/openapi.json"].contains(&request.uri().path());
        let routes = if is_open { &self.open } else { &self.routes };
        let response = routes.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Reply {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }

    pub async fn get(&self, target: &str) -> Reply {
        self.send(Request::get(target).body(Body::empty()).unwrap()).await
    }

    /// The JSON at `target`, which is there.
    pub async fn read(&self, target: &str) -> Value {
        let reply = self.get(target).await;
        assert_eq!(reply.status, 200, "{target}: {reply:?}");
        reply.json()
    }

    pub async fn post(&self, operation: &str, arguments: &Value) -> Reply {
        let request = Request::post(format!("/api/v1/{operation}"))
            .header("content-type", "application/json")
            .body(Body::from(arguments.to_string()));
        self.send(request.unwrap()).await
    }

    /// What `operation` answers, which succeeds.
    pub async fn perform(&self, operation: &str, arguments: &Value) -> Value {
        let reply = self.post(operation, arguments).await;
        assert_eq!(reply.status, 200, "{operation}: {reply:?}");
        reply.json()
    }

    /// A stream of events, as it comes.
    pub async fn follow(&self, target: &str, headers: &[(&str, &str)]) -> Stream {
        let mut request = Request::get(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.routes.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200, "{target}");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Stream { body: response.into_body(), text: String::new() }
    }

    /// Makes a project with a run of 12 steps in each of two stages; the run's id.
    pub async fn run(&self) -> String {
        let project = json!({
            "project_name": "health",
            "output_dir": self.root(),
            "base_model_config": {
                "type": "olmo", "model_id": "olmo2-tiny", "local_path": fixture("reference/olmo2-tiny"),
            },
            "training_config": { "num_stages": 2, "iterations": 12 },
        });
        let made = self.perform("generate_fine_tuning_project", &project).await;
        self.run_of(&made["project_path"], "first").await
    }

    /// One more run of a project.
    pub async fn run_of(&self, project: &Value, name: &str) -> String {
        let run = json!({
            "project_path": project,
            "run_name": name,
            "training_data": {
                "train_dataset": fixture("demo/narratives_train.jsonl"),
                "validation_dataset": fixture("demo/narratives_validation.jsonl"),
            },
        });
        self.perform("configure_training_run", &run).await["run_id"].as_str().unwrap().to_owned()
    }

    /// The same, trained to its end.
    pub async fn trained(&self) -> String {
        let run = self.run().await;
        let started = self.perform("start_training", &json!({ "run_id": run, "async_mode": false })).await;
        assert_eq!(started["success"], true, "{started}");
        run
    }
}

/// Events as they come.
pub struct Stream {
    body: Body,
    text: String,
}

impl Stream {
    /// The next event: its name, its number and its data; `None` at the end. Comments and pauses are passed over.
    pub async fn next(&mut self) -> Option<(String, Option<u64>, Value)> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                let field = |name: &str| {
                    block
                        .lines()
                        .find_map(|line| line.strip_prefix(name))
                        .map(|value| value.trim().to_owned())
                };
                let Some(data) = field("data:") else { continue };
                let id = field("id:").map(|id| id.parse().unwrap());
                return Some((field("event:").unwrap(), id, serde_json::from_str(&data).unwrap()));
            }
            let frame = tokio::time::timeout(std::time::Duration::from_secs(30), self.body.frame()).await;
            let frame = frame.expect("an event in time")?.unwrap();
            self.text.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
        }
    }

    /// All events to the end.
    pub async fn rest(mut self) -> Vec<(String, Option<u64>, Value)> {
        let mut all = Vec::new();
        while let Some(event) = self.next().await {
            all.push(event);
        }
        all
    }
}

pub fn fixture(path: &str) -> PathBuf {
    fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(path)).unwrap()
}
