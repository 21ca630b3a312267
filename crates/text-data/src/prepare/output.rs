//! The files of a preparation: all splits are those of one preparation, or none are there.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use greentune_core_config::{
    layout::{PREPARING, SPLIT_FILES},
    preparation::{DatasetPreparation, PrepareTask},
};
use greentune_durable::{FileSet, Staging, sweep_abandoned, write_atomically};

use super::{histogram::svg, report, rows, schema};
use crate::error::DataError;

/// Where everything goes.
pub(super) struct Output {
    out: PathBuf,
    may_replace: bool,
    splits: [PathBuf; 3],
    reports: PathBuf,
    /// The report's name, without extension.
    name: String,
}

impl Output {
    /// Names the files and refuses to replace what must not be replaced.
    pub(super) fn plan(task: &PrepareTask) -> Result<Self, DataError> {
        let output = Self {
            out: task.out.clone(),
            may_replace: task.force,
            splits: SPLIT_FILES.map(|name| task.out.join(name)),
            reports: task.reports.clone(),
            name: name(&task.datasets),
        };
        let written = output.splits.iter().cloned().chain(output.report_files(true, true));
        for path in written {
            let is_input = |input: &PathBuf| match (fs::canonicalize(input), fs::canonicalize(&path)) {
                (Ok(input), Ok(path)) => input == path,
                _ => false,
            };
            if task.datasets.iter().any(is_input) {
                return Err(DataError::WritesInput { path });
            }
            if !task.force && path.exists() {
                return Err(DataError::Exists { path });
            }
        }
        Ok(output)
    }

    pub(super) fn split(&self, split: usize) -> &Path {
        &self.splits[split]
    }

    /// The report for people.
    pub(super) fn report(&self) -> PathBuf {
        self.file(".md")
    }

    /// Every file of the report, the histograms of tokens and quality only where there are some.
    pub(super) fn report_files(&self, has_tokens: bool, has_quality: bool) -> Vec<PathBuf> {
        let mut files = vec![self.file(".md"), self.file(".json")];
        if has_tokens {
            files.extend([self.file("-tokens.svg"), self.file("-labels.svg")]);
        }
        if has_quality {
            files.push(self.file("-quality.svg"));
        }
        files
    }

    fn file(&self, ending: &str) -> PathBuf {
        self.reports.join(format!("{}{ending}", self.name))
    }

    /// Copies each row to the split that `split_of_row` names for it, as one JSON object per line, in a folder of its own
    /// beside the splits that are there.
    pub(super) fn write_splits(
        &self,
        task: &PrepareTask,
        split_of_row: &[Option<usize>],
    ) -> Result<Splits, DataError> {
        let splits = Splits::begin(&self.out)?;
        let mut files: [Option<SplitFile>; 3] = [None, None, None];
        let mut next = split_of_row.iter();
        for path in &task.datasets {
            let names = &task.settings.dataset;
            let format = rows::format(path, names.format)?;
            for row in rows::open(path, format, &schema::known_fields(names), false)? {
                let row = row?;
                let split = next.next().ok_or_else(|| DataError::Changed { path: path.clone() })?;
                let (Some(split), Ok(row)) = (split, row) else { continue };
                if files[*split].is_none() {
                    files[*split] = Some(SplitFile::create(&splits.folder, SPLIT_FILES[*split])?);
                }
                if let Some(file) = &mut files[*split] {
                    file.write_line(&serde_json::Value::Object(row.fields))?;
                }
            }
        }
        if next.next().is_some() {
            return Err(DataError::Changed { path: task.datasets.last().cloned().unwrap_or_default() });
        }
        files.into_iter().flatten().try_for_each(SplitFile::finish)?;
        Ok(splits)
    }

    /// Gives the splits and the report their names. Of several preparations at once the last one's splits stay, all of them.
    pub(super) fn publish(&self, splits: Splits, preparation: &DatasetPreparation) -> Result<(), DataError> {
        let set = FileSet::new(&self.out, &SPLIT_FILES);
        let locked = set.lock().map_err(unwritable(&self.out))?;
        if let Some(path) = locked.existing().filter(|_| !self.may_replace) {
            return Err(DataError::Exists { path });
        }
        fs::create_dir_all(&self.reports).map_err(unwritable(&self.reports))?;
        // A report tells of the splits that are there, or is not there itself.
        for path in self.report_files(true, true) {
            remove_if_there(&path)?;
        }
        locked.replace(&splits.folder).map_err(unwritable(&self.out))?;
        drop(splits);
        self.write_report(preparation)
    }

    fn write_report(&self, preparation: &DatasetPreparation) -> Result<(), DataError> {
        let json = serde_json::to_value(preparation).unwrap_or_default();
        let mut files =
            vec![(".json", format!("{json:#}\n")), (".md", report::markdown(preparation, &self.name))];
        if preparation.tokens_counted {
            let labels =
                svg(&preparation.label_share, "Share of tokens that is learnt", "share of a record's tokens");
            files.push(("-tokens.svg", svg(&preparation.tokens, "Tokens per record", "tokens")));
            files.push(("-labels.svg", labels));
        }
        if let Some(quality) = &preparation.quality {
            files.push(("-quality.svg", svg(quality, "Quality", "value of the quality field")));
        }
        for (ending, content) in files {
            let path = self.file(ending);
            write_atomically(&path, content.as_bytes()).map_err(unwritable(&path))?;
        }
        Ok(())
    }
}

/// The report's name: that of the first file, and how many more there are.
fn name(datasets: &[PathBuf]) -> String {
    let stem = datasets.first().and_then(|path| path.file_stem()).unwrap_or_default();
    let stem = stem.to_string_lossy();
    match datasets.len() {
        0 | 1 => stem.into_owned(),
        more => format!("{stem}-and-{}-more", more - 1),
    }
}

/// New splits that have not got their names yet; they vanish when they are dropped before.
pub(super) struct Splits {
    folder: PathBuf,
    _staging: Staging,
}

impl Splits {
    fn begin(out: &Path) -> Result<Self, DataError> {
        fs::create_dir_all(out).map_err(unwritable(out))?;
        sweep_abandoned(out, PREPARING);
        let staging = Staging::new(out, PREPARING).map_err(unwritable(out))?;
        // The staging folder is private to its owner; the one inside has ordinary permissions.
        let folder = staging.path().join("splits");
        fs::create_dir(&folder).map_err(unwritable(&folder))?;
        Ok(Self { folder, _staging: staging })
    }
}

/// A new split, being written.
struct SplitFile {
    path: PathBuf,
    writer: BufWriter<File>,
}

impl SplitFile {
    fn create(folder: &Path, name: &str) -> Result<Self, DataError> {
        let path = folder.join(name);
        let file = File::create_new(&path).map_err(unwritable(&path))?;
        Ok(Self { path, writer: BufWriter::new(file) })
    }

    fn write_line(&mut self, value: &serde_json::Value) -> Result<(), DataError> {
        writeln!(self.writer, "{value}").map_err(unwritable(&self.path))
    }

    fn finish(mut self) -> Result<(), DataError> {
        let written = self.writer.flush().and_then(|()| self.writer.get_ref().sync_all());
        written.map_err(unwritable(&self.path))
    }
}

fn remove_if_there(path: &Path) -> Result<(), DataError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unwritable(path)(error)),
        _ => Ok(()),
    }
}

fn unwritable(path: &Path) -> impl FnOnce(io::Error) -> DataError {
    let path = path.to_owned();
    move |source| DataError::Unwritable { path, source }
}
