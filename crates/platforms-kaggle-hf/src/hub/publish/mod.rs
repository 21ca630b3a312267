//! A folder published as a model on the Hub: the repository made where there is none, large files to where the Hub stores
//! them, then everything in one commit. As the official client does it with `HF_HUB_DISABLE_XET=1`.
//!
//! Nothing is visible before the commit. What an attempt that broke off has sent is known to the Hub by its hash and is not
//! sent again.

mod content;
mod files;
mod permission;
mod repository;

use std::path::Path;

use greentune_core_config::{ids, port::TransferDirection};

use self::{
    files::{LocalFile, UploadMode},
    repository::{Found, Repository},
};
use super::{
    error::{HubError, Result},
    settings::HubSettings,
    watch::{ProgressSum, TransferControl},
};

pub use permission::check_permission;

/// What is published.
#[derive(Clone, Copy, Debug)]
pub struct Publication<'a> {
    /// The model's id: an owner, a slash and a name.
    pub repository: &'a str,
    /// Where the files are.
    pub folder: &'a Path,
    /// The files, by their paths in `folder` and on the Hub, with `/` between folders.
    pub files: &'a [String],
    /// Who may see a repository that is made, and at most an existing one.
    pub visibility: Visibility,
    /// Title of the commit.
    pub title: &'a str,
}

/// Who may see a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Its owner and those whom they let in.
    Private,
    /// Everybody.
    Public,
}

/// What was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Address of the model's page.
    pub url: String,
    /// The commit that has the files.
    pub commit: String,
    /// Who may see the repository. One that was there stays as it was.
    pub visibility: Visibility,
    /// Files that are new or changed.
    pub sent: Vec<String>,
    /// Files that were there with the same content.
    pub present: Vec<String>,
    /// Bytes of content that were sent.
    pub sent_bytes: u64,
}

/// Whether something can be published in `repository`, as far as that is known without asking the Hub.
///
/// Errors: it names no owner, or is no id; the network must not be used; there is no token.
pub fn check_publication(settings: &HubSettings, repository: &str) -> Result<()> {
    let id = repository.to_owned();
    if ids::check_model_id(repository).is_err() || !repository.contains('/') {
        return Err(HubError::RepositoryId { id: id.chars().take(200).collect() });
    }
    if settings.offline {
        return Err(HubError::OfflineUpload { id });
    }
    if settings.token.is_none() {
        return Err(HubError::NoTokenToWrite { id, endpoint: settings.endpoint.clone() });
    }
    Ok(())
}

/// Publishes the files of a folder in one commit.
///
/// A repository that everybody sees is not written to while `visibility` is private. Without a change there is no commit.
///
/// Errors: no token, or one that may not write there; what the Hub, the network and the files say. Nothing is visible on
/// the Hub then, but an empty repository may have been made.
pub fn publish(
    settings: &HubSettings,
    publication: Publication,
    watch: &TransferControl,
) -> Result<Published> {
    attempt(settings, publication, watch).map_err(HubError::while_uploading)
}

fn attempt(settings: &HubSettings, publication: Publication, watch: &TransferControl) -> Result<Published> {
    let Publication { repository: id, folder, files, visibility, title } = publication;
    check_publication(settings, id)?;
    let local = files.iter().map(|name| LocalFile::open(folder, name)).collect::<Result<Vec<_>>>()?;
    let repository = Repository::new(settings, id, watch)?;
    let Found { commit, visibility } = repository.make_or_find(visibility)?;
    let plans = repository.plan(local)?;
    let (sent, present): (Vec<_>, Vec<_>) = plans.into_iter().partition(|plan| !plan.is_present);
    let objects: Vec<&LocalFile> =
        sent.iter().filter(|plan| plan.mode == UploadMode::Lfs).map(|plan| &plan.file).collect();
    let total = objects.iter().map(|file| file.bytes).sum();
    let mut progress = ProgressSum { watch, direction: TransferDirection::Upload, before: 0, total };
    let sent_bytes = repository.send_objects(&objects, &mut progress)?;
    let commit = match (sent.is_empty(), commit) {
        (true, Some(commit)) => commit,
        _ => repository.commit(title, &sent)?,
    };
    Ok(Published {
        url: format!("{}/{id}", settings.endpoint),
        commit,
        visibility,
        sent: sent.into_iter().map(|plan| plan.file.name).collect(),
        present: present.into_iter().map(|plan| plan.file.name).collect(),
        sent_bytes,
    })
}
