//! A client and a server, connected in memory, and a folder for projects.
#![allow(deprecated, reason = "clients of today have roots")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use greentune_mcp_server::{Preset, Server};
use greentune_test_support::{fake_hub::FakeHub, fake_worker};
use greentune_workbench::{Workbench, WorkbenchConfig};
use rmcp::{
    ClientHandler, ClientLifecycleMode, ClientServiceExt, ErrorData, RoleClient, ServiceError, ServiceExt,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, ClientConfig,
        ElicitRequestParams, ElicitResult, ElicitationAction, GetTaskParams, ListRootsResult,
        ProgressNotificationParam, ProtocolVersion, Root,
    },
    service::{NotificationContext, RequestContext, RunningService},
    transport::IntoTransport,
};
use serde_json::{Value, json};

const TIME_LIMIT: Duration = Duration::from_mins(1);

/// A client that keeps the progress it is told, and that has roots, tasks and a user perhaps.
#[derive(Clone, Default)]
pub struct Listener {
    pub progress: Arc<Mutex<Vec<ProgressNotificationParam>>>,
    pub roots: Vec<PathBuf>,
    pub has_tasks: bool,
    /// What its user answers to every question.
    pub user: Option<ElicitationAction>,
    /// What its user was asked.
    pub questions: Arc<Mutex<Vec<String>>>,
}

impl ClientHandler for Listener {
    async fn on_progress(&self, params: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        self.progress.lock().unwrap().push(params);
    }

    #[allow(deprecated, reason = "how clients name their folders")]
    fn get_info(&self) -> ClientConfig {
        let mut info = ClientConfig::default();
        if !self.roots.is_empty() {
            info.capabilities = ClientCapabilities::builder().enable_roots().build();
        }
        if self.has_tasks {
            info.capabilities.extensions = ClientCapabilities::builder().enable_tasks().build().extensions;
        }
        if self.user.is_some() {
            info.capabilities.elicitation =
                ClientCapabilities::builder().enable_elicitation().build().elicitation;
        }
        info
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        if let ElicitRequestParams::FormElicitationParams { message, .. } = request {
            self.questions.lock().unwrap().push(message);
        }
        Ok(ElicitResult::new(self.user.clone().unwrap_or(ElicitationAction::Decline)))
    }

    #[allow(deprecated, reason = "how clients name their folders")]
    async fn list_roots(&self, _: RequestContext<RoleClient>) -> Result<ListRootsResult, ErrorData> {
        let roots = self.roots.iter().map(|root| Root::new(format!("file://{}", root.display())));
        Ok(ListRootsResult::new(roots.collect()))
    }
}

pub struct Session {
    folder: Arc<tempfile::TempDir>,
    pub client: RunningService<RoleClient, Listener>,
}

impl Session {
    /// A client of the versions that begin with `initialize`.
    pub async fn new() -> Self {
        Self::with_lifecycle(ClientLifecycleMode::Initialize).await
    }

    /// A client of the version 2026-07-28, which begins without `initialize`.
    pub async fn stateless() -> Self {
        Self::with_lifecycle(lifecycle(true)).await
    }

    /// A client whose server knows `hub` as the Hugging Face Hub.
    pub async fn with_hub(hub: &FakeHub) -> Self {
        Self::start(ClientLifecycleMode::Initialize, |config| config.hub.endpoint = hub.endpoint()).await
    }

    /// A client like `listener`, of the version 2026-07-28 or of those that begin with `initialize`.
    pub async fn of(
        listener: Listener,
        is_stateless: bool,
        adjust: impl FnOnce(&mut WorkbenchConfig),
        preset: Preset,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = fs::canonicalize(folder.path()).unwrap().join("home");
        let mut config = WorkbenchConfig::new(home, fake_worker::command("trains").unwrap());
        adjust(&mut config);
        let server = Server::new(&Workbench::new(config)).with_tools(preset);
        Self { client: connected(server, listener, lifecycle(is_stateless)).await, folder: Arc::new(folder) }
    }

    /// A client whose server's workers act out `mode`.
    pub async fn with_workers(mode: &str) -> Self {
        let command = fake_worker::command(mode).unwrap();
        Self::start(ClientLifecycleMode::Initialize, |config| config.worker_command = command).await
    }

