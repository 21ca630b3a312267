//! An MLflow server as far as a run needs it; it misbehaves on demand.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

/// What happens to a call instead of what it is for.
#[derive(Clone, Debug)]
pub enum Answer {
    /// This status and body.
    Status(u16, String),
    /// A redirect.
    Redirect(String),
    /// Nothing, for as long as anybody waits.
    Hang,
    /// It is done, and the connection breaks before the answer; once.
    LoseReply,
    /// Somebody else has done it a moment before.
    Raced,
}

/// What the server knows.
#[derive(Debug, Default)]
pub struct Knowledge {
    pub experiment: Option<Value>,
    pub run: Option<Value>,
    pub runs_created: u32,
    pub artifact_uri: String,
    /// `(key, step, timestamp)` to value, as MLflow's database keys them.
    pub metrics: BTreeMap<(String, u64, i64), f64>,
    pub params: BTreeMap<String, String>,
    pub statuses: Vec<String>,
    pub artifacts: BTreeMap<String, Vec<u8>>,
    pub largest_batch: (usize, usize),
    pub calls: Vec<(String, Option<String>)>,
    pub answers: BTreeMap<&'static str, Answer>,
}

pub struct FakeMlflow {
    pub uri: String,
    knowledge: Arc<Mutex<Knowledge>>,
}

impl FakeMlflow {
    pub fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    pub fn on(listener: TcpListener) -> Self {
        let uri = format!("http://{}", listener.local_addr().unwrap());
        let knowledge = Arc::new(Mutex::new(Knowledge {
            artifact_uri: String::from("mlflow-artifacts:/1/r/artifacts"),
            ..Knowledge::default()
        }));
        let shared = Arc::clone(&knowledge);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { uri, knowledge }
    }

    pub fn knows(&self) -> MutexGuard<'_, Knowledge> {
        self.knowledge.lock().unwrap()
    }

    pub fn answering(self, call: &'static str, answer: Answer) -> Self {
        self.knows().answers.insert(call, answer);
        self
    }
}

/// A request, as far as a fake looks at it.
pub struct Request {
    pub target: String,
    pub authorization: Option<String>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn read(stream: &TcpStream) -> Option<Self> {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let target = line.split(' ').nth(1)?.to_owned();
        let (mut length, mut authorization) = (0, None);
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).ok()?;
            let Some((name, value)) = header.trim().split_once(": ") else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().ok()?,
                "authorization" => authorization = Some(value.to_owned()),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        Some(Self { target, authorization, body })
    }
}

fn serve(mut stream: TcpStream, shared: &Mutex<Knowledge>) -> Option<()> {
    let Request { target, authorization, body } = Request::read(&stream)?;
    let path = target.split('?').next()?;
    let call = path.trim_start_matches("/api/2.0/").trim_start_matches("mlflow/").to_owned();
    let answer = {
        let mut knowledge = shared.lock().unwrap();
        knowledge.calls.push((call.clone(), authorization));
        let special = knowledge.answers.iter().find(|(prefix, _)| call.starts_with(*prefix));
        special.map(|(prefix, answer)| (*prefix, answer.clone()))
    };
    let (status, text, location) = match answer {
        Some((_, Answer::Status(status, text))) => (status, text, None),
        Some((_, Answer::Redirect(to))) => (302, String::new(), Some(to)),
        Some((_, Answer::Hang)) => {
            thread::sleep(Duration::from_secs(30));
            return None;
        }
        Some((prefix, Answer::LoseReply)) => {
            let mut knowledge = shared.lock().unwrap();
            knowledge.answers.remove(prefix);
            knowledge.take(&call, &body);
            return None;
        }
        Some((_, Answer::Raced)) => {
            shared.lock().unwrap().take(&call, &body);
            (400, json!({ "error_code": "RESOURCE_ALREADY_EXISTS", "message": "there" }).to_string(), None)
        }
        None => {
            let (status, value) = shared.lock().unwrap().take(&call, &body);
            (status, if value.is_null() { String::new() } else { value.to_string() }, None)
        }
    };
    let location = location.map(|to| format!("Location: {to}\r\n")).unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{location}Connection: close\r\n\r\n{text}",
        text.len()
    );
    stream.write_all(head.as_bytes()).ok()
}

impl Knowledge {
    fn take(&mut self, call: &str, body: &[u8]) -> (u16, Value) {
        if let Some(path) = call.strip_prefix("mlflow-artifacts/artifacts/") {
            self.artifacts.insert(path.to_owned(), body.to_vec());
            return (200, Value::Null);
        }
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let absent = (404, json!({ "error_code": "RESOURCE_DOES_NOT_EXIST", "message": "not here" }));
        match call {
            "experiments/get-by-name" => {
                self.experiment.as_ref().map_or(absent, |known| (200, json!({ "experiment": known })))
            }
            "experiments/create" => {
                self.experiment =
                    Some(json!({ "experiment_id": "1", "name": body["name"], "lifecycle_stage": "active" }));
                (200, json!({ "experiment_id": "1" }))
            }
            "runs/search" => (200, json!({ "runs": self.run.iter().collect::<Vec<_>>() })),
            "runs/get" => self.run.as_ref().map_or(absent, |run| (200, json!({ "run": run }))),
            "runs/create" => {
                self.runs_created += 1;
                let info =
                    json!({ "run_id": "r", "artifact_uri": self.artifact_uri, "lifecycle_stage": "active" });
                let run = json!({ "info": info, "data": { "tags": body["tags"] }, "name": body["run_name"] });
                self.run = Some(run.clone());
                (200, json!({ "run": run }))
            }
            "runs/log-batch" => self.log(&body),
            "runs/update" => {
                self.statuses.push(body["status"].as_str().unwrap().to_owned());
                (200, json!({ "run_info": {} }))
            }
            _ => (404, json!({ "error_code": "ENDPOINT_NOT_FOUND", "message": call })),
        }
    }

    fn log(&mut self, body: &Value) -> (u16, Value) {
        let list = |name: &str| body[name].as_array().cloned().unwrap_or_default();
        let (metrics, params) = (list("metrics"), list("params"));
        self.largest_batch =
            (self.largest_batch.0.max(metrics.len()), self.largest_batch.1.max(params.len()));
        for metric in metrics {
            let key = metric["key"].as_str().unwrap().to_owned();
            let at = (key, metric["step"].as_u64().unwrap(), metric["timestamp"].as_i64().unwrap());
            self.metrics.insert(at, metric["value"].as_f64().unwrap());
        }
        for param in params {
            let text = |name: &str| param[name].as_str().unwrap().to_owned();
            let (key, value) = (text("key"), text("value"));
            if self.params.get(&key).is_some_and(|known| *known != value) {
                let message = format!("Changing param values is not allowed: {key}");
                return (400, json!({ "error_code": "INVALID_PARAMETER_VALUE", "message": message }));
            }
            self.params.insert(key, value);
        }
        (200, json!({}))
    }
}
