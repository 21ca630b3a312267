//! Finding a run, and reading it with its platform's word on its worker.

use std::path::{Path, PathBuf};

use greentune_core_config::{
    ids,
    layout::RunLayout,
    manifest::{RunManifest, RunStatus},
    platform::PlatformKind,
    settings::Task,
};
pub(crate) use greentune_run_folder::Run;
use greentune_run_folder::{RunView, lock, manifest, read_after};

use crate::{
    Result, Workbench, WorkbenchError,
    job_store::{runs_of, unknown_run},
    named_run::named_run,
    out_of_memory,
    project::run_in,
    reach::{Access, AllowedRoots},
};

/// Folders that lie in each other in a run's folder, at most.
const DEEPEST: usize = 8;

impl Workbench {
    /// The run that `run_id` means (an id, a name or the beginning of either), in the project at `project_path` or
    /// wherever the index says.
    pub(crate) fn find_run(&self, project_path: Option<&Path>, run_id: &str) -> Result<RunLayout> {
        let Some(path) = project_path else {
            return self.find_in_index(run_id);
        };
        let roots = self.allowed_roots();
        let project = self.open_in(&roots, path)?;
        let run = if let Some(run) = run_in(&project, run_id)? {
            run
        } else {
            let run_id = named_run(&runs_of(&project), run_id)?.run_id();
            run_in(&project, &run_id)?.ok_or_else(|| unknown_run(&run_id, &[]))?
        };
        // Its project was looked at when it was opened.
        roots.reach(run.folder(), run.folder(), Access::Write)?;
        roots.check_links(run.folder(), DEEPEST)?;
        // A project that was copied or moved here makes itself known; without an index it is still found by its path.
        self.note_run(&run);
        Ok(run)
    }

    /// Only runs in the allowed roots can be meant by less than their id.
    fn find_in_index(&self, run_id: &str) -> Result<RunLayout> {
        ids::check_run_id(run_id)?;
        let store = self.job_store()?;
        let roots = self.allowed_roots();
        let mut known = store.with_id(run_id)?;
        if known.is_empty() {
            known = store.all()?.into_iter().filter(|run| roots.contain_folder(run.folder())).collect();
        }
        let run = named_run(&known, run_id)?;
        check_run(&roots, &run)?;
        Ok(run)
    }

    /// The run of the job `job_id`: a run's own id, or the id that a platform gave.
    pub(crate) fn find_job(&self, project_path: Option<&Path>, job_id: &str) -> Result<RunLayout> {
        let named = self.find_run(project_path, job_id);
        if named.is_ok() {
            return named;
        }
        let runs = match project_path {
            Some(path) => runs_of(&self.open_project(path)?),
            None => self.job_store()?.all()?,
        };
        let roots = self.allowed_roots();
        let is_job = |run: &RunLayout| {
            manifest::read(run).is_ok_and(|manifest| manifest.platform.job_id.as_deref() == Some(job_id))
        };
        match runs.into_iter().filter(|run| roots.contain_folder(run.folder())).find(is_job) {
            Some(run) => check_run(&roots, &run).map(|()| run),
            None => named,
        }
    }

    /// Finds a run and reads it with all of its events.
    pub(crate) fn read_run(&self, project_path: Option<&Path>, run_id: &str) -> Result<Run> {
        self.read_whole(self.find_run(project_path, run_id)?)
    }

    /// The same for what reads the files that a worker left: those of a run that ended elsewhere are brought here first.
    ///
    /// Errors: also when they are not here and its platform cannot be reached.
    pub(crate) fn read_run_with_files(&self, project_path: Option<&Path>, run_id: &str) -> Result<Run> {
        let run = self.read_run(project_path, run_id)?;
        self.bring_files(&run.layout, &run.manifest)?;
        Ok(run)
    }

    /// Brings the files here of a run that ended elsewhere.
    ///
    /// Errors: its platform cannot be reached.
    pub(crate) fn bring_files(&self, layout: &RunLayout, manifest: &RunManifest) -> Result<()> {
        if are_files_elsewhere(layout, manifest) {
            self.fetch(layout)?;
        }
        Ok(())
    }

