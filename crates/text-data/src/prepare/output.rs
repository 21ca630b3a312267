//! The files of a preparation: all of them are there, or none that was not there before.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use greentune_core_config::preparation::{DatasetPreparation, PrepareTask};

use super::{histogram::svg, report, rows, schema, split::SPLITS};
use crate::error::DataError;

/// Where everything goes.
pub(super) struct Output {
    splits: [PathBuf; 3],
    reports: PathBuf,
    /// The report's name, without extension.
    name: String,
}

impl Output {
    /// Names the files and refuses to replace what must not be replaced.
    pub(super) fn plan(task: &PrepareTask) -> Result<Self, DataError> {
        let output = Self {
            splits: SPLITS.map(|name| task.out.join(format!("{name}.jsonl"))),
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

    /// Copies each row to the split that `split_of_row` names for it, as one JSON object per line.
    pub(super) fn write_splits(
        &self,
        task: &PrepareTask,
        split_of_row: &[Option<usize>],
    ) -> Result<(), DataError> {
        let mut files: [Option<NewFile>; 3] = [None, None, None];
        let mut next = split_of_row.iter();
        for path in &task.datasets {
            let names = &task.settings.dataset;
            let format = rows::format(path, names.format)?;
            for row in rows::open(path, format, &schema::known_fields(names), false)? {
                let row = row?;
                let split = next.next().ok_or_else(|| DataError::Changed { path: path.clone() })?;
                let (Some(split), Ok(row)) = (split, row) else { continue };
                if files[*split].is_none() {
                    files[*split] = Some(NewFile::create(&self.splits[*split])?);
                }
                if let Some(file) = &mut files[*split] {
                    file.write_line(&serde_json::Value::Object(row.fields))?;
                }
            }
        }
        if next.next().is_some() {
            return Err(DataError::Changed { path: task.datasets.last().cloned().unwrap_or_default() });
        }
        let written: Vec<bool> = files.iter().map(Option::is_some).collect();
        files.into_iter().flatten().try_for_each(NewFile::finish)?;
        // A split that is empty now must not be taken for one of the same preparation.
        for path in self.splits.iter().zip(written).filter(|(_, written)| !written).map(|(path, _)| path) {
            remove_if_there(path)?;
        }
        Ok(())
    }

    pub(super) fn write_report(&self, preparation: &DatasetPreparation) -> Result<(), DataError> {
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
            let mut file = NewFile::create(&self.file(ending))?;
            file.write(content.as_bytes())?;
            file.finish()?;
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

/// A file that gets its name when it is complete; until then it is removed when it is dropped.
struct NewFile {
    path: PathBuf,
    temporary: PathBuf,
    writer: Option<BufWriter<File>>,
}

impl NewFile {
    fn create(path: &Path) -> Result<Self, DataError> {
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(unwritable(folder))?;
        let temporary = path.with_added_extension("partial");
        let file = File::create(&temporary).map_err(unwritable(path))?;
        Ok(Self { path: path.to_owned(), temporary, writer: Some(BufWriter::new(file)) })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), DataError> {
        let written = self.writer.as_mut().map_or(Ok(()), |writer| writer.write_all(bytes));
        written.map_err(unwritable(&self.path))
    }

    fn write_line(&mut self, value: &serde_json::Value) -> Result<(), DataError> {
        self.write(format!("{value}\n").as_bytes())
    }

    fn finish(mut self) -> Result<(), DataError> {
        let Some(mut writer) = self.writer.take() else { return Ok(()) };
        let done = writer.flush().and_then(|()| writer.get_ref().sync_all());
        let done = done.and_then(|()| fs::rename(&self.temporary, &self.path));
        done.map_err(|source| {
            let _ = fs::remove_file(&self.temporary);
            unwritable(&self.path)(source)
        })
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if self.writer.take().is_some() {
            let _ = fs::remove_file(&self.temporary);
        }
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
