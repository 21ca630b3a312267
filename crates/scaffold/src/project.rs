//! A fine-tuning project: its folders and files.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use greentune_core_config::{
    layout::{CONFIG_FILE, GENERATING},
    lora_rate::learns_little,
    quantities::plain,
    resolve::Resolved,
    settings::Settings,
};
use greentune_durable::{Staging, sweep_abandoned};
use serde::Serialize;
use tera::{Context, Tera};

use crate::{ScaffoldError, config_file::sections, markdown::inline};

/// Folders that begin empty.
const FOLDERS: &[&str] = &["data/raw", "data/processed", "data/quality_reports", "runs", "logs", "emissions"];

/// Path in the project, template, whether it can be executed.
const FILES: &[(&str, &str, bool)] = &[
    (CONFIG_FILE, include_str!("../templates/project/config/fine_tuning_config.toml"), false),
    ("scripts/prepare.sh", include_str!("../templates/project/scripts/prepare.sh"), true),
    ("scripts/train.sh", include_str!("../templates/project/scripts/train.sh"), true),
    ("scripts/monitor.sh", include_str!("../templates/project/scripts/monitor.sh"), true),
    ("scripts/evaluate.sh", include_str!("../templates/project/scripts/evaluate.sh"), true),
    ("scripts/export.sh", include_str!("../templates/project/scripts/export.sh"), true),
    ("tests/check_project.sh", include_str!("../templates/project/tests/check_project.sh"), true),
    (".env.example", include_str!("../templates/project/env.example"), false),
    (".gitignore", include_str!("../templates/project/gitignore"), false),
    (".mcp.json", include_str!("../templates/project/mcp.json"), false),
    ("README.md", include_str!("../templates/project/README.md"), false),
];

/// What a project is made from.
#[derive(Clone, Debug)]
pub struct ProjectSpec {
    /// The project's folder: absent, or empty.
    pub folder: PathBuf,
    /// Its settings; those with a source are written out even where each person may have their own.
    pub resolved: Resolved,
    /// Why settings have the value that they have, by dotted key: a sentence that the configuration says beside them.
    pub reasons: BTreeMap<String, String>,
}

/// A project that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneratedProject {
    /// Its folder.
    pub folder: PathBuf,
    /// Files and folders in it, sorted; folders end in `/`.
    pub entries: Vec<String>,
}

/// Makes the project that `spec` describes.
///
/// What killed processes left beside it is removed first.
///
/// Errors: something is there already, or a file cannot be written; the destination is then as it was before.
pub fn generate_project(spec: &ProjectSpec) -> Result<GeneratedProject, ScaffoldError> {
    ensure_free(&spec.folder)?;
    let files = render(spec)?;
    let parent = spec.folder.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(ScaffoldError::file("create", parent))?;
    sweep_abandoned(parent, GENERATING);
    let staging = Staging::new(parent, GENERATING).map_err(ScaffoldError::file("write to", parent))?;
    // The staging folder is private to its owner; the project inside has ordinary permissions.
    let project = staging.path().join("project");
    for folder in FOLDERS {
        // Git keeps no empty folders.
        write(&project, &format!("{folder}/.gitkeep"), "", false)?;
    }
    for (path, content, executable) in &files {
        write(&project, path, content, *executable)?;
    }
    publish(&project, &spec.folder)?;
    Ok(GeneratedProject { folder: spec.folder.clone(), entries: entries() })
}

fn ensure_free(folder: &Path) -> Result<(), ScaffoldError> {
    let is_free = match fs::symlink_metadata(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        Err(error) => return Err(ScaffoldError::file("look at", folder)(error)),
        Ok(found) => {
            found.is_dir()
                && fs::read_dir(folder).map_err(ScaffoldError::file("read", folder))?.next().is_none()
        }
    };
    if is_free { Ok(()) } else { Err(ScaffoldError::Exists(folder.to_owned())) }
}

fn render(spec: &ProjectSpec) -> Result<Vec<(&'static str, String, bool)>, ScaffoldError> {
    let settings = &spec.resolved.settings;
    let mut tera = Tera::default();
    // Each value is encoded for where it goes; HTML's escapes would be wrong in all of these files.
    tera.autoescape_on(Vec::<&'static str>::new());
    tera.add_raw_templates(FILES.iter().map(|(path, template, _)| (*path, *template)))?;
    let mut context = Context::new();
    context.insert("sections", &sections(&spec.resolved, &spec.reasons));
    context.insert("name", &inline(&settings.project.name));
    context.insert("description", &inline(&settings.project.description));
    context.insert("num_stages", &settings.training.num_stages);
    context.insert("stages", &stages(settings));
    FILES.iter().map(|(path, _, executable)| Ok((*path, tera.render(path, &context)?, *executable))).collect()
}

/// What the README says of the stages' learning rates.
fn stages(settings: &Settings) -> Vec<StageWords> {
    let training = &settings.training;
    let of = |number| {
        let stage = training.stage(number);
        StageWords {
            number,
            iterations: stage.iterations,
            learning_rate: plain(stage.learning_rate),
            is_low: learns_little(training, number),
        }
    };
    (1..=training.num_stages).map(of).collect()
}

/// A stage in the README.
#[derive(Debug, Serialize)]
struct StageWords {
    number: u8,
    iterations: u64,
    learning_rate: String,
    /// Whether adapters hardly move at this rate.
    is_low: bool,
}

fn write(root: &Path, path: &str, content: &str, executable: bool) -> Result<(), ScaffoldError> {
    let path = root.join(path);
    let folder = path.parent().unwrap_or(root);
    fs::create_dir_all(folder).map_err(ScaffoldError::file("create", folder))?;
    let mut options = fs::File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if executable {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o777);
    }
    #[cfg(not(unix))]
    let _ = executable;
    let mut file = options.open(&path).map_err(ScaffoldError::file("create", &path))?;
    file.write_all(content.as_bytes()).map_err(ScaffoldError::file("write", &path))?;
    file.sync_all().map_err(ScaffoldError::file("write", &path))
}

fn publish(project: &Path, folder: &Path) -> Result<(), ScaffoldError> {
    // Not every system renames onto an empty folder; one that was filled meanwhile is not removed.
    match fs::remove_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => {
            return Err(ScaffoldError::Exists(folder.to_owned()));
        }
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(ScaffoldError::file("replace", folder)(error));
        }
        _ => {}
    }
    greentune_durable::publish(project, folder).map_err(ScaffoldError::file("create", folder))
}

fn entries() -> Vec<String> {
    let folders = FOLDERS.iter().map(|folder| format!("{folder}/"));
    let files = FILES.iter().map(|(path, ..)| (*path).to_owned());
    let mut entries: Vec<_> = folders.chain(files).collect();
    entries.sort();
    entries
}
