//! Files that are there in full or not at all.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
};

use crate::CarbonError;

/// Replaces `path` by `contents`: a temporary file beside it, flushed to the disk, then renamed.
pub(crate) fn replace(path: &Path, contents: &[u8]) -> Result<(), CarbonError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(CarbonError::file("create", folder))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!(".{name}.{}.tmp", std::process::id()));
    let written = File::create(&temporary)
        .and_then(|mut file| {
            file.write_all(contents)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| sync_folder(folder));
    if written.is_err() {
        // The write's own error is the one to report; what is left behind is only clutter.
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(CarbonError::file("write", path))
}

/// Makes a rename inside `folder` survive a power cut. Only Unix lets a folder be opened for that.
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}
