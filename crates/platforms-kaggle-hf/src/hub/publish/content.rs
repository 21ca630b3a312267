//! Large files on their way to where the Hub stores them: git-lfs' batch interface, with the Hub's own transfer in parts.

use std::{cell::RefCell, collections::BTreeMap, ops::ControlFlow, sync::atomic::Ordering};

use greentune_http_client::{Address, FilePart, HttpError};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    files::LocalFile,
    repository::{Repository, bad_answer},
};
use crate::hub::{
    client,
    error::{HubError, Result},
    watch::ProgressSum,
};

/// The type of git-lfs' messages.
const LFS: &str = "application/vnd.git-lfs+json";
/// Objects that are asked about at once, as the official client does.
const AT_ONCE: usize = 256;
/// Most parts that a file may be sent in: what stores of objects allow.
const MOST_PARTS: u64 = 10_000;

#[derive(Deserialize)]
struct Batch {
    objects: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    oid: String,
    actions: Option<Actions>,
    error: Option<Refused>,
}

#[derive(Deserialize)]
struct Refused {
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Actions {
    upload: Option<Action>,
    verify: Option<Action>,
}

#[derive(Deserialize)]
struct Action {
    href: String,
    /// Headers, and for a transfer in parts its `chunk_size` and the address of each part by its number.
    #[serde(default)]
    header: BTreeMap<String, Value>,
}

impl Repository<'_> {
    /// Sends the content of `files` as far as the Hub does not have it; how many bytes that were.
    pub(super) fn send_objects(&self, files: &[&LocalFile], progress: &mut ProgressSum) -> Result<u64> {
        let mut sent = 0;
        for files in files.chunks(AT_ONCE) {
            let actions = self.wanted(files)?;
            for file in files {
                if let Some(Actions { upload: Some(upload), verify }) = actions.get(&file.sha256) {
                    self.send_object(file, upload, progress)?;
                    self.verify(file, verify.as_ref())?;
                    sent += file.bytes;
                }
                progress.before += file.bytes;
                progress.at(&file.name, 0);
            }
        }
        Ok(sent)
    }

    /// What the Hub wants done for each of `files`, by its hash. It wants nothing done for what it has.
    fn wanted(&self, files: &[&LocalFile]) -> Result<BTreeMap<String, Actions>> {
        let url = format!("{}/{}.git/info/lfs/objects/batch", self.settings.endpoint, self.id);
        let objects: Vec<Value> =
            files.iter().map(|file| json!({ "oid": file.sha256, "size": file.bytes })).collect();
        let body = json!({
            "operation": "upload",
            "transfers": ["basic", "multipart"],
            "objects": objects,
            "hash_algo": "sha256",
        });
        let Batch { objects } = self.ask(&url, LFS, &body.to_string())?;
        let mut wanted = BTreeMap::new();
        for Object { oid, actions, error } in objects {
            if let Some(Refused { message }) = error {
                return Err(bad_answer(&url, format!("it refuses {oid}: {message}")));
            }
            wanted.extend(actions.map(|actions| (oid, actions)));
        }
        Ok(wanted)
    }

    fn send_object(&self, file: &LocalFile, upload: &Action, progress: &ProgressSum) -> Result<()> {
        let Some(part_bytes) = upload.header.get("chunk_size") else {
            let whole = FilePart { path: &file.path, offset: 0, length: file.bytes };
            return self.send_part(file, whole, &upload.href, progress).map(drop);
        };
        let parts = parts(file, part_bytes, &upload.header)
            .ok_or_else(|| bad_answer(&upload.href, String::from("its parts do not fit the file")))?;
        let mut done = Vec::with_capacity(parts.len());
        for (number, (part, url)) in (1..).zip(parts) {
            let etag = self.send_part(file, part, url, progress)?;
            let etag = etag.ok_or_else(|| bad_answer(url, String::from("ETag is missing")))?;
            done.push(json!({ "partNumber": number, "etag": etag }));
        }
        let body = json!({ "oid": file.sha256, "parts": done });
        self.tell(&upload.href, &body)
    }

    /// Sends a part of `file` to `url`, again when that failed in a way that may pass; the name that the store gave it.
    fn send_part(
        &self,
        file: &LocalFile,
        part: FilePart,
        url: &str,
        progress: &ProgressSum,
    ) -> Result<Option<String>> {
        let address = self.storage(url)?;
        let cut = RefCell::new((0, String::new()));
        let attempt = || {
            let watch = |sent| {
                progress.at(&file.name, part.offset + sent);
                cut.borrow_mut().0 = part.offset + sent;
                let is_stopped = self.watch.cancelled.load(Ordering::Relaxed);
                if is_stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            let answer = match self.http.put_file(&address, part, watch) {
                Err(HttpError::Stopped) => return Err(HubError::Cancelled(self.id.to_owned())),
                Err(HttpError::File(kind)) => return Err(HubError::file("read", &file.path)(kind.into())),
                answer => answer.map_err(|error| client::failed(self.settings, &error))?,
            };
            let answer = self.check(answer)?;
            Ok(answer.header("etag").map(str::to_owned))
        };
        self.patiently(attempt).map_err(|error| match error {
            error if !error.is_passing() => error,
            error => HubError::UploadCut {
                file: file.name.clone(),
                done: cut.borrow().0,
                total: file.bytes,
                reason: error.to_string(),
            },
        })
    }

    /// Has the Hub look at what arrived.
    fn verify(&self, file: &LocalFile, verify: Option<&Action>) -> Result<()> {
        let Some(Action { href, .. }) = verify else { return Ok(()) };
        self.tell(href, &json!({ "oid": file.sha256, "size": file.bytes }))
    }

    /// Posts `body` to `url`, where the answer's status is all that counts.
    fn tell(&self, url: &str, body: &Value) -> Result<()> {
        let address = self.storage(url)?;
        self.patiently(|| {
            let request = self.http.post(address.clone(), body.to_string());
            let request = request.header("content-type", LFS).header("accept", LFS);
            self.check(self.send(request)?).map(drop)
        })
    }

    /// An address that the Hub named: of https, or of plain http where the Hub itself is reached so.
    fn storage(&self, url: &str) -> Result<Address> {
        let address = self.address(url)?;
        let hub = self.address(&self.settings.endpoint)?.origin();
        if address.origin().is_encrypted() || !hub.is_encrypted() {
            return Ok(address);
        }
        let reason = String::from("it would have content sent over plain http");
        Err(bad_answer(&self.settings.endpoint, reason))
    }
}

/// The parts of `file`, each with its address; nothing where they do not cover it.
fn parts<'a>(
    file: &'a LocalFile,
    part_bytes: &Value,
    header: &'a BTreeMap<String, Value>,
) -> Option<Vec<(FilePart<'a>, &'a str)>> {
    let part_bytes = part_bytes.as_u64().or_else(|| part_bytes.as_str()?.parse().ok())?;
    let addresses: BTreeMap<u64, &str> =
        header.iter().filter_map(|(number, url)| Some((number.parse().ok()?, url.as_str()?))).collect();
    let count = file.bytes.div_ceil(part_bytes.max(1));
    if part_bytes == 0 || count > MOST_PARTS || count != addresses.len() as u64 {
        return None;
    }
    let part = |(index, url): (u64, &'a str)| {
        let offset = index * part_bytes;
        let length = part_bytes.min(file.bytes - offset);
        (FilePart { path: &file.path, offset, length }, url)
    };
    Some((0..).zip(addresses.into_values()).map(part).collect())
}
