//! Repositories that are written to, as the Hub's interface does it without Xet: what it answers, stores and checks.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::http::{Answer, Request};

/// The account whose tokens are known.
pub const WRITER: &str = "ada";
/// An organisation in which that account may write.
pub const MAKERS: &str = "makers";
/// An organisation in which it may read alone.
pub const READERS: &str = "readers";
/// That token.
pub const WRITE_TOKEN: &str = "hf_write";
/// A token that may read alone.
pub const READ_TOKEN: &str = "hf_read";
/// A fine-grained token, which may write to one repository alone.
pub const FINE_GRAINED_TOKEN: &str = "hf_fine";
/// That repository.
pub const FINE_GRAINED_REPOSITORY: &str = "ada/own";

/// Larger files are stored apart, and so are those whose endings the Hub knows.
const LARGEST_REGULAR: u64 = 10 << 20;
const STORED_APART: [&str; 4] = [".safetensors", ".bin", ".gguf", ".model"];

/// A repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repository {
    /// Whether only its owner sees it.
    pub is_private: bool,
    /// Content by path.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Titles of its commits, oldest first.
    pub commits: Vec<String>,
    /// Paths of the files that are stored apart.
    pub stored_apart: BTreeSet<String>,
}

/// All repositories, and what is stored for them.
#[derive(Debug, Default)]
pub(super) struct Repositories {
    pub(super) all: BTreeMap<String, Repository>,
    /// Content that is stored apart, by its SHA-256.
    objects: BTreeMap<String, Vec<u8>>,
    /// Parts that have arrived, by hash and number.
    parts: BTreeMap<(String, u64), Vec<u8>>,
    /// Files of more bytes are sent in parts of so many.
    pub(super) part_bytes: Option<u64>,
}

impl Repositories {
    /// The answer, where the request is one that concerns repositories that are written to.
    pub(super) fn answer(&mut self, request: &Request, endpoint: &str, storage: &str) -> Option<Answer> {
        let path = request.path.split('?').next().unwrap_or_default();
        if let Some(rest) = path.strip_prefix("/upload/") {
            return Some(self.store(rest, request));
        }
        let answer = match (request.method.as_str(), path) {
            ("GET", "/api/whoami-v2") => who(request),
            ("POST", "/api/validate-yaml") => found(&json!({ "errors": [], "warnings": [] })),
            ("POST", "/api/repos/create") => {
                let wanted = body(request);
                may_write(request, &wanted_id(&wanted)).unwrap_or_else(|| self.create(&wanted, endpoint))
            }
            ("POST", _) => {
                let rest = path.trim_start_matches('/');
                let rest = rest.strip_prefix("api/models/").unwrap_or(rest);
                let (id, call) = split_call(rest)?;
                may_write(request, id).unwrap_or_else(|| self.write(id, call, request, endpoint, storage))
            }
            ("GET" | "HEAD", _) => return self.read(path, request),
            _ => return None,
        };
        Some(answer)
    }

    fn create(&mut self, wanted: &Value, endpoint: &str) -> Answer {
        let (owner, id) = (owner_of(wanted), wanted_id(wanted));
        if owner != WRITER && owner != MAKERS {
            let message = format!("You don't have the rights to create a model under the namespace {owner}");
            return Answer::refusal(403, "", &message);
        }
        if self.all.contains_key(&id) {
            let body =
                json!({ "error": "You already created this model repo", "url": format!("{endpoint}/{id}") });
            return Answer::new(409, body.to_string());
        }
        let is_private = wanted["visibility"] == "private" || wanted["private"] == true;
        let commits = vec![String::from("initial commit")];
        self.all.insert(id.clone(), Repository { is_private, commits, ..Repository::default() });
        found(&json!({ "url": format!("{endpoint}/{id}"), "name": id }))
    }

