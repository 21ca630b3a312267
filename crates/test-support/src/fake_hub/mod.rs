//! A Hugging Face Hub with one model, and repositories that are written to, which misbehaves on demand.
//!
//! Weights are "stored apart": asking for one redirects to another host, as the Hub does with large files.

mod http;
mod model;
mod repositories;

use std::{
    io,
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use http::Answer;
pub use http::Request;
use model::{Model, ServedFile};
use repositories::Repositories;
pub use repositories::{
    FINE_GRAINED_REPOSITORY, FINE_GRAINED_TOKEN, MAKERS, READ_TOKEN, READERS, Repository, WRITE_TOKEN, WRITER,
};
use serde_json::json;

/// How the Hub behaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// Everything is public.
    #[default]
    Public,
    /// Everything is shown only to those with this token; others are told that there is nothing.
    Private(String),
    /// Files are given only to those who accepted the conditions, and nobody did.
    Gated,
    /// Nobody may read, whoever asks.
    Forbidden,
    /// Whoever sends a token is told that it is not known.
    RefusesTokens,
    /// So many requests are told to come back later.
    RateLimited {
        /// Requests that are refused.
        times: u32,
        /// The header `Retry-After`, in seconds.
        retry_after: u64,
    },
    /// Requests are accepted and never answered.
    Hangs,
    /// Every request fails with this status.
    Fails(u16),
    /// A proxy's login page instead of the Hub.
    LoginPage,
    /// So many downloads of weights break off after so many bytes.
    Cuts {
        /// Downloads that break off.
        times: u32,
        /// Bytes that come.
        after: usize,
    },
    /// Weights come whole, whatever `Range` says.
    IgnoresRanges,
    /// Weights come with one byte changed.
    Corrupts,
    /// Weights come shorter than announced, as if they were complete.
    Shortens,
    /// So many uploads of content break off after so many bytes.
    CutsUploads {
        /// Uploads that break off.
        times: u32,
        /// Bytes that are taken.
        after: u64,
    },
    /// Weights are stored on the Hub's own host, at another port.
    StoresOnAnotherPort,
}

/// A Hub that serves a folder until the process ends.
#[derive(Clone, Debug)]
pub struct FakeHub {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    endpoint: String,
    storage: String,
    other_port: String,
    model: Model,
    behaviour: Mutex<Behaviour>,
    requests: Mutex<Vec<Request>>,
    repositories: Mutex<Repositories>,
}

impl FakeHub {
    /// A Hub whose one model `id` has the files of `folder`.
    pub fn serving(folder: &Path, id: &str) -> io::Result<Self> {
        let hub = TcpListener::bind("127.0.0.1:0")?;
        // Where the whole network 127.0.0.0/8 is this machine, another host is one.
        let storage = TcpListener::bind("127.0.0.2:0").or_else(|_| TcpListener::bind("127.0.0.1:0"))?;
        let other_port = TcpListener::bind("127.0.0.1:0")?;
        let shared = Arc::new(Shared {
            endpoint: format!("http://{}", hub.local_addr()?),
            storage: format!("http://{}", storage.local_addr()?),
            other_port: format!("http://{}", other_port.local_addr()?),
            model: Model::read(folder, id)?,
            behaviour: Mutex::default(),
            requests: Mutex::default(),
            repositories: Mutex::default(),
        });
        for listener in [hub, storage, other_port] {
            let shared = Arc::clone(&shared);
            thread::spawn(move || accept(&listener, &shared));
        }
        Ok(Self { shared })
    }

    /// Its address, for `HF_ENDPOINT`.
    pub fn endpoint(&self) -> String {
        self.shared.endpoint.clone()
    }

    /// The one commit of its model.
    pub fn commit(&self) -> String {
        self.shared.model.commit.clone()
    }