    /// Reads the run at `layout` with all of its events.
    pub(crate) fn read_whole(&self, layout: RunLayout) -> Result<Run> {
        let mut run = Run::read(layout, self.platforms())?;
        explain_end(&run.layout, &mut run.manifest);
        Ok(run)
    }

    /// Looks at the run at `layout`: what is new since the last look is read, no more.
    pub(crate) fn look<T>(&self, layout: &RunLayout, of: impl FnOnce(&RunView) -> T) -> Result<T> {
        let open = || Ok(RunView::open(layout.clone(), self.platforms())?);
        let refresh = |view: &mut RunView| Ok(view.refresh(self.platforms())?);
        let seen = self.views().with(layout.folder(), open, refresh, |view| {
            let ended_elsewhere = view.has_ended_elsewhere().then(|| view.manifest().clone());
            (of(view), ended_elsewhere)
        })?;
        let (seen, ended_elsewhere) = seen;
        if let Some(manifest) = ended_elsewhere {
            note_end(layout, manifest)?;
        }
        Ok(seen)
    }

    /// Brings what the worker of the run at `layout` left elsewhere into the project here; the files that were brought.
    pub(crate) fn fetch(&self, layout: &RunLayout) -> Result<Vec<PathBuf>> {
        let manifest = manifest::read(layout)?;
        Ok(self.platforms().get(manifest.platform.kind)?.fetch(layout, &manifest)?)
    }

    /// The status of the run at `layout`.
    pub(crate) fn status_of(&self, layout: &RunLayout) -> Result<RunStatus> {
        self.look(layout, RunView::status)
    }
}

/// Refuses a run that lies outside the allowed roots, or in whose folder or project links lead there.
fn check_run(roots: &AllowedRoots, run: &RunLayout) -> Result<()> {
    roots.reach(run.folder(), run.folder(), Access::Write)?;
    roots.check_project(run.project())?;
    roots.check_links(run.folder(), DEEPEST)
}

/// Whether a stage of a run was completed on another platform, and nobody has brought its files yet.
fn are_files_elsewhere(layout: &RunLayout, manifest: &RunManifest) -> bool {
    let is_missing = |stage: u8| !layout.stage(stage).is_dir();
    let mut completed = manifest.stages.iter().filter(|stage| stage.status == RunStatus::Completed);
    manifest.platform.kind != PlatformKind::Local
        && !manifest.status.is_active()
        && completed.any(|stage| is_missing(stage.stage))
}

/// Notes in the manifest here how a run ended that was trained elsewhere.
fn note_end(layout: &RunLayout, mut ended: RunManifest) -> Result<()> {
    let lock = lock::take(layout)?;
    // Somebody may have started it again meanwhile.
    let now = manifest::read(layout)?;
    if now.status.is_active() && now.platform == ended.platform && now.last_seq == ended.last_seq {
        ended.last_seq = read_after(&layout.events(), ended.last_seq, usize::MAX)?
            .last()
            .map(|event| event.seq)
            .or(ended.last_seq);
        manifest::write(layout, &mut ended)?;
    }
    drop(lock);
    Ok(())
}

/// Says in `manifest` why the worker of a run on this machine probably broke off, when memory is the likely cause.
pub(crate) fn explain_end(layout: &RunLayout, manifest: &mut RunManifest) {
    let is_local = manifest.platform.kind == PlatformKind::Local;
    if is_local && manifest.status == RunStatus::Interrupted && manifest.problem.is_none() {
        manifest.problem = out_of_memory::explain_interrupted(layout, manifest.updated_at);
    }
}

/// `run`, when it trains a language model: `what` is not available yet for image classifiers.
pub(crate) fn require_language_model(run: Run, what: &str, instead: &str) -> Result<Run> {
    if run.manifest.settings.task() == Task::LanguageModel {
        return Ok(run);
    }
    Err(WorkbenchError::NotAvailableYet {
        what: format!("{what} an image classifier, as {} is,", run.layout.run_id()),
        instead: instead.to_owned(),
    })
}
