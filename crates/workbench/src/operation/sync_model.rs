//! Brings a model from one place to another: so far from this machine to the Hugging Face Hub.

use std::path::{Path, PathBuf};

use greentune_platforms_kaggle_hf::hub::{Publication, Visibility};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Result, Workbench, WorkbenchError, hub::CancelOnDrop, reach::Access, upload::model_files};

/// Bring a model elsewhere.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct SyncModel {
    /// Where the model is; `local` when absent.
    pub from: Option<ModelPlace>,
    /// Where it goes.
    pub to: ModelPlace,
    /// Folder of an export.
    pub model_path: PathBuf,
    /// owner/name; made when not there.
    pub hf_repo: String,
    /// For everybody to see.
    pub hf_public: Option<bool>,
    /// Say what would be uploaded, and upload nothing.
    pub dry_run: Option<bool>,
}

/// A place for models.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ModelPlace {
    /// This machine.
    Local,
    /// The Hugging Face Hub.
    #[default]
    Huggingface,
}

/// What was brought where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SyncModelResponse {
    /// Always true; a problem is an error.
    pub success: bool,
    /// Address of the model's page.
    pub url: String,
    /// Its files.
    pub files: Vec<SyncedFile>,
    /// The commit that has them; absent of a dry run.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub revision: Option<String>,
    /// Whether everybody may see it.
    pub is_public: bool,
    /// Bytes of content that were sent; of a dry run, those of all files.
    pub sent_bytes: u64,
    /// Whether this is what would be done, and nothing was.
    #[serde(default)]
    pub dry_run: bool,
}

/// A file of a model that was brought elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SyncedFile {
    /// Its path there.
    pub name: String,
    /// Whether it was there with the same content.
    pub was_there: bool,
}

impl Workbench {
    /// Uploads the files of a model's folder in one commit. What is there is not sent again.
    ///
    /// Errors: the folder holds other files too, or no weights; no token, or one that may not write there; what the Hub and
    /// the network say. Nothing is visible there then, but an empty repository may have been made.
    pub async fn sync_model(&self, request: SyncModel) -> Result<SyncModelResponse> {
        let guard = CancelOnDrop::default();
        let cancelled = guard.flag();
        self.blocking(move |workbench| {
            check_places(&request)?;
            workbench.check_upload(&request.hf_repo)?;
            let given = &request.model_path;
            let folder = workbench.reach(&workbench.given_path(given)?, given, Access::Read)?;
            let files = model_files(&folder)?;
            for file in &files {
                workbench.reach(&folder.join(file), &given.join(file), Access::Read)?;
            }
            let settings = workbench.resolve_settings(None, None)?.settings;
            let visibility = workbench.visibility(request.hf_public, &settings);
            workbench.check_permission(&request.hf_repo, visibility, &cancelled)?;
            if request.dry_run == Some(true) {
                return planned(&workbench.config().hub.endpoint, &request, &folder, files, visibility);
            }
            let publication = Publication {
                repository: &request.hf_repo,
                folder: &folder,
                files: &files,
                visibility,
                title: "Model uploaded with greentune",
            };
            let published = workbench.upload(publication, &cancelled)?;
            let visibility = published.visibility;
            let file = |was_there| move |name| SyncedFile { name, was_there };
            let files = published.sent.into_iter().map(file(false));
            Ok(SyncModelResponse {
                success: true,
                url: published.url,
                files: files.chain(published.present.into_iter().map(file(true))).collect(),
                revision: Some(published.commit),
                is_public: visibility == Visibility::Public,
                sent_bytes: published.sent_bytes,
                dry_run: false,
            })
        })
        .await
    }
}

/// What would be uploaded. The Hub was asked whether it may be, and sent nothing.
fn planned(
    hub: &str,
    request: &SyncModel,
    folder: &Path,
    files: Vec<String>,
    visibility: Visibility,
) -> Result<SyncModelResponse> {
    let size = |name: &String| {
        let path = folder.join(name);
        std::fs::metadata(&path).map(|file| file.len()).map_err(WorkbenchError::file("read", path))
    };
    let sent_bytes = files.iter().map(size).sum::<Result<u64>>()?;
    Ok(SyncModelResponse {
        success: true,
        url: format!("{hub}/{}", request.hf_repo),
        files: files.into_iter().map(|name| SyncedFile { name, was_there: false }).collect(),
        revision: None,
        is_public: visibility == Visibility::Public,
        sent_bytes,
        dry_run: true,
    })
}

/// Errors: anything but from this machine to the Hub.
fn check_places(request: &SyncModel) -> Result<()> {
    let wrong = |key, found: ModelPlace, allowed: &str| {
        Err(WorkbenchError::InvalidValue {
            key,
            found: format!("{found:?}").to_lowercase(),
            allowed: allowed.to_owned(),
        })
    };
    match (request.from.unwrap_or(ModelPlace::Local), request.to) {
        (ModelPlace::Local, ModelPlace::Huggingface) => Ok(()),
        (ModelPlace::Local, to) => wrong("to", to, "huggingface"),
        (from, _) => {
            wrong("from", from, "local; a model of the Hub is fetched where base_model.model_id names it")
        }
    }
}
