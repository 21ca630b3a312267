//! A server of Weights & Biases as far as a run needs it: rows stand at their numbers, files where it says.

use std::{
    collections::BTreeMap,
    io::Write as _,
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard},
    thread,
};

use serde_json::{Value, json};

use crate::fake::Request;

/// What the server knows.
#[derive(Debug, Default)]
pub struct Knowledge {
    uri: String,
    pub is_made: bool,
    /// Variables of each `upsertBucket`.
    pub upserts: Vec<Value>,
    pub rows: BTreeMap<u64, Value>,
    /// Rows that came again as something else, or with a gap before them.
    pub broken_rows: Vec<u64>,
    pub rows_sent: u64,
    pub summary: Value,
    pub exit_codes: Vec<i64>,
    pub uploaded: Vec<String>,
    pub files: BTreeMap<String, Vec<u8>>,
    /// `(path, authorization)` of each call.
    pub calls: Vec<(String, Option<String>)>,
    /// The next call that holds these words is done, and not answered.
    pub lose_reply: Option<&'static str>,
    /// What every call is answered with instead.
    pub refusal: Option<(u16, &'static str)>,
}

pub struct FakeWandb {
    pub uri: String,
    knowledge: Arc<Mutex<Knowledge>>,
}

impl FakeWandb {
    pub fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    pub fn on(listener: TcpListener) -> Self {
        let uri = format!("http://{}", listener.local_addr().unwrap());
        let knowledge = Arc::new(Mutex::new(Knowledge { uri: uri.clone(), ..Knowledge::default() }));
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
}

fn serve(mut stream: TcpStream, shared: &Mutex<Knowledge>) -> Option<()> {
    let Request { target, authorization, body } = Request::read(&stream)?;
    let (status, text) = {
        let mut knowledge = shared.lock().unwrap();
        knowledge.calls.push((target.clone(), authorization));
        if let Some((status, text)) = knowledge.refusal {
            (status, text.to_owned())
        } else {
            let words = knowledge.lose_reply;
            let text = knowledge.take(&target, &body);
            let asked = format!("{target} {}", String::from_utf8_lossy(&body));
            if words.is_some_and(|words| asked.contains(words)) {
                knowledge.lose_reply = None;
                return None;
            }
            (200, text)
        }
    };
    let head =
        format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}", text.len());
    stream.write_all(head.as_bytes()).ok()
}

impl Knowledge {
    fn take(&mut self, target: &str, body: &[u8]) -> String {
        if let Some(name) = target.strip_prefix("/upload/") {
            self.files.insert(name.to_owned(), body.to_vec());
            return String::new();
        }
        let body: Value = serde_json::from_slice(body).unwrap();
        match target {
            "/graphql" => self.graphql(&body).to_string(),
            "/files/my%20team/adapters/demo-1/file_stream" => {
                self.stream(&body);
                json!({ "exitcode": null, "limits": {} }).to_string()
            }
            _ => panic!("nothing is at {target}"),
        }
    }

    fn graphql(&mut self, body: &Value) -> Value {
        let (query, variables) = (body["query"].as_str().unwrap(), &body["variables"]);
        if query.contains("upsertBucket") {
            let inserted = !std::mem::replace(&mut self.is_made, true);
            self.upserts.push(variables.clone());
            let project = json!({ "name": variables["project"], "entity": { "name": "my team" } });
            let bucket = json!({ "id": "Yg==", "name": variables["name"], "project": project });
            return json!({ "data": { "upsertBucket": { "bucket": bucket, "inserted": inserted } } });
        }
        assert!(query.contains("createRunFiles"), "{query}");
        let place = |name: &Value| {
            let url = format!("{}/upload/{}", self.uri, name.as_str().unwrap());
            json!({ "name": name, "uploadUrl": url })
        };
        let files: Vec<_> = variables["files"].as_array().unwrap().iter().map(place).collect();
        json!({ "data": { "createRunFiles": { "runID": "Yg==", "uploadHeaders": ["x-kind:plain"], "files": files } } })
    }

    fn stream(&mut self, body: &Value) {
        let history = &body["files"]["wandb-history.jsonl"];
        for (number, line) in (history["offset"].as_u64().unwrap_or_default()..)
            .zip(history["content"].as_array().into_iter().flatten())
        {
            let row: Value = serde_json::from_str(line.as_str().unwrap()).unwrap();
            let is_next = number == self.rows.len() as u64;
            if self.rows.get(&number).map_or(!is_next, |known| *known != row) {
                self.broken_rows.push(number);
            }
            self.rows.insert(number, row);
            self.rows_sent += 1;
        }
        let summary = &body["files"]["wandb-summary.json"];
        if let Some(text) = summary["content"][0].as_str() {
            assert_eq!(summary["offset"], 0);
            self.summary = serde_json::from_str(text).unwrap();
        }
        self.uploaded.extend(
            body["uploaded"].as_array().into_iter().flatten().map(|name| name.as_str().unwrap().to_owned()),
        );
        if body["complete"] == true {
            self.exit_codes.push(body["exitcode"].as_i64().unwrap());
        }
    }
}
