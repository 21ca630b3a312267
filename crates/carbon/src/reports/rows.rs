//! Rows of many files of emissions: of each run in a file the last one, with its sidecar.

use std::{
    collections::{HashMap, HashSet},
    ffi::OsString,
    fs, io,
    num::NonZero,
    panic,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    thread,
};

use greentune_core_config::{
    emissions::{EmissionsProvenance, EmissionsRecord},
    layout::ProjectLayout,
};
use greentune_durable::Stamp;

use crate::{
    CarbonError,
    files::{
        codecarbon::{self, FileRuns},
        durable,
        machine_time::Span,
        sidecar,
    },
    reports::{aggregate::SkippedFile, overlap},
};

/// More threads would wait for the same disk.
const MOST_THREADS: usize = 8;
const EMISSIONS: &str = "_emissions.csv";
/// The name that CodeCarbon and `emissions track` give a file.
const DEFAULT_NAME: &str = "emissions.csv";
/// Files whose rows are kept at most: 30 MB or so.
const MOST_KEPT: usize = 20_000;

/// What one file says of one run.
#[derive(Clone, Debug)]
pub(crate) struct RunRow {
    /// The file's name.
    pub file: String,
    pub run_id: String,
    /// The stage that the file is about.
    pub stage: Option<u8>,
    pub record: Arc<EmissionsRecord>,
    pub provenance: Option<Arc<EmissionsProvenance>>,
    /// When the machine was metered; `None` where the row does not say, or another meter counted the machine.
    pub span: Option<Span>,
    /// The run's share of the machine while it was metered, in `(0, 1]`: less than 1 where other meters counted the same
    /// machine at the same time.
    pub share: f64,
}

/// Rows, and what is in none of them.
#[derive(Debug, Default)]
#[allow(clippy::struct_field_names, reason = "rows are what it is made of")]
pub(crate) struct Rows {
    pub rows: Vec<RunRow>,
    pub skipped: Vec<SkippedFile>,
    /// Rows that were taken from files that a writer had set aside.
    pub notes: Vec<String>,
}

impl RunRow {
    pub fn energy_kwh(&self) -> f64 {
        self.record.energy_consumed * self.share
    }

    pub fn emissions_kg(&self) -> f64 {
        self.record.emissions * self.share
    }

    pub fn range_kwh(&self) -> Option<[f64; 2]> {
        Some(self.provenance.as_ref()?.energy_interval_kwh().map(|bound| bound * self.share))
    }

    pub fn range_kg(&self) -> Option<[f64; 2]> {
        Some(self.provenance.as_ref()?.emissions_interval_kg().map(|bound| bound * self.share))
    }

    /// Hours of the machine that are the run's.
    pub fn machine_hours(&self) -> f64 {
        self.record.duration * self.share / 3600.0
    }
}

/// Where the emissions of a project are, as far as there are any: its folder of them, the file that CodeCarbon and
/// `emissions track` make in its root, and files elsewhere to which programs were metered.
pub fn files_of_project(project: &ProjectLayout) -> Vec<PathBuf> {
    let noted = fs::read_to_string(noted_files(project)).unwrap_or_default();
    let elsewhere = noted.lines().map(|line| project.root().join(line)).collect::<Vec<_>>();
    let both = [project.emissions(), project.root().join(DEFAULT_NAME)];
    both.into_iter().chain(elsewhere).filter(|path| path.exists()).collect()
}

/// Notes that a program of the project was metered to `csv`, so that reports on the project find its row.
///
/// # Errors
/// The note cannot be written.
pub fn note_file(project: &ProjectLayout, csv: &Path) -> Result<(), CarbonError> {
    let is_known = |known: &PathBuf| csv == known || known.is_dir() && csv.parent() == Some(known);
    if files_of_project(project).iter().any(is_known) {
        return Ok(());
    }
    let notes = noted_files(project);
    let line = csv.strip_prefix(project.root()).unwrap_or(csv).to_string_lossy().into_owned();
    let known = fs::read_to_string(&notes).unwrap_or_default();
    durable::replace(&notes, format!("{known}{line}\n").as_bytes())
}

fn noted_files(project: &ProjectLayout) -> PathBuf {
    project.emissions().join("metered-elsewhere.txt")
}

/// What the files of a project say.
pub(crate) fn of_project(project: &ProjectLayout) -> Result<Rows, CarbonError> {
    of_paths(&files_of_project(project))
}

/// Every emissions file of `folder`, none where it is missing.
pub(crate) fn of_folder(folder: &Path) -> Result<Rows, CarbonError> {
    Ok(of_files(files_of(folder)?.into_iter().map(|file| file.path).collect()))
}