    fn write(&mut self, id: &str, call: &str, request: &Request, endpoint: &str, storage: &str) -> Answer {
        let Some(repository) = self.all.get_mut(id) else {
            return Answer::refusal(404, "RepoNotFound", "Repository not found");
        };
        match call {
            "preupload/main" => found(&preupload(repository, &body(request))),
            "info/lfs/objects/batch" => found(&self.batch(id, &body(request), endpoint, storage)),
            "complete" => self.complete(&body(request)),
            "verify" => {
                let (body, no) = (body(request), Answer::refusal(404, "", "no such object"));
                let object = self.objects.get(body["oid"].as_str().unwrap_or_default());
                object.filter(|bytes| body["size"] == bytes.len()).map_or(no, |_| found(&json!({})))
            }
            "commit/main" => self.commit(id, &request.body, endpoint),
            _ => Answer::refusal(404, "", "no such call"),
        }
    }

    fn batch(&self, id: &str, wanted: &Value, endpoint: &str, storage: &str) -> Value {
        let object = |object: &Value| {
            let (oid, size) =
                (object["oid"].as_str().unwrap_or_default(), object["size"].as_u64().unwrap_or(0));
            if self.objects.contains_key(oid) {
                return json!({ "oid": oid, "size": size });
            }
            let verify = json!({ "href": format!("{endpoint}/{id}.git/verify") });
            let upload = match self.part_bytes.filter(|part| size > *part) {
                None => json!({ "href": format!("{storage}/upload/{oid}") }),
                Some(part) => {
                    let mut header = json!({ "chunk_size": part.to_string() });
                    for number in 1..=size.div_ceil(part) {
                        header[format!("{number:05}")] = json!(format!("{storage}/upload/{oid}/{number}"));
                    }
                    json!({ "href": format!("{endpoint}/{id}.git/complete"), "header": header })
                }
            };
            json!({ "oid": oid, "size": size, "actions": { "upload": upload, "verify": verify } })
        };
        let objects: Vec<Value> = wanted["objects"].as_array().into_iter().flatten().map(object).collect();
        json!({ "transfer": "basic", "objects": objects })
    }

    /// `PUT /upload/{hash}` or `/upload/{hash}/{part}`. The store knows no token and wants none.
    fn store(&mut self, rest: &str, request: &Request) -> Answer {
        if request.authorization.is_some() {
            return Answer::refusal(400, "", "Only one auth mechanism allowed");
        }
        let (hash, part) = rest.split_once('/').unwrap_or((rest, ""));
        let stored = match part.parse() {
            Ok(number) => {
                self.parts.insert((hash.to_owned(), number), request.body.clone());
                true
            }
            Err(_) => self.keep(hash, request.body.clone()),
        };
        if stored {
            Answer::new(200, "").with("ETag", format!("\"{part}-{}\"", request.body.len()))
        } else {
            Answer::refusal(400, "", "the content has another hash")
        }
    }

    fn complete(&mut self, wanted: &Value) -> Answer {
        let hash = wanted["oid"].as_str().unwrap_or_default();
        let mut whole = Vec::new();
        for part in wanted["parts"].as_array().into_iter().flatten() {
            let number = part["partNumber"].as_u64().unwrap_or(0);
            match self.parts.remove(&(hash.to_owned(), number)) {
                Some(bytes) if part["etag"] == format!("\"{number}-{}\"", bytes.len()) => whole.extend(bytes),
                _ => return Answer::refusal(400, "", "a part is missing or has another ETag"),
            }
        }
        if self.keep(hash, whole) { found(&json!({})) } else { Answer::refusal(400, "", "another hash") }
    }

    fn keep(&mut self, hash: &str, bytes: Vec<u8>) -> bool {
        let is_it = hexadecimal(&Sha256::digest(&bytes)) == hash;
        if is_it {
            self.objects.insert(hash.to_owned(), bytes);
        }
        is_it
    }

