//! The examples of a data set: in memory while they are few, in a file once they are many.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Mutex,
};

use super::{
    error::DataError,
    example::{Example, ExampleText},
};

/// Bytes of examples that are kept in memory.
const IN_MEMORY: usize = 64 << 20;

/// Examples by index. In memory there are 16 bytes for each, and of the rest no more than 64 MiB.
#[derive(Debug)]
pub struct Examples {
    place: Place,
    /// Where each example ends; it begins where the one before ends.
    ends: Vec<u64>,
    weights: Vec<f64>,
    in_memory: usize,
}

#[derive(Debug)]
enum Place {
    /// With the file that is written once they are too many.
    Memory {
        bytes: Vec<u8>,
        file: PathBuf,
    },
    File(Spilled),
}

/// Examples in a file, which goes with them.
#[derive(Debug)]
struct Spilled {
    path: PathBuf,
    /// Read and written one at a time; what is written is buffered until it is read.
    file: Mutex<BufWriter<File>>,
}

impl Examples {
    /// No examples yet; `file` is where they go once they are too many for memory.
    pub(super) fn new(file: &Path) -> Self {
        let place = Place::Memory { bytes: Vec::new(), file: file.to_owned() };
        Self { place, ends: Vec::new(), weights: Vec::new(), in_memory: IN_MEMORY }
    }

    pub(super) fn push(&mut self, example: &Example) -> Result<(), DataError> {
        let bytes = to_bytes(example);
        if let Place::Memory { bytes: kept, file } = &mut self.place {
            if kept.len() + bytes.len() <= self.in_memory {
                kept.extend(&bytes);
                self.note(bytes.len(), example);
                return Ok(());
            }
            self.place = Place::File(Spilled::create(file, kept)?);
        }
        if let Place::File(spilled) = &self.place {
            spilled.append(&bytes)?;
        }
        self.note(bytes.len(), example);
        Ok(())
    }

    fn note(&mut self, bytes: usize, example: &Example) {
        self.ends.push(self.ends.last().unwrap_or(&0) + bytes as u64);
        self.weights.push(example.weight);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Sampling weights, one per example.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// Bytes that they take of memory.
    pub fn bytes_in_memory(&self) -> u64 {
        let kept = match &self.place {
            Place::Memory { bytes, .. } => bytes.len(),
            Place::File(_) => 0,
        };
        (kept + size_of_val(&*self.ends) + size_of_val(&*self.weights)) as u64
    }

    /// The example at `index`.
    ///
    /// # Errors
    /// [`DataError::Unreadable`] when their file cannot be read any more.
    ///
    /// # Panics
    /// If there is none at `index`.
    pub fn get(&self, index: usize) -> Result<Example, DataError> {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        let length = (self.ends[index] - start) as usize;
        let example = match &self.place {
            Place::Memory { bytes, file } => {
                from_bytes(&bytes[start as usize..start as usize + length]).ok_or_else(|| damaged(file))
            }
            Place::File(spilled) => {
                from_bytes(&spilled.read(start, length)?).ok_or_else(|| damaged(&spilled.path))
            }
        }?;
        Ok(Example { weight: self.weights[index], ..example })
    }

    /// All of them in order.
    pub fn iter(&self) -> impl Iterator<Item = Result<Example, DataError>> + '_ {
        (0..self.len()).map(|index| self.get(index))
    }

    /// The first `number` of them.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn first(&self, number: usize) -> Result<Vec<Example>, DataError> {
        self.iter().take(number).collect()
    }

    /// All of them in order, `number` at a time.
    pub fn chunks(&self, number: usize) -> impl Iterator<Item = Result<Vec<Example>, DataError>> + '_ {
        let number = number.max(1);
        let chunk = move |start: usize| start..(start + number).min(self.len());
        (0..self.len()).step_by(number).map(move |start| chunk(start).map(|index| self.get(index)).collect())
    }
}

