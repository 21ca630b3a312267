//! One file: fetched from where an earlier attempt left off, compared with what was promised, put in its place.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
};

use greentune_http_client::Answer;
use sha2::{Digest, Sha256};

use super::{
    cache::{CachedModel, make_folder},
    client::{Client, FileInfo, REPETITIONS},
    error::{HubError, Result},
    watch::{ProgressSum, TransferControl},
};

/// Bytes read at once.
const PIECE: usize = 1 << 18;
/// What an attempt must bring to count as getting on.
const PROGRESS: u64 = 1 << 16;

/// A file on its way into the cache.
pub(super) struct Download<'a> {
    pub(super) client: &'a Client<'a>,
    pub(super) cached: &'a CachedModel,
    pub(super) id: &'a str,
    pub(super) name: &'a str,
    pub(super) info: &'a FileInfo,
    pub(super) watch: &'a TransferControl<'a>,
}

impl Download<'_> {
    /// Brings the content into `blobs/`; returns the bytes that were fetched.
    ///
    /// Errors: whatever keeps it from being complete; what was fetched so far stays for the next attempt, unless it
    /// is not what was promised.
    pub(super) fn run(&self, gauge: &mut ProgressSum) -> Result<u64> {
        let blob = self.cached.blob(&self.info.etag);
        if let Some(folder) = blob.parent() {
            make_folder(folder)?;
        }
        let _lock = self.cached.lock(&self.info.etag, self.watch)?;
        if blob.is_file() {
            gauge.at(self.name, self.info.size);
            return Ok(0);
        }
        let incomplete = with_ending(&blob, "incomplete");
        let began_at = length(&incomplete).min(self.info.size);
        self.complete(&incomplete, gauge)?;
        if let Err(reason) = self.matches(&incomplete)? {
            fs::remove_file(&incomplete).map_err(HubError::file("remove", &incomplete))?;
            return Err(HubError::Damaged { id: self.id.to_owned(), file: self.name.to_owned(), reason });
        }
        fs::rename(&incomplete, &blob).map_err(HubError::file("rename", incomplete))?;
        Ok(self.info.size - began_at)
    }

    /// Appends to the file at `path` until it is as long as promised; gives up when nothing comes any more.
    fn complete(&self, path: &Path, gauge: &mut ProgressSum) -> Result<()> {
        let (mut in_vain, mut best) = (0, length(path));
        loop {
            let start = length(path);
            if start == self.info.size && path.is_file() {
                gauge.at(self.name, start);
                return Ok(());
            }
            let attempt = self.append(path, start, gauge);
            let now = length(path);
            let error = match attempt {
                Ok(()) if now >= self.info.size => continue,
                Ok(()) => self.cut(now, "the connection was closed"),
                Err(error) if error.is_passing() => error,
                Err(error) => return Err(error),
            };
            // Beginning again and coming as far as before is no progress.
            in_vain = if now >= best + PROGRESS { 0 } else { in_vain + 1 };
            best = best.max(now);
            let pause = (in_vain <= REPETITIONS).then(|| self.client.pause(&error, in_vain)).flatten();
            match (pause, error) {
                (Some(pause), _) => self.watch.sleep(pause)?,
                (None, HubError::Unreachable { reason, .. }) if now > 0 => return Err(self.cut(now, &reason)),
                (None, error) => return Err(error),
            }
        }
    }

    /// One request: what it brings goes to the end of the file at `path`, which is `start` bytes long.
    fn append(&self, path: &Path, start: u64, gauge: &mut ProgressSum) -> Result<()> {
        let (write, open) = (HubError::file("write to", path), HubError::file("open", path));
        // Longer than promised: it cannot be the beginning of this file.
        let start = if start > self.info.size { 0 } else { start };
        let answer = self.client.open(self.name, start)?;
        let mut file = File::options().create(true).append(true).open(path).map_err(open)?;
        let start = if begins_at(&answer) == Some(start) { start } else { 0 };
        file.set_len(start).map_err(write)?;
        if answer.status() == 416 {
            return Ok(());
        }
        self.pour(answer, &mut file, path, start, gauge)
    }

    fn pour(
        &self,
        mut answer: Answer,
        file: &mut File,
        path: &Path,
        mut done: u64,
        gauge: &mut ProgressSum,
    ) -> Result<()> {
        // One byte more than promised shows that it is too long; what follows must not fill the disk.
        let end = self.info.size.saturating_add(1);
        while done < end {
            self.watch.check()?;
            gauge.at(self.name, done);
            let piece = answer.next_piece().map_err(|error| self.client.failed(&error))?;
            let Some(piece) = piece else { return Ok(()) };
            let wanted = piece.len().min((end - done) as usize);
            file.write_all(&piece[..wanted]).map_err(HubError::file("write to", path))?;
            done += wanted as u64;
        }
        Ok(())
    }

    /// Whether the file at `path` is what was promised, else how it differs.
    fn matches(&self, path: &Path) -> Result<Result<(), String>> {
        let FileInfo { etag, size } = self.info;
        let found = length(path);
        if found != *size {
            return Ok(Err(format!("{found} bytes instead of {size}")));
        }
        // Only what is stored apart is named after its SHA-256; the rest is small.
        let is_digest = etag.len() == 64 && etag.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_digest && sha256(path, self.watch)? != etag.to_ascii_lowercase() {
            return Ok(Err(String::from("another SHA-256 than announced")));
        }
        Ok(Ok(()))
    }

    fn cut(&self, done: u64, reason: &str) -> HubError {
        let (file, total) = (self.name.to_owned(), self.info.size);
        HubError::Cut { file, done, total, reason: reason.to_owned() }
    }
}

/// The offset at which the body of `answer` begins; none when it cannot be told.
fn begins_at(answer: &Answer) -> Option<u64> {
    match answer.status() {
        206 => {
            let range = answer.header("content-range")?;
            range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
        }
        _ => Some(0),
    }
}

fn sha256(path: &Path, watch: &TransferControl) -> Result<String> {
    let read = |error| HubError::file("read", path)(error);
    let mut file = File::open(path).map_err(read)?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; PIECE];
    loop {
        watch.check()?;
        match file.read(&mut piece).map_err(read)? {
            0 => return Ok(hex(&hasher.finalize())),
            count => hasher.update(&piece[..count]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}