    fn commit(&mut self, id: &str, lines: &[u8], endpoint: &str) -> Answer {
        let lines = String::from_utf8_lossy(lines);
        let operations = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let (mut title, mut files, mut apart) = (String::new(), BTreeMap::new(), BTreeSet::new());
        for operation in operations {
            let value = &operation["value"];
            let path = value["path"].as_str().unwrap_or_default().to_owned();
            match operation["key"].as_str() {
                Some("header") => value["summary"].as_str().unwrap_or_default().clone_into(&mut title),
                Some("file") => {
                    let content = BASE64_STANDARD.decode(value["content"].as_str().unwrap_or_default());
                    files.insert(path, content.unwrap_or_default());
                }
                Some("lfsFile") => {
                    let object = self.objects.get(value["oid"].as_str().unwrap_or_default());
                    let Some(bytes) = object else {
                        return Answer::refusal(400, "", "an object was not uploaded");
                    };
                    apart.insert(path.clone());
                    files.insert(path, bytes.clone());
                }
                _ => return Answer::refusal(400, "", "no such operation"),
            }
        }
        let Some(repository) = self.all.get_mut(id).filter(|_| !title.is_empty() && !files.is_empty()) else {
            return Answer::refusal(400, "", "nothing to commit");
        };
        repository.files.extend(files);
        repository.stored_apart.extend(apart);
        repository.commits.push(title);
        let commit = repository.newest_commit();
        let url = format!("{endpoint}/{id}/commit/{commit}");
        found(&json!({ "success": true, "commitOid": commit, "commitUrl": url, "hookOutput": "" }))
    }

    /// What is read of a repository, where there is one.
    fn read(&self, path: &str, request: &Request) -> Option<Answer> {
        let about = path.strip_prefix("/api/models/");
        let rest = about.unwrap_or(path).trim_start_matches('/');
        let (id, repository) =
            self.all.iter().find(|(id, _)| rest.strip_prefix(id.as_str()).is_some_and(is_end))?;
        if repository.is_private && !may_read(request) {
            let status = if request.authorization.is_some() { 404 } else { 401 };
            return Some(Answer::refusal(status, "RepoNotFound", "Repository not found"));
        }
        let commit = repository.newest_commit();
        if about.is_some() && rest.strip_prefix(id.as_str())?.starts_with("/tree/") {
            let entries = repository.files.iter().map(|(name, bytes)| repository.in_tree(name, bytes));
            return Some(found(&entries.collect()));
        }
        if about.is_some() {
            let siblings: Vec<_> = repository.files.keys().map(|name| json!({ "rfilename": name })).collect();
            let about = json!({ "_id": "0", "id": id, "modelId": id, "sha": commit, "siblings": siblings, "private": repository.is_private });
            return Some(found(&about));
        }
        let name = rest.strip_prefix(id.as_str())?.strip_prefix("/resolve/")?.split_once('/')?.1;
        let Some(bytes) = repository.files.get(name) else {
            return Some(Answer::refusal(404, "EntryNotFound", "Entry not found"));
        };
        let etag = repository.hash_of(name, bytes);
        let answer = super::ranged(bytes.clone(), request);
        Some(answer.with("ETag", format!("\"{etag}\"")).with("X-Repo-Commit", commit))
    }
}

impl Repository {
    /// The entry of a file in the list of files.
    fn in_tree(&self, name: &str, bytes: &[u8]) -> Value {
        let mut entry = json!({ "type": "file", "oid": git_hash(bytes), "size": bytes.len(), "path": name });
        if self.stored_apart.contains(name) {
            entry["lfs"] =
                json!({ "oid": self.hash_of(name, bytes), "size": bytes.len(), "pointerSize": 134 });
        }
        entry
    }

    /// The name of a file's content: SHA-256 of what is stored apart, else git's hash.
    fn hash_of(&self, name: &str, bytes: &[u8]) -> String {
        if self.stored_apart.contains(name) { hexadecimal(&Sha256::digest(bytes)) } else { git_hash(bytes) }
    }

    /// 40 digits that stand for its history.
    fn newest_commit(&self) -> String {
        let mut hash = Sha256::new();
        self.commits.iter().for_each(|title| hash.update(title));
        self.files.iter().for_each(|(name, bytes)| {
            hash.update(name);
            hash.update(bytes);
        });
        hexadecimal(&hash.finalize())[..40].to_owned()
    }
}