impl Spilled {
    fn create(path: &Path, bytes: &[u8]) -> Result<Self, DataError> {
        let unwritable = |source| DataError::Unwritable { path: path.to_owned(), source };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(unwritable)?;
        }
        let options = File::options().read(true).write(true).create(true).truncate(true).open(path);
        let spilled =
            Self { path: path.to_owned(), file: Mutex::new(BufWriter::new(options.map_err(unwritable)?)) };
        spilled.append(bytes)?;
        Ok(spilled)
    }

    fn append(&self, bytes: &[u8]) -> Result<(), DataError> {
        self.with_file(|file| file.write_all(bytes))
            .map_err(|source| DataError::Unwritable { path: self.path.clone(), source })
    }

    fn read(&self, start: u64, length: usize) -> Result<Vec<u8>, DataError> {
        let mut bytes = vec![0; length];
        self.with_file(|file| {
            // Writes what is buffered first.
            file.seek(SeekFrom::Start(start))?;
            file.get_mut().read_exact(&mut bytes)
        })
        .map_err(|source| DataError::Unreadable { path: self.path.clone(), source })?;
        Ok(bytes)
    }

    fn with_file<T>(&self, work: impl FnOnce(&mut BufWriter<File>) -> io::Result<T>) -> io::Result<T> {
        // Every use sets the position that it needs, so that one that broke off harms no other.
        work(&mut self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl Drop for Spilled {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn damaged(path: &Path) -> DataError {
    DataError::Changed { path: path.to_owned() }
}

/// Line, sizes and flags, then tokens, labels and text, all little-endian.
fn to_bytes(example: &Example) -> Vec<u8> {
    let Example { tokens, labels, high_quality, line, truncated, text, .. } = example;
    let flags = u32::from(*high_quality) | u32::from(*truncated) << 1 | u32::from(text.is_some()) << 2;
    let (prompt, response) =
        text.as_ref().map_or(("", ""), |text| (text.prompt.as_str(), text.response.as_str()));
    let sizes = [flags, tokens.len() as u32, labels.len() as u32, prompt.len() as u32, response.len() as u32];
    let labels = labels.iter().flat_map(|range| [range.start as u32, range.end as u32]);
    let numbers = sizes.into_iter().chain(tokens.iter().copied()).chain(labels);
    let mut bytes = line.to_le_bytes().to_vec();
    bytes.extend(numbers.flat_map(u32::to_le_bytes));
    bytes.extend(prompt.as_bytes());
    bytes.extend(response.as_bytes());
    bytes
}

/// What [`to_bytes`] wrote.
fn from_bytes(bytes: &[u8]) -> Option<Example> {
    let (line, mut rest) = bytes.split_first_chunk::<8>()?;
    let mut number = || {
        let (number, after) = rest.split_first_chunk::<4>()?;
        rest = after;
        Some(u32::from_le_bytes(*number))
    };
    let [flags, tokens, labels, prompt, response] = [number()?, number()?, number()?, number()?, number()?];
    let tokens = (0..tokens).map(|_| number()).collect::<Option<Vec<_>>>()?;
    let labels =
        (0..labels).map(|_| Some(number()? as usize..number()? as usize)).collect::<Option<Vec<_>>>()?;
    let (prompt, rest) = rest.split_at_checked(prompt as usize)?;
    let (response, rest) = rest.split_at_checked(response as usize)?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    let text = ExampleText { prompt: text(prompt)?, response: text(response)? };
    rest.is_empty().then(|| Example {
        high_quality: flags & 1 != 0,
        line: u64::from_le_bytes(*line),
        truncated: flags & 2 != 0,
        text: (flags & 4 != 0).then_some(text),
        ..Example::new(tokens, labels)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn example(index: u64) -> Example {
        let tokens: Vec<u32> = (0..20 + index as u32 % 7).collect();
        let text = ExampleText { prompt: format!("Grüße {index}"), response: "ok".into() };
        Example {
            weight: 1.0 + index as f64,
            high_quality: index % 2 == 1,
            line: index,
            truncated: index % 3 == 1,
            text: (!index.is_multiple_of(4)).then_some(text),
            ..Example::new(tokens, [3..5, 9..20])
        }
    }

    #[test]
    fn many_examples_are_as_few_ones_were_and_leave_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("training-data/train.examples");
        let all: Vec<_> = (0..300).map(example).collect();
        for (in_memory, spills) in [(usize::MAX, false), (10_000, true), (0, true)] {
            let mut examples = Examples { in_memory, ..Examples::new(&path) };
            for example in &all {
                examples.push(example).unwrap();
            }
            assert_eq!((path.exists(), examples.len()), (spills, all.len()));
            for index in [299, 0, 150, 1, 299] {
                assert_eq!(examples.get(index).unwrap(), all[index]);
            }
            assert_eq!(examples.iter().collect::<Result<Vec<_>, _>>().unwrap(), all);
            let chunks: Vec<_> = examples.chunks(64).collect::<Result<_, _>>().unwrap();
            assert_eq!((chunks.len(), chunks.concat()), (5, all.clone()));
            assert_eq!(examples.first(2).unwrap(), all[..2]);
            assert_eq!(examples.weights(), all.iter().map(|example| example.weight).collect::<Vec<_>>());
            drop(examples);
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_file_that_is_gone_or_shorter_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train.examples");
        let mut examples = Examples { in_memory: 0, ..Examples::new(&path) };
        for index in 0..50 {
            examples.push(&example(index)).unwrap();
        }
        assert!(examples.get(49).is_ok());
        File::options().write(true).open(&path).unwrap().set_len(100).unwrap();
        assert!(matches!(examples.get(49), Err(DataError::Unreadable { .. })));
        fs::write(folder.path().join("file"), "").unwrap();
        let mut nowhere =
            Examples { in_memory: 0, ..Examples::new(&folder.path().join("file/train.examples")) };
        assert!(matches!(nowhere.push(&example(1)), Err(DataError::Unwritable { .. })));
    }

    proptest! {
        #[test]
        fn bytes_give_the_example_back(
            tokens in prop::collection::vec(any::<u32>(), 2..40),
            starts in prop::collection::vec(1_usize..30, 0..4),
            line: u64,
            texts in prop::option::of((".*", ".*")),
        ) {
            let labels: Vec<_> = starts.into_iter().map(|start| start..start + 2).collect();
            let text = texts.map(|(prompt, response)| ExampleText { prompt, response });
            let example = Example { line, text, ..Example::new(tokens, labels) };
            prop_assert_eq!(from_bytes(&to_bytes(&example)), Some(example));
        }

        #[test]
        fn other_bytes_give_none_or_an_example_but_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = from_bytes(&bytes);
        }
    }
}