/// The files among `paths`, whatever their names, and the emissions files of the folders among them, each once.
///
/// # Errors
/// A path that is missing.
pub(crate) fn of_paths(paths: &[PathBuf]) -> Result<Rows, CarbonError> {
    let mut files = Vec::new();
    for path in paths {
        let kind = fs::metadata(path).map_err(CarbonError::file("read", path))?;
        files.extend(if kind.is_dir() { files_of(path)? } else { vec![Found::at(path.clone())] });
    }
    let mut seen = HashSet::new();
    files.retain(|file| seen.insert(file.place.clone()));
    Ok(of_files(files.into_iter().map(|file| file.path).collect()))
}

/// A file, and where it really lies.
struct Found {
    path: PathBuf,
    /// As text, which is faster to compare than a path.
    place: OsString,
}

impl Found {
    fn at(path: PathBuf) -> Self {
        let place = fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
        Self { place: place.into(), path }
    }
}

/// The emissions files of `folder` in the order of their names, so that sums do not hang on the order of a folder.
fn files_of(folder: &Path) -> Result<Vec<Found>, CarbonError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(CarbonError::file("read", folder)(error)),
    };
    let place = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(CarbonError::file("read", folder))?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        if is_emissions_file(&text) || set_aside_of(&text).is_some() {
            names.push((name, entry.file_type().is_ok_and(|kind| kind.is_file())));
        }
    }
    names.sort_unstable();
    let found = names.into_iter().map(|(name, is_file)| {
        let path = folder.join(&name);
        if is_file { Found { place: place.join(&name).into(), path } } else { Found::at(path) }
    });
    Ok(found.collect())
}

fn is_emissions_file(name: &str) -> bool {
    name.ends_with(EMISSIONS) || name == DEFAULT_NAME
}

/// The name that a file had before a writer set it aside.
fn set_aside_of(name: &str) -> Option<&str> {
    let (csv, number) = name.strip_suffix(".bak")?.split_once(".csv")?;
    let is_number = |text: &str| text.strip_prefix('_').is_some_and(|n| n.parse::<u64>().is_ok());
    let own = &name[..csv.len() + ".csv".len()];
    ((number.is_empty() || is_number(number)) && is_emissions_file(own)).then_some(own)
}

fn of_files(files: Vec<PathBuf>) -> Rows {
    let is_aside =
        |file: &PathBuf| file.file_name().is_some_and(|name| set_aside_of(&name.to_string_lossy()).is_some());
    let (aside, files): (Vec<_>, Vec<_>) = files.into_iter().partition(is_aside);
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS);
    let part = files.len().div_ceil(threads).max(1);
    let parts: Vec<Rows> = thread::scope(|scope| {
        let readers: Vec<_> = files.chunks(part).map(|files| scope.spawn(move || read_all(files))).collect();
        // If a part were lost silently, the total would look smaller.
        readers
            .into_iter()
            .map(|reader| reader.join().unwrap_or_else(|panic| panic::resume_unwind(panic)))
            .collect()
    });
    let mut all = Rows::default();
    for part in parts {
        all.rows.extend(part.rows);
        all.skipped.extend(part.skipped);
    }
    all.add_set_aside(&aside);
    overlap::share_machines(&mut all.rows);
    all
}

impl Rows {
    /// Runs of files that a writer set aside because of their columns, such as those of an older CodeCarbon, where no other
    /// file has the run.
    fn add_set_aside(&mut self, files: &[PathBuf]) {
        let mut known: HashSet<String> = self.rows.iter().map(|row| row.record.run_id.clone()).collect();
        for file in files {
            // A file that is not CodeCarbon's was set aside rightly.
            let Ok(read) = known_or_read(file) else { continue };
            let lost: Vec<_> = read
                .rows
                .iter()
                .filter(|row| !row.record.run_id.is_empty() && known.insert(row.record.run_id.clone()))
                .cloned()
                .collect();
            if !lost.is_empty() {
                let name = file_name(file);
                self.notes.push(format!(
                    "{} of {name}, which was set aside because its columns are of another version, count too",
                    greentune_core_config::quantities::counted(lost.len() as u64, "run"),
                ));
                self.rows.extend(lost);
            }
        }
    }
}

fn read_all(files: &[PathBuf]) -> Rows {
    let mut all = Rows::default();
    for file in files {
        match known_or_read(file) {
            Ok(read) => {
                all.rows.extend_from_slice(&read.rows);
                all.skipped.extend_from_slice(&read.skipped);
            }
            Err(error) => all.skipped.push(SkippedFile { file: file_name(file), reason: error.to_string() }),
        }
    }
    all
}