/// What is to become of each file, and the hash of what is there under its name.
fn preupload(repository: &Repository, wanted: &Value) -> Value {
    let file = |file: &Value| {
        let path = file["path"].as_str().unwrap_or_default();
        let is_apart = STORED_APART.iter().any(|ending| path.ends_with(ending))
            || file["size"].as_u64().unwrap_or(0) > LARGEST_REGULAR;
        let oid = repository
            .files
            .get(path)
            .map(|bytes| if is_apart { hexadecimal(&Sha256::digest(bytes)) } else { git_hash(bytes) });
        let mode = if is_apart { "lfs" } else { "regular" };
        json!({ "path": path, "uploadMode": mode, "shouldIgnore": false, "oid": oid })
    };
    json!({ "files": wanted["files"].as_array().into_iter().flatten().map(file).collect::<Vec<_>>() })
}

/// The repository's id and what is asked of it.
fn split_call(rest: &str) -> Option<(&str, &str)> {
    if let Some(parts) = rest.split_once(".git/") {
        return Some(parts);
    }
    let slash = rest.match_indices('/').nth(1)?.0;
    Some((&rest[..slash], &rest[slash + 1..]))
}

/// Whose the token is, and what it may do.
fn who(request: &Request) -> Answer {
    let tokens = [
        (WRITE_TOKEN, json!({ "displayName": "w", "role": "write" })),
        (READ_TOKEN, json!({ "displayName": "r", "role": "read" })),
        (
            FINE_GRAINED_TOKEN,
            json!({ "displayName": "f", "role": "fineGrained", "fineGrained": { "scoped": [
            { "entity": { "_id": "1", "type": "user", "name": WRITER }, "permissions": ["repo.content.read"] },
            {
                "entity": { "_id": "2", "type": "model", "name": FINE_GRAINED_REPOSITORY },
                "permissions": ["repo.content.read", "repo.write"],
            },
        ] } }),
        ),
    ];
    let sent = request.authorization.as_deref();
    let Some((_, token)) = tokens.into_iter().find(|(token, _)| sent == Some(&bearer(token))) else {
        return unknown_token();
    };
    let org = |name: &str, role: &str| json!({ "type": "org", "id": name, "name": name, "roleInOrg": role });
    found(&json!({
        "type": "user", "id": "0", "name": WRITER, "fullname": WRITER,
        "orgs": [org(MAKERS, "write"), org(READERS, "read")],
        "auth": { "type": "access_token", "accessToken": token },
    }))
}

/// Why the request may not write to the repository `id`.
fn may_write(request: &Request, id: &str) -> Option<Answer> {
    match request.authorization.as_deref() {
        Some(sent) if sent == bearer(WRITE_TOKEN) => None,
        Some(sent) if sent == bearer(FINE_GRAINED_TOKEN) && id == FINE_GRAINED_REPOSITORY => None,
        Some(sent) if sent == bearer(READ_TOKEN) || sent == bearer(FINE_GRAINED_TOKEN) => {
            Some(Answer::refusal(403, "", "this token has no write permission"))
        }
        _ => Some(unknown_token()),
    }
}

fn unknown_token() -> Answer {
    Answer::refusal(401, "", "Invalid username or password.")
}

/// Who is to own the repository that is to be made.
fn owner_of(wanted: &Value) -> &str {
    wanted["organization"].as_str().unwrap_or(WRITER)
}

fn wanted_id(wanted: &Value) -> String {
    format!("{}/{}", owner_of(wanted), wanted["name"].as_str().unwrap_or_default())
}

/// Whether a private repository is shown: fine-grained tokens read all of the account here.
fn may_read(request: &Request) -> bool {
    let sent = request.authorization.as_deref();
    [WRITE_TOKEN, FINE_GRAINED_TOKEN].iter().any(|token| sent == Some(&bearer(token)))
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap_or_default()
}

fn found(answer: &Value) -> Answer {
    Answer::new(200, answer.to_string()).with("Content-Type", "application/json")
}

fn is_end(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with('/')
}

fn git_hash(bytes: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(format!("blob {}\0", bytes.len()));
    hash.update(bytes);
    hexadecimal(&hash.finalize())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