    /// A client whose roots are `names` in the session's folder; the server may use nothing else but its home.
    pub async fn with_roots(is_stateless: bool, names: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        let roots: Vec<_> = names.iter().map(|name| root.join(name)).collect();
        for root in &roots {
            fs::create_dir_all(root).unwrap();
        }
        let mut config = WorkbenchConfig::new(root.join("home"), fake_worker::command("slow").unwrap());
        config.allowed_roots = Some(Vec::new());
        config.user_home = Some(root.join("user"));
        let server = Server::new(&Workbench::new(config)).with_client_roots();
        let listener = Listener { roots, ..Listener::default() };
        Self { client: connected(server, listener, lifecycle(is_stateless)).await, folder: Arc::new(folder) }
    }

    /// A client whose server is reached over `transport` and keeps everything in `folder`; its roots are `roots`.
    pub async fn over<E: std::error::Error + Send + Sync + 'static, A>(
        transport: impl IntoTransport<RoleClient, E, A>,
        folder: Arc<tempfile::TempDir>,
        is_stateless: bool,
        roots: Vec<PathBuf>,
    ) -> Self {
        let listener = Listener { roots, ..Listener::default() };
        let client = listener.serve_with_lifecycle(transport, lifecycle(is_stateless)).await.unwrap();
        Self { folder, client }
    }

    async fn with_lifecycle(lifecycle: ClientLifecycleMode) -> Self {
        Self::start(lifecycle, |_| {}).await
    }

    async fn start(lifecycle: ClientLifecycleMode, adjust: impl FnOnce(&mut WorkbenchConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config =
            WorkbenchConfig::new(folder.path().join("home"), fake_worker::command("slow").unwrap());
        adjust(&mut config);
        let server = Server::new(&Workbench::new(config));
        let client = connected(server, Listener::default(), lifecycle).await;
        Self { client, folder: Arc::new(folder) }
    }

    pub fn root(&self) -> PathBuf {
        fs::canonicalize(self.folder.path()).unwrap()
    }

    /// Calls a tool with a JSON object of arguments.
    pub async fn call(&self, tool: &'static str, arguments: Value) -> Result<CallToolResult, ServiceError> {
        let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
        let request = CallToolRequestParams::new(tool).with_arguments(arguments);
        tokio::time::timeout(TIME_LIMIT, self.client.call_tool(request)).await.expect("an answer in time")
    }

    /// Calls a tool as [`Session::call`] does, and answers with what the server said first.
    pub async fn call_once(&self, tool: &'static str, arguments: Value) -> CallToolResponse {
        let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
        let request = CallToolRequestParams::new(tool).with_arguments(arguments);
        tokio::time::timeout(TIME_LIMIT, self.client.call_tool_once(request)).await.unwrap().unwrap()
    }

    /// A run that is trained.
    pub async fn trained(&self) -> (Value, Value) {
        let (project, run) = self.run().await;
        let request = json!({ "project_path": project, "run_id": run, "async_mode": false });
        let answer = self.call_once("start_training", request).await;
        match answer {
            CallToolResponse::Complete(result) => {
                assert_eq!(result.is_error, Some(false), "{}", text(&result));
            }
            CallToolResponse::Task(task) => {
                while self.task(&task.task.task_id).await["status"] != "completed" {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
            _ => panic!("an answer of another kind"),
        }
        (project, run)
    }

    /// What `tasks/get` says of a task.
    pub async fn task(&self, id: &str) -> Value {
        let result = self.client.get_task(GetTaskParams::new(id)).await.unwrap();
        serde_json::to_value(result).unwrap()
    }

    /// Calls a tool that must succeed; its structured content must be what its output schema says.
    pub async fn succeed(&self, tool: &'static str, arguments: Value) -> (Value, String) {
        let result = self.call(tool, arguments).await.unwrap();
        assert_eq!(result.is_error, Some(false), "{tool}: {}", text(&result));
        (self.checked(tool, &result).await, text(&result))
    }

    /// Calls a tool that must refuse; the problem must be what its output schema says.
    pub async fn refuse(&self, tool: &'static str, arguments: Value) -> (Value, String) {
        let result = self.call(tool, arguments).await.unwrap();
        assert_eq!(result.is_error, Some(true), "{tool}: {}", text(&result));
        (self.checked(tool, &result).await, text(&result))
    }

    async fn checked(&self, tool: &str, result: &CallToolResult) -> Value {
        let content = result.structured_content.clone().expect("structured content");
        let tools = self.client.list_all_tools().await.unwrap();
        let schema = tools.into_iter().find(|listed| listed.name == tool).unwrap().output_schema.unwrap();
        let schema = Value::Object((*schema).clone());
        let breaches = breaches(&content, &schema, &schema, tool);
        assert!(breaches.is_empty(), "{breaches:#?}");
        content
    }

    /// Arguments for a project with the repository's tiny base model.
    pub fn project_arguments(&self) -> Value {
        json!({
            "project_name": "health",
            "output_dir": self.root(),
            "base_model_config": {
                "type": "olmo", "model_id": "olmo2-tiny", "local_path": fixture("reference/olmo2-tiny"),
            },
            "training_config": { "num_stages": 2, "iterations": 12 },
        })
    }

    /// Makes a project.
    pub async fn project(&self) -> Value {
        self.succeed("generate_fine_tuning_project", self.project_arguments()).await.0["project_path"].clone()
    }

    /// Makes a project and a run of it.
    pub async fn run(&self) -> (Value, Value) {
        let project = self.project().await;
        let run = self.succeed("configure_training_run", run_arguments(&project)).await.0;
        (project, run["run_id"].clone())
    }
}

/// How a client begins.
fn lifecycle(is_stateless: bool) -> ClientLifecycleMode {
    if is_stateless {
        ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] }
    } else {
        ClientLifecycleMode::Initialize
    }
}

