//! Several meters of one job on one machine: one of them counts it.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::Write as _,
    path::{Path, PathBuf},
};

/// The file whose lock decides which meter counts this machine. The system releases the lock when its holder ends for
/// any reason.
#[derive(Debug)]
pub(crate) struct HostLock {
    path: PathBuf,
    file: Option<File>,
    is_held: bool,
    name: String,
    skipped_seconds: f64,
    /// Who counted while this meter did not.
    others: Vec<String>,
    trouble: Option<String>,
}

impl HostLock {
    /// The lock at `path`; `name` identifies this meter to others.
    pub fn open(path: &Path, name: String) -> Self {
        let (file, trouble) = match OpenOptions::new().create(true).truncate(false).write(true).open(path) {
            Ok(file) => (Some(file), None),
            Err(error) => (None, Some(unusable(path, &error))),
        };
        let mut lock = Self {
            path: path.to_path_buf(),
            file,
            is_held: false,
            name,
            skipped_seconds: 0.0,
            others: Vec::new(),
            trouble,
        };
        lock.try_take();
        lock
    }

    /// Whether this meter counts the span of `seconds` that ends now; the lock is taken over for the next one when its
    /// holder has ended.
    pub fn counts(&mut self, seconds: f64) -> bool {
        if self.is_held {
            return true;
        }
        self.skipped_seconds += seconds;
        self.try_take();
        false
    }

    pub fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> = self.trouble.iter().cloned().collect();
        if !self.others.is_empty() {
            let (others, seconds) = (self.others.join(", "), self.skipped_seconds);
            let now =
                if self.is_held { "this meter counts it since" } else { "this meter counts nothing of it" };
            notes
                .push(format!("machine: {others} counted it for {seconds:.1} s of this meter's time; {now}"));
        }
        notes
    }

    fn try_take(&mut self) {
        let Some(file) = &mut self.file else {
            // Counting twice is less harmful than not counting.
            self.is_held = true;
            return;
        };
        match file.try_lock() {
            Ok(()) => {
                self.is_held = true;
                // Its text is for people; the lock is what counts.
                let _ = file.set_len(0).and_then(|()| file.write_all(self.name.as_bytes()));
            }
            Err(TryLockError::WouldBlock) => {
                let holder = fs::read_to_string(&self.path).unwrap_or_default();
                let holder = if holder.is_empty() { "another meter".to_owned() } else { holder };
                if !self.others.contains(&holder) {
                    self.others.push(holder);
                }
            }
            Err(TryLockError::Error(error)) => {
                self.trouble = Some(unusable(&self.path, &error));
                self.is_held = true;
            }
        }
    }
}

fn unusable(path: &Path, error: &std::io::Error) -> String {
    format!(
        "machine: the lock {} cannot be used ({error}); meters of other ranks here may count it again",
        path.display()
    )
}