    /// Behaves like this from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        *locked(&self.shared.behaviour) = behaviour;
    }

    /// Takes content of more than `bytes` in parts of so many.
    pub fn take_parts_of(&self, bytes: u64) {
        locked(&self.shared.repositories).part_bytes = Some(bytes);
    }

    /// The repository `id`, where somebody made it.
    pub fn repository(&self, id: &str) -> Option<Repository> {
        locked(&self.shared.repositories).all.get(id).cloned()
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        locked(&self.shared.requests).clone()
    }

    /// The requests that asked for the content of files.
    pub fn downloads(&self) -> Vec<Request> {
        let is_content = |request: &Request| request.method == "GET" && !request.path.starts_with("/api/");
        self.requests().into_iter().filter(is_content).collect()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming().flatten() {
        let shared = Arc::clone(shared);
        // A client that goes away is no failure of the server.
        thread::spawn(move || drop(serve(&stream, &shared)));
    }
}

fn serve(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    let request = Request::read(stream, shared.longest_upload()).inspect_err(|_| shared.cut_upload())?;
    if request.method.is_empty() {
        return Ok(());
    }
    locked(&shared.requests).push(request.clone());
    if *locked(&shared.behaviour) == Behaviour::Hangs {
        thread::sleep(Duration::from_mins(1));
    }
    shared.answer(&request).write(stream, request.method == "HEAD")
}

impl Shared {
    fn answer(&self, request: &Request) -> Answer {
        let (path, id) = (request.path.as_str(), self.model.id.as_str());
        if let Some(refusal) = self.refusal(request) {
            return refusal;
        }
        let written = locked(&self.repositories).answer(request, &self.endpoint, &self.storage);
        if let Some(answer) = written {
            return answer;
        }
        if let Some(digest) = path.strip_prefix("/storage/") {
            let file = self.model.files.iter().find(|file| file.digest == digest);
            return file.map_or_else(
                || Answer::refusal(404, "", "no such content"),
                |file| self.stored(file, request),
            );
        }
        let about = path.strip_prefix("/api/models/").and_then(|rest| rest.strip_prefix(id));
        let of_file =
            path.strip_prefix('/').and_then(|rest| rest.strip_prefix(id)?.strip_prefix("/resolve/"));
        match (about, of_file) {
            (Some(rest), _) => self.about(rest.split('?').next().unwrap_or_default()),
            (None, Some(rest)) => self.resolve(rest, request),
            (None, None) => Answer::refusal(404, "RepoNotFound", "Repository not found"),
        }
    }

    /// How many bytes of the next upload are taken, where it is to break off.
    fn longest_upload(&self) -> Option<u64> {
        match &*locked(&self.behaviour) {
            Behaviour::CutsUploads { times, after } if *times > 0 => Some(*after),
            _ => None,
        }
    }

    /// One upload has broken off.
    fn cut_upload(&self) {
        if let Behaviour::CutsUploads { times, .. } = &mut *locked(&self.behaviour) {
            *times = times.saturating_sub(1);
        }
    }

    fn refusal(&self, request: &Request) -> Option<Answer> {
        let is_about = request.path.starts_with("/api/");
        let is_stored = request.path.starts_with("/storage/");
        let sent = request.authorization.as_deref();
        let mut behaviour = locked(&self.behaviour);
        match &mut *behaviour {
            Behaviour::Private(token) if !is_stored && sent != Some(&format!("Bearer {token}")) => {
                // The Hub tells strangers 401 and those with a token 404, of what is hidden and what is not there alike.
                let status = if sent.is_some() { 404 } else { 401 };
                Some(Answer::refusal(status, "RepoNotFound", "Repository not found"))
            }
            // What a gated model is called and has is public.
            Behaviour::Gated if !is_about => {
                let status = if sent.is_some() { 403 } else { 401 };
                Some(Answer::refusal(status, "GatedRepo", "Access to this model is restricted"))
            }
            Behaviour::Forbidden => Some(Answer::refusal(403, "", "your token lacks a permission")),
            Behaviour::RefusesTokens if sent.is_some() => {
                Some(Answer::refusal(401, "", "Invalid credentials in Authorization header"))
            }
            Behaviour::RateLimited { times, retry_after } if *times > 0 => {
                *times -= 1;
                Some(
                    Answer::refusal(429, "", "Too many requests")
                        .with("Retry-After", retry_after.to_string()),
                )
            }
            Behaviour::Fails(status) => Some(Answer::refusal(*status, "", "out of order")),
            Behaviour::LoginPage => Some(Answer::new(200, "<html>please log in</html>")),
            _ => None,
        }
    }