async fn connected(
    server: Server,
    listener: Listener,
    lifecycle: ClientLifecycleMode,
) -> RunningService<RoleClient, Listener> {
    let (server_end, client_end) = tokio::io::duplex(1 << 16);
    tokio::spawn(async move { server.serve(server_end).await.unwrap().waiting().await });
    listener.serve_with_lifecycle(client_end, lifecycle).await.unwrap()
}

pub fn run_arguments(project: &Value) -> Value {
    json!({
        "project_path": project,
        "run_name": "first",
        "training_data": {
            "train_dataset": fixture("demo/narratives_train.jsonl"),
            "validation_dataset": fixture("demo/narratives_validation.jsonl"),
        },
    })
}

pub fn text(result: &CallToolResult) -> String {
    result.content.iter().filter_map(|part| part.as_text()).map(|part| part.text.as_str()).collect()
}

pub fn fixture(path: &str) -> PathBuf {
    fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(path)).unwrap()
}

/// What `content` breaks of the part of JSON Schema that is derived from Rust types. A validator from a registry
/// would be better, but those known pull features that make the whole engine build twice.
fn breaches(content: &Value, schema: &Value, root: &Value, path: &str) -> Vec<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = root.pointer(reference.trim_start_matches('#')).expect("a reference that resolves");
        return breaches(content, target, root, path);
    }
    let mut found = Vec::new();
    for choices in ["anyOf", "oneOf"].iter().filter_map(|key| schema[*key].as_array()) {
        let all: Vec<_> = choices.iter().map(|choice| breaches(content, choice, root, path)).collect();
        if !all.iter().any(Vec::is_empty) {
            found.push(format!("{path}: none of the choices fits: {all:?}"));
        }
    }
    let is = |name: &str| match name {
        "null" => content.is_null(),
        "boolean" => content.is_boolean(),
        "string" => content.is_string(),
        "integer" => content.is_i64() || content.is_u64(),
        "number" => content.is_number(),
        "array" => content.is_array(),
        "object" => content.is_object(),
        other => panic!("unknown type {other}"),
    };
    let fits = match &schema["type"] {
        Value::String(name) => is(name),
        Value::Array(names) => names.iter().filter_map(Value::as_str).any(is),
        _ => true,
    };
    let listed = schema["enum"].as_array().is_none_or(|values| values.contains(content));
    let constant = schema.get("const").is_none_or(|value| value == content);
    if !(fits && listed && constant) {
        found.push(format!("{path}: {content} is not {schema}"));
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if content.get(name).is_none() {
            found.push(format!("{path}: `{name}` is missing"));
        }
    }
    for (name, value) in content.as_object().into_iter().flatten() {
        if let Some(schema) = schema["properties"].get(name) {
            found.extend(breaches(value, schema, root, &format!("{path}.{name}")));
        }
    }
    if schema["items"].is_object() {
        for (index, value) in content.as_array().into_iter().flatten().enumerate() {
            found.extend(breaches(value, &schema["items"], root, &format!("{path}[{index}]")));
        }
    }
    found
}
