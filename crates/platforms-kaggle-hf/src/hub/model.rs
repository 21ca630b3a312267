//! A whole model: which commit, which files, and all of them in the cache.

use std::{
    cell::Cell,
    path::{Path, PathBuf},
};

use greentune_core_config::{ids, port::TransferDirection};

use super::{
    cache::{CachedModel, is_commit},
    client::{Client, FileInfo, REPETITIONS},
    download::Download,
    error::{HubError, Result},
    files::{self, CONFIG, INDEX, Parts},
    settings::HubSettings,
    watch::{ProgressSum, TransferControl},
};

/// Which model is wanted.
#[derive(Clone, Copy, Debug)]
pub struct FetchModel<'a> {
    /// Its id, such as `allenai/OLMo-2-0425-1B`.
    pub id: &'a str,
    /// A branch, a tag or a commit.
    pub revision: &'a str,
    /// Which parts of it.
    pub parts: Parts,
}

/// A model in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The folder with its files.
    pub folder: PathBuf,
    /// The commit that the revision stands for.
    pub commit: String,
    /// Bytes that were fetched for it just now.
    pub downloaded_bytes: u64,
    /// Why the Hub could not say whether there is a newer commit, if it was asked and did not answer.
    pub lookup_problem: Option<String>,
}

/// The model in the cache, when it is complete there; the network is not used.
pub fn cached(settings: &HubSettings, wanted: FetchModel) -> Option<Snapshot> {
    ids::check_model_id(wanted.id).and_then(|()| ids::check_revision(wanted.revision)).ok()?;
    in_cache(&CachedModel::new(&settings.cache, wanted.id, wanted.revision), wanted.parts)
}

/// Brings the model into the cache, as far as it is not there, and says where it is.
///
/// A commit that is complete in the cache is taken as it is. For a branch or a tag the Hub is asked which commit it
/// stands for; when it cannot be reached, what the cache has is taken. `check` looks at `config.json` before
/// anything large is fetched.
///
/// Errors: everything of [`HubError`], and what `check` says.
pub fn fetch_model<E: From<HubError>>(
    settings: &HubSettings,
    wanted: FetchModel,
    watch: &TransferControl,
    check: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<Snapshot, E> {
    let FetchModel { id, revision, parts } = wanted;
    ids::check_model_id(id).and_then(|()| ids::check_revision(revision)).map_err(HubError::from)?;
    let model = CachedModel::new(&settings.cache, id, revision);
    let present = in_cache(&model, parts);
    let (commit, listing) = match (present, ask(settings, wanted, &model, watch)) {
        (Some(snapshot), RevisionLookup::Needless) => return Ok(snapshot),
        (Some(snapshot), RevisionLookup::Failed(error)) if error.is_passing() => {
            return Ok(Snapshot { lookup_problem: Some(error.to_string()), ..snapshot });
        }
        (_, RevisionLookup::Answered { commit, listing }) => (commit, listing),
        (_, RevisionLookup::Failed(error)) => return Err(error.into()),
        (None, RevisionLookup::Needless) => {
            let cache = settings.cache.clone();
            return Err(
                HubError::NotCached { id: id.to_owned(), revision: revision.to_owned(), cache }.into()
            );
        }
    };
    let client = Client::new(settings, id, &commit)?;
    let fetching = Fetching { client, model, id, commit, watch, done: Cell::new(0) };
    if !listing.iter().any(|name| name == CONFIG) {
        return Err(HubError::FileMissing { id: id.to_owned(), file: CONFIG.to_owned() }.into());
    }
    let mut downloaded_bytes = fetching.all(&[CONFIG.to_owned()])?;
    let folder = fetching.model.snapshot(&fetching.commit);
    check(&folder.join(CONFIG))?;
    downloaded_bytes += fetching.rest(&folder, &files::needed(id, &listing, parts)?)?;
    fetching.model.remember(&fetching.commit)?;
    Ok(Snapshot { folder, commit: fetching.commit, downloaded_bytes, lookup_problem: None })
}

enum RevisionLookup {
    /// The cache alone decides.
    Needless,
    /// What the Hub said.
    Answered { commit: String, listing: Vec<String> },
    /// Why the Hub said nothing.
    Failed(HubError),
}

fn ask(
    settings: &HubSettings,
    wanted: FetchModel,
    model: &CachedModel,
    watch: &TransferControl,
) -> RevisionLookup {
    let is_here = in_cache(model, wanted.parts).is_some();
    if settings.offline || (is_here && is_commit(wanted.revision)) {
        return RevisionLookup::Needless;
    }
    let client = match Client::new(settings, wanted.id, wanted.revision) {
        Ok(client) => client,
        Err(error) => return RevisionLookup::Failed(error),
    };
    // If the model is in the cache, do not wait for a Hub that does not answer.
    let repetitions = if is_here { 0 } else { REPETITIONS };
    match client.with_retries(watch, repetitions, Client::model_info) {
        Ok(info) => RevisionLookup::Answered { commit: info.sha.clone(), listing: info.into_listing() },
        Err(error) => RevisionLookup::Failed(error),
    }
}

fn in_cache(model: &CachedModel, parts: Parts) -> Option<Snapshot> {
    let commit = model.commit()?;
    let folder = model.snapshot(&commit);
    let snapshot = Snapshot { folder, commit, downloaded_bytes: 0, lookup_problem: None };
    files::is_complete(&snapshot.folder, parts).then_some(snapshot)
}

/// One model on its way into the cache.
struct Fetching<'a> {
    client: Client<'a>,
    model: CachedModel,
    id: &'a str,
    commit: String,
    watch: &'a TransferControl<'a>,
    /// Bytes of the files that are done, so that what is told only grows.
    done: Cell<u64>,
}

impl Fetching<'_> {
    /// The files `names`, and the shards when the index is among them; returns the bytes that were fetched.
    fn rest(&self, folder: &Path, names: &[String]) -> Result<u64> {
        if !names.iter().any(|name| name == INDEX) {
            return self.all(names);
        }
        let index = self.all(&[INDEX.to_owned()])?;
        let mut names = names.to_vec();
        names.extend(files::shards(&folder.join(INDEX))?);
        Ok(index + self.all(&names)?)
    }

    /// The files `names`, as far as they are not here; returns the bytes that were fetched.
    fn all(&self, names: &[String]) -> Result<u64> {
        let folder = self.model.snapshot(&self.commit);
        let missing = names.iter().filter(|name| !folder.join(name).is_file());
        let ask = |name: &String| {
            let info = self.client.with_retries(self.watch, REPETITIONS, |client| client.file_info(name))?;
            Ok((name.clone(), info))
        };
        let missing: Vec<(String, FileInfo)> = missing.map(ask).collect::<Result<_>>()?;
        let before = self.done.get();
        let total = before + missing.iter().map(|(_, info)| info.size).sum::<u64>();
        let mut gauge =
            ProgressSum { watch: self.watch, direction: TransferDirection::Download, before, total };
        let mut fetched = 0;
        for (name, info) in &missing {
            fetched += self.one(name, info, &mut gauge)?;
            gauge.before += info.size;
        }
        self.done.set(total);
        Ok(fetched)
    }

    fn one(&self, name: &str, info: &FileInfo, gauge: &mut ProgressSum) -> Result<u64> {
        let Self { client, model: cached, id, watch, .. } = self;
        let fetched = Download { client, cached, id, name, info, watch }.run(gauge)?;
        cached.link(&self.commit, name, &info.etag)?;
        Ok(fetched)
    }
}