    /// `/api/models/{id}`, with `/revision/{revision}` or `/tree/{revision}`.
    fn about(&self, rest: &str) -> Answer {
        let Model { id, commit, files, .. } = &self.model;
        let known = |revision: &str| revision == "main" || revision == commit;
        let answer = if rest.is_empty() || rest.strip_prefix("/revision/").is_some_and(known) {
            let siblings: Vec<_> = files.iter().map(|file| json!({ "rfilename": file.name })).collect();
            json!({ "_id": "0", "id": id, "modelId": id, "sha": commit, "siblings": siblings, "private": false })
        } else if rest.strip_prefix("/tree/").is_some_and(known) {
            files.iter().map(ServedFile::in_tree).collect()
        } else {
            return Answer::refusal(404, "RevisionNotFound", "Invalid rev id");
        };
        Answer::new(200, answer.to_string()).with("Content-Type", "application/json")
    }

    /// `{revision}/{file}`.
    fn resolve(&self, rest: &str, request: &Request) -> Answer {
        let Model { commit, files, .. } = &self.model;
        let Some((revision, name)) = rest.split_once('/') else {
            return Answer::refusal(404, "", "no such page");
        };
        if revision != "main" && revision != commit {
            return Answer::refusal(404, "RevisionNotFound", "Invalid rev id");
        }
        let Some(file) = files.iter().find(|file| file.name == name) else {
            return Answer::refusal(404, "EntryNotFound", "Entry not found").with("X-Repo-Commit", commit);
        };
        let quoted = format!("\"{}\"", file.etag());
        if !file.is_stored_apart() {
            return ranged(file.bytes.clone(), request).with("ETag", quoted).with("X-Repo-Commit", commit);
        }
        let is_beside = *locked(&self.behaviour) == Behaviour::StoresOnAnotherPort;
        let storage = if is_beside { &self.other_port } else { &self.storage };
        Answer::new(302, "")
            .with("Location", format!("{storage}/storage/{}", file.digest))
            .with("X-Repo-Commit", commit)
            .with("X-Linked-ETag", quoted)
            .with("X-Linked-Size", file.bytes.len().to_string())
    }

    /// The content of a file that is stored apart.
    fn stored(&self, file: &ServedFile, request: &Request) -> Answer {
        let mut behaviour = locked(&self.behaviour);
        let mut bytes = file.bytes.clone();
        match &mut *behaviour {
            Behaviour::Cuts { times, after } if *times > 0 => {
                *times -= 1;
                let cut_after = Some(*after);
                Answer { cut_after, ..ranged(bytes, request) }
            }
            Behaviour::IgnoresRanges => Answer::new(200, bytes),
            Behaviour::Corrupts => {
                bytes.iter_mut().last().into_iter().for_each(|last| *last ^= 1);
                ranged(bytes, request)
            }
            Behaviour::Shortens => {
                bytes.pop();
                ranged(bytes, request)
            }
            _ => ranged(bytes, request),
        }
    }
}

/// `bytes`, or those from where the request wants them on.
fn ranged(bytes: Vec<u8>, request: &Request) -> Answer {
    let total = bytes.len() as u64;
    match request.start() {
        None => Answer::new(200, bytes).with("Accept-Ranges", "bytes"),
        Some(start) if start >= total => {
            Answer::new(416, "").with("Content-Range", format!("bytes */{total}"))
        }
        Some(start) => Answer::new(206, bytes[start as usize..].to_vec())
            .with("Content-Range", format!("bytes {start}-{}/{total}", total - 1)),
    }
}
