//! What lies in a folder: whether each file is whole, what has changed, and what was left behind.

use std::{
    collections::BTreeMap,
    fs,
    hash::{DefaultHasher, Hasher},
    path::{Path, PathBuf},
};

use serde_json::Value;
use toml_edit::DocumentMut;

/// Hidden files that greentune keeps.
const KEPT: [&str; 6] =
    [".gitkeep", ".gitignore", ".env.example", ".mcp.json", ".emissions.lock", ".replacing.lock"];

/// Every file by its path below the folder, with a digest of its content.
pub type Snapshot = BTreeMap<PathBuf, u64>;

/// The files below `folder`; links are not followed.
pub fn snapshot(folder: &Path) -> Snapshot {
    let mut found = Snapshot::new();
    for path in all_paths(folder).into_iter().filter(|path| path.is_file()) {
        // One that vanishes meanwhile was temporary.
        if let Ok(content) = fs::read(&path) {
            let mut hasher = DefaultHasher::new();
            hasher.write(&content);
            found.insert(path.strip_prefix(folder).unwrap_or(&path).to_owned(), hasher.finish());
        }
    }
    found
}

/// The files of `before` that are lost or changed in `after`, and for which `may_change` does not hold.
pub fn damaged(before: &Snapshot, after: &Snapshot, may_change: &dyn Fn(&Path) -> bool) -> Vec<String> {
    let fixed = before.iter().filter(|(path, _)| !may_change(path) && !is_unfinished(path));
    let damage = fixed.filter_map(|(path, digest)| match after.get(path) {
        None => Some(format!("{} is lost", path.display())),
        Some(now) if now != digest => Some(format!("{} is another", path.display())),
        Some(_) => None,
    });
    damage.collect()
}

/// The files below `folder` that somebody can see under their final names, and that are not whole.
pub fn half_files(folder: &Path) -> Vec<String> {
    let paths = all_paths(folder).into_iter();
    let visible = paths.filter(|path| path.is_file() && !is_unfinished(below(folder, path)));
    let half = visible.filter_map(|path| {
        let error = check_whole(&path).err()?;
        // A file that vanishes meanwhile was temporary.
        path.exists().then(|| format!("{} is half: {error}", below(folder, &path).display()))
    });
    half.collect()
}

/// What lies below `folder` and was to vanish.
pub fn left_behind(folder: &Path) -> Vec<PathBuf> {
    let paths = all_paths(folder).into_iter().map(|path| below(folder, &path).to_owned());
    // Only the outermost folder of what was left.
    paths.filter(|path| is_unfinished(path) && !path.parent().is_some_and(is_unfinished)).collect()
}

/// Whether `path`, or a folder in it, has a name of something that is not finished.
pub fn is_unfinished(path: &Path) -> bool {
    path.components().any(|component| {
        let name = component.as_os_str().to_string_lossy();
        let is_hidden = name.starts_with('.') && name.len() > 1 && !KEPT.contains(&&*name);
        let is_task = name.starts_with("task-");
        let is_beside_index = name.ends_with("-wal") || name.ends_with("-shm") || name.ends_with("-journal");
        is_hidden || is_task || is_beside_index
    })
}

fn below<'a>(folder: &Path, path: &'a Path) -> &'a Path {
    path.strip_prefix(folder).unwrap_or(path)
}

fn all_paths(folder: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            paths.extend(all_paths(&entry.path()));
        }
        paths.push(entry.path());
    }
    paths.sort();
    paths
}

fn check_whole(path: &Path) -> Result<(), String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let text = || std::str::from_utf8(&bytes).map_err(|error| error.to_string());
    match path.extension().unwrap_or_default().to_str().unwrap_or_default() {
        "json" => parsed(text()?).map(drop),
        "jsonl" => json_lines(text()?, name == "events.jsonl"),
        "csv" => rows_of(text()?).map(drop),
        "safetensors" => check_safetensors(&bytes),
        "toml" => text()?.parse::<DocumentMut>().map(drop).map_err(|error| error.to_string()),
        "svg" => ends_with(text()?, "</svg>"),
        "md" | "sh" => if_so(text()?.ends_with('\n'), "it ends within a line"),
        "txt" => if_so(text()?.lines().all(|line| line.starts_with('/')), "a line is no absolute path"),
        _ => Ok(()),
    }
}

/// The one JSON document in `text`.
pub fn parsed(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn json_lines(text: &str, may_be_torn: bool) -> Result<(), String> {
    // A log that is appended to may end in a torn line; its next writer cuts it off.
    let whole = if may_be_torn { text.rfind('\n').map_or("", |end| &text[..=end]) } else { text };
    if_so(whole.is_empty() || whole.ends_with('\n'), "it ends within a line")?;
    whole.lines().try_for_each(|line| parsed(line).map(drop))
}

/// The rows of a CSV, without its header; each must have as many fields as that.
pub fn rows_of(text: &str) -> Result<Vec<&str>, String> {
    if_so(text.ends_with('\n'), "it is empty or ends within a row")?;
    let mut lines = text.lines();
    let columns = fields(lines.next().unwrap_or_default());
    lines
        .map(|row| if_so(fields(row) == columns, "a row has too few or too many fields").map(|()| row))
        .collect()
}

fn fields(row: &str) -> usize {
    let mut is_quoted = false;
    1 + row
        .chars()
        .filter(|&letter| {
            is_quoted ^= letter == '"';
            letter == ',' && !is_quoted
        })
        .count()
}

fn check_safetensors(bytes: &[u8]) -> Result<(), String> {
    let length = bytes.first_chunk::<8>().map(|length| u64::from_le_bytes(*length) as usize);
    let length = length.ok_or("it is shorter than its length")?;
    let header = bytes.get(8..8 + length).ok_or("its header is cut")?;
    let header: Value = serde_json::from_slice(header).map_err(|error| error.to_string())?;
    let ends = header.as_object().into_iter().flatten().filter(|(name, _)| *name != "__metadata__");
    let end = ends.filter_map(|(_, tensor)| tensor["data_offsets"][1].as_u64()).max().unwrap_or(0);
    if_so(bytes.len() == 8 + length + end as usize, "its length is not what the header says")
}

fn ends_with(text: &str, end: &str) -> Result<(), String> {
    if_so(text.trim_end().ends_with(end), "its end is missing")
}

fn if_so(holds: bool, else_say: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(else_say.to_owned()) }
}
