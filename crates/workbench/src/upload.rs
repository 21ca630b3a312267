//! Models that are uploaded to the Hugging Face Hub: what may be sent, and who may see it.

use std::{fs, path::Path, sync::atomic::AtomicBool};

use greentune_core_config::{Diagnostic, Problem, Suggestion, settings::Settings};
use greentune_platforms_kaggle_hf::hub::{
    self, HubError, Publication, Published, TransferControl, Visibility,
};

use crate::{Result, Workbench, WorkbenchError};

/// Endings of the files that a model is made of, its card and figures included.
const ENDINGS: [&str; 8] = ["safetensors", "gguf", "json", "jinja", "model", "txt", "md", "yaml"];
/// Files without such an ending that belong to one.
const NAMES: [&str; 3] = ["Modelfile", "LICENSE", "NOTICE"];
/// The one folder of figures.
const FIGURES: &str = ".eval_results";
/// Most files of a model.
const MOST_FILES: usize = 10_000;

impl Workbench {
    /// What is known without the network.
    ///
    /// Errors: it is no repository, there is no token, or the network must not be used.
    pub(crate) fn check_upload(&self, repository: &str) -> Result<()> {
        Ok(hub::check_publication(&self.config().hub, repository)?)
    }

    /// What the Hub says before anything is made for it.
    ///
    /// Errors: the token is unknown or may not write there; everybody sees the repository; the Hub cannot be reached.
    pub(crate) fn check_permission(
        &self,
        repository: &str,
        visibility: Visibility,
        cancelled: &AtomicBool,
    ) -> Result<()> {
        let watch = TransferControl { what: repository, reporter: self.transfers(), cancelled };
        Ok(hub::check_permission(&self.config().hub, repository, visibility, &watch)?)
    }

    /// Who may see what is uploaded: what was asked for, else what the settings say. A project that somebody else may have
    /// written makes nothing public by itself where an assistant acts.
    pub(crate) fn visibility(&self, is_public: Option<bool>, settings: &Settings) -> Visibility {
        let by_settings = !settings.huggingface.private_repos && !self.is_restricted();
        if is_public.unwrap_or(by_settings) { Visibility::Public } else { Visibility::Private }
    }

    /// Uploads files in one commit.
    ///
    /// Errors: what the Hub and the network say; the hint says how to go on.
    pub(crate) fn upload(&self, publication: Publication, cancelled: &AtomicBool) -> Result<Published> {
        let Publication { repository, visibility, .. } = publication;
        let watch = TransferControl { what: repository, reporter: self.transfers(), cancelled };
        let published = hub::publish(&self.config().hub, publication, &watch);
        let published = published.map_err(|error| not_uploaded(&error, publication))?;
        if published.visibility != visibility {
            self.observer().remark(&format!(
                "{repository} was private before and stays so: its owner can open it in its settings on the Hub"
            ));
        }
        Ok(published)
    }
}

/// The problem of an upload that failed, with what to do about it: the files are still there.
fn not_uploaded(error: &HubError, publication: Publication) -> Problem {
    let folder = publication.folder.display().to_string();
    let mut problem = error.problem();
    problem.message = format!("{}; the model is complete in {folder}", problem.message);
    let mut again = Suggestion::new("upload it", "sync_model")
        .with("model_path", folder)
        .with("to", "huggingface")
        .with("hf_repo", publication.repository);
    if publication.visibility == Visibility::Public {
        again = again.with("hf_public", true);
    }
    problem.suggestions.push(again);
    problem
}

/// The files of the model in `folder`, by their paths in it with `/` between folders, in order.
///
/// Errors: there is something in it that belongs to no model, a link, or no weights.
pub(crate) fn model_files(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for name in entries(folder)? {
        let path = folder.join(&name);
        let metadata = fs::symlink_metadata(&path).map_err(WorkbenchError::file("look at", &path))?;
        if name == FIGURES && metadata.is_dir() {
            for figures in entries(&path)? {
                check_file(&path.join(&figures), &figures)?;
                names.push(format!("{FIGURES}/{figures}"));
            }
        } else {
            check_file(&path, &name)?;
            names.push(name);
        }
    }
    let is_weights = |ending: &str| ending == "safetensors" || ending == "gguf";
    if names.iter().any(|name| is_weights(ending(name))) {
        return Ok(names);
    }
    let found = format!("no weights in {}", folder.display());
    Err(refused(found, "the folder of a model: an export, or adapters"))
}

/// Names in `folder`, in order.
fn entries(folder: &Path) -> Result<Vec<String>> {
    let failed = || WorkbenchError::file("look into", folder);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed())? {
        let name = entry.map_err(failed())?.file_name();
        names.push(name.into_string().map_err(|name| foreign(&folder.join(name)))?);
        if names.len() > MOST_FILES {
            let found = format!("more than {MOST_FILES} files in {}", folder.display());
            return Err(refused(found, "the folder of one model"));
        }
    }
    names.sort();
    Ok(names)
}

/// Errors: a link, a folder, or a file that belongs to no model.
fn check_file(path: &Path, name: &str) -> Result<()> {
    let is_file = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file());
    let is_of_model = NAMES.contains(&name) || ENDINGS.contains(&ending(name));
    if is_file && is_of_model && !name.starts_with('.') { Ok(()) } else { Err(foreign(path)) }
}

fn ending(name: &str) -> &str {
    Path::new(name).extension().and_then(|ending| ending.to_str()).unwrap_or_default()
}

fn foreign(path: &Path) -> WorkbenchError {
    let allowed = "a folder with the files of a model alone, and no links: nothing else is uploaded";
    refused(path.display().to_string(), allowed)
}

fn refused(found: String, allowed: &str) -> WorkbenchError {
    WorkbenchError::InvalidValue { key: "model_path", found, allowed: allowed.to_owned() }
}
