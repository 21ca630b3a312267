//! Events that were brought from elsewhere: how a platform keeps `events.jsonl` here like the one there.

use std::{
    fs::{File, OpenOptions},
    io::{self, Seek as _, SeekFrom, Write as _},
};

use greentune_core_config::layout::RunLayout;

use crate::{Result, RunFolderError};

/// Adds `bytes`, which stand at `offset` of the `events.jsonl` there, to the one of the run at `layout` here, and returns how
/// many bytes are here now: ask for those behind it the next time. A line that is not whole yet is left out.
///
/// `offset` must be what the last call returned, or 0: then the file here is replaced at once by what came, so that readers
/// see the old events or the new ones and never a mixture. That is how a log that was cut or begun anew there is taken over.
///
/// Errors: the file cannot be written; `offset` is not where the file here ends.
pub fn append_mirrored(layout: &RunLayout, offset: u64, bytes: &[u8]) -> Result<u64> {
    let path = layout.events();
    let failed = |action| RunFolderError::file(action, &path);
    let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
    if offset == 0 {
        greentune_durable::write_atomically(&path, &bytes[..whole]).map_err(failed("write"))?;
        return Ok(whole as u64);
    }
    let mut file = OpenOptions::new().write(true).open(&path).map_err(failed("open"))?;
    let length = length_of(&file).map_err(failed("read"))?;
    if length != offset {
        let reason = format!("it has {length} bytes, and those from {offset} on were brought");
        return Err(RunFolderError::Damaged { path: path.clone(), reason });
    }
    let mut write = || -> io::Result<()> {
        file.seek(SeekFrom::Start(offset))?;
        file.write_all(&bytes[..whole])?;
        file.sync_data()
    };
    write().map_err(|source| {
        let _ = file.set_len(offset);
        RunFolderError::File { action: "write", path: path.clone(), source }
    })?;
    Ok(offset + whole as u64)
}

fn length_of(file: &File) -> io::Result<u64> {
    Ok(file.metadata()?.len())
}