fn file_name(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What one file says, and the stamps of the files that say it: its own and those of its sidecars, as they were before they
/// were read.
#[derive(Debug)]
struct FileRows {
    rows: Vec<RunRow>,
    skipped: Vec<SkippedFile>,
    stamps: Vec<(PathBuf, Option<Stamp>)>,
}

impl FileRows {
    /// Whether a change of a file would show, and nothing is missing that could be readable the next time.
    fn may_be_kept(&self) -> bool {
        let is_settled = |stamp: &Option<Stamp>| stamp.is_none_or(|stamp| stamp.is_settled());
        self.skipped.is_empty() && self.stamps.iter().all(|(_, stamp)| is_settled(stamp))
    }

    fn is_as_it_was(&self) -> bool {
        self.stamps.iter().all(|(path, stamp)| Stamp::of(path).ok() == *stamp)
    }
}

/// What files said that have been read in this process: a report over thousands of them is asked for again and again.
fn kept() -> MutexGuard<'static, HashMap<OsString, Arc<FileRows>>> {
    static KEPT: LazyLock<Mutex<HashMap<OsString, Arc<FileRows>>>> = LazyLock::new(Mutex::default);
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What `file` says: as it was read before, when neither it nor its sidecars have changed since.
fn known_or_read(file: &Path) -> Result<Arc<FileRows>, CarbonError> {
    let name = file.as_os_str();
    let known = kept().get(name).map(Arc::clone);
    if let Some(known) = known.filter(|known| known.is_as_it_was()) {
        return Ok(known);
    }
    let read = Arc::new(read_file(file)?);
    let mut kept = kept();
    if !read.may_be_kept() {
        kept.remove(name);
    } else if kept.len() < MOST_KEPT || kept.contains_key(name) {
        kept.insert(name.to_owned(), Arc::clone(&read));
    } else {
        // Which of them will be asked for again is not known.
        kept.clear();
    }
    Ok(read)
}

fn read_file(file: &Path) -> Result<FileRows, CarbonError> {
    let mut stamps = vec![(file.to_owned(), Stamp::of(file).ok())];
    let FileRuns { rows, mut refused } = codecarbon::runs(file)?;
    if rows.is_empty() && !refused.is_empty() {
        return Err(refused.swap_remove(0).1);
    }
    let name = file_name(file);
    let of_file = FileName::of(&name);
    let ids: HashSet<&str> = rows.iter().map(|row| row.run_id.as_str()).collect();
    let is_shared = of_file.run.is_none()
        || ids.len() > 1 && (of_file.stage.is_none() || ids.contains(of_file.run.unwrap_or_default()));
    let skipped = refused.into_iter().map(|(run_id, error)| SkippedFile {
        file: name.clone(),
        reason: format!("run {run_id:?}: {error}"),
    });
    let (mut read, mut skipped) = (Vec::new(), skipped.collect::<Vec<_>>());
    for record in rows {
        let is_own = !is_shared || of_file.run == Some(record.run_id.as_str());
        let run_id = match of_file.run {
            Some(run) if is_own => run.to_owned(),
            _ if record.run_id.is_empty() => of_file.stem.to_owned(),
            _ => record.run_id.clone(),
        };
        let beside = if is_own {
            file.with_file_name(format!("{}_provenance.json", of_file.stem))
        } else {
            sidecar::beside(file, &record.run_id)
        };
        stamps.push((beside.clone(), Stamp::of(&beside).ok()));
        match sidecar::read(&beside) {
            Ok(provenance) => {
                let span = Span::of(&record, provenance.as_ref());
                let stage = of_file.stage.filter(|_| is_own);
                read.push(RunRow {
                    file: name.clone(),
                    run_id,
                    stage,
                    record: Arc::new(record),
                    provenance: provenance.map(Arc::new),
                    span,
                    share: 1.0,
                });
            }
            Err(error) => skipped.push(SkippedFile { file: name.clone(), reason: error.to_string() }),
        }
    }
    Ok(FileRows { rows: read, skipped, stamps })
}

/// `{run_id}_stage{N}_emissions.csv`, `{run_id}_emissions.csv`, or any other name.
struct FileName<'a> {
    /// The name up to `_emissions.csv` or its extension.
    stem: &'a str,
    /// The run that the file is about; `None` for a name that tells none.
    run: Option<&'a str>,
    stage: Option<u8>,
}

impl<'a> FileName<'a> {
    fn of(name: &'a str) -> Self {
        let name = set_aside_of(name).unwrap_or(name);
        let Some(stem) = name.strip_suffix(EMISSIONS) else {
            let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
            return Self { stem, run: None, stage: None };
        };
        let stage = stem.rsplit_once("_stage").and_then(|(run, stage)| Some((run, stage.parse().ok()?)));
        let (run, stage) = stage.map_or((stem, None), |(run, stage)| (run, Some(stage)));
        Self { stem, run: Some(run), stage }
    }
}
