//! The end of a run's log.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Result, Workbench, WorkbenchError};

/// Lines when the request does not say.
const LINES: u64 = 200;
/// Bytes that are read from the end of the log, at most.
const MOST_BYTES: u64 = 1 << 20;

/// Ask for the end of a run's log.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ShowLog {
    /// Path of the project; looked up by the run's id when absent.
    pub project_path: Option<PathBuf>,
    /// Id of the run.
    pub run_id: String,
    /// Lines at most; 200 when absent.
    pub lines: Option<u64>,
}

/// The end of a run's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ShowLogResponse {
    /// Id of the run.
    pub run_id: String,
    /// The log.
    pub log_file: PathBuf,
    /// Its last lines, the newest last; none where the run has not begun.
    pub lines: Vec<String>,
}

impl Workbench {
    /// Reads the last lines of what the run's worker wrote to its log.
    ///
    /// Errors: the run is unknown; the log cannot be read.
    pub async fn show_log(&self, request: ShowLog) -> Result<ShowLogResponse> {
        self.blocking(move |workbench| {
            let run = workbench.find_run(request.project_path.as_deref(), &request.run_id)?;
            let log_file = run.log();
            let text = end_of(&log_file).map_err(WorkbenchError::file("read", &log_file))?;
            let most = usize::try_from(request.lines.unwrap_or(LINES)).unwrap_or(usize::MAX);
            let lines: Vec<_> = text.lines().map(str::to_owned).collect();
            let lines = lines[lines.len().saturating_sub(most)..].to_vec();
            Ok(ShowLogResponse { run_id: run.run_id(), log_file, lines })
        })
        .await
    }
}

/// The last whole lines of the file at `path`; empty when there is none.
fn end_of(path: &Path) -> io::Result<String> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        opened => opened?,
    };
    let begin = file.metadata()?.len().saturating_sub(MOST_BYTES);
    file.seek(SeekFrom::Start(begin))?;
    let mut bytes = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut bytes)?;
    let cut =
        if begin == 0 { 0 } else { bytes.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1) };
    Ok(String::from_utf8_lossy(&bytes[cut..]).into_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_long_log_is_read_from_its_last_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        assert_eq!(end_of(&path).unwrap(), "");
        let lines: Vec<_> = (0..200_000).map(|number| format!("line {number}")).collect();
        let text = lines.join("\n") + "\n";
        fs::write(&path, &text).unwrap();
        let end = end_of(&path).unwrap();
        assert!(end.len() <= 1 << 20 && text.ends_with(&end) && end.starts_with("line "));
    }
}
