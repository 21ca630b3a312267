//! Reading safetensors by offset: a header, then one tensor at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, ErrorKind},
    path::{Component, Path, PathBuf},
};

use safetensors::{
    Dtype,
    tensor::{Metadata, TensorInfo},
};
use serde::Deserialize;

use crate::{error::ExportError, float::FloatType};

/// Single weights of a model folder.
pub(crate) const SINGLE_FILE: &str = "model.safetensors";
/// Index of sharded weights in a model folder.
pub(crate) const INDEX_FILE: &str = "model.safetensors.index.json";
/// Bytes that are copied or compared at once.
const CHUNK_BYTES: u64 = 8 << 20;
/// The limit of the safetensors library; a longer header is garbage read as a length.
const HEADER_LIMIT_BYTES: u64 = 100_000_000;

/// The weights of a model folder: one file, or shards under an index.
pub(crate) struct ModelWeights {
    folder: PathBuf,
    files: Vec<WeightsFile>,
    index: Option<PathBuf>,
    file_of: BTreeMap<String, usize>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl ModelWeights {
    /// Opens the weights in `folder` and checks that every file is complete.
    pub(crate) fn open(folder: &Path) -> Result<Self, ExportError> {
        if !folder.is_dir() {
            return Err(ExportError::FolderMissing { what: "base model", path: folder.into() });
        }
        let (single, index) = (folder.join(SINGLE_FILE), folder.join(INDEX_FILE));
        if single.is_file() {
            let file = WeightsFile::open(&single)?;
            let file_of = file.names.iter().map(|name| (name.clone(), 0)).collect();
            Ok(Self { folder: folder.into(), files: vec![file], index: None, file_of })
        } else if index.is_file() {
            Self::open_sharded(folder, index)
        } else {
            Err(ExportError::NoWeights { folder: folder.into() })
        }
    }

    fn open_sharded(folder: &Path, index: PathBuf) -> Result<Self, ExportError> {
        let Index { weight_map } = read_json(&index)?;
        let shards: BTreeSet<&String> = weight_map.values().collect();
        let files =
            shards.iter().map(|shard| open_shard(folder, &index, shard)).collect::<Result<Vec<_>, _>>()?;
        let mut file_of = BTreeMap::new();
        for (name, shard) in &weight_map {
            // The shards were collected from this very map, in this order.
            let position = shards.range::<String, _>(..shard).count();
            files[position].tensor(name)?;
            file_of.insert(name.clone(), position);
        }
        Ok(Self { folder: folder.into(), files, index: Some(index), file_of })
    }

    /// The index file, for sharded weights.
    pub(crate) fn index(&self) -> Option<&Path> {
        self.index.as_deref()
    }

    /// Whether there is a tensor `name`.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.file_of.contains_key(name)
    }

    /// The tensor `name`.
    pub(crate) fn tensor(&self, name: &str) -> Result<Tensor<'_>, ExportError> {
        let position = self
            .file_of
            .get(name)
            .ok_or_else(|| ExportError::TensorMissing { path: self.folder.clone(), name: name.into() })?;
        self.files[*position].tensor(name)
    }

    /// Every file with the tensors that are read from it, in the order of their offsets.
    pub(crate) fn files(&self) -> Result<Vec<(String, Vec<Tensor<'_>>)>, ExportError> {
        let listed = |(position, file): (usize, &'_ WeightsFile)| {
            let names = file.names.iter().filter(|name| self.file_of.get(*name) == Some(&position));
            let tensors = names.map(|name| self.tensor(name)).collect::<Result<Vec<_>, _>>()?;
            Ok((file.name(), tensors))
        };
        self.files.iter().enumerate().map(listed).collect()
    }
}

/// Names and shapes of all tensors of the model in `folder`; only headers are read.
pub fn tensor_shapes(folder: &Path) -> Result<Vec<(String, Vec<usize>)>, ExportError> {
    let model = ModelWeights::open(folder)?;
    let tensors = model.files()?.into_iter().flat_map(|(_, tensors)| tensors);
    Ok(tensors.map(|tensor| (tensor.name.clone(), tensor.shape().to_vec())).collect())
}

fn open_shard(folder: &Path, index: &Path, shard: &str) -> Result<WeightsFile, ExportError> {
    let mut components = Path::new(shard).components();
    if !matches!((components.next(), components.next()), (Some(Component::Normal(_)), None)) {
        let reason = format!("\"{shard}\" is not the name of a file beside it");
        return Err(ExportError::Broken { path: index.into(), reason });
    }
    WeightsFile::open(&folder.join(shard)).map_err(|error| match error {
        ExportError::FileMissing { .. } => {
            ExportError::ShardMissing { index: index.into(), shard: shard.to_owned() }
        }
        error => error,
    })
}

/// One safetensors file, open for reading.
#[derive(Debug)]
pub(crate) struct WeightsFile {
    path: PathBuf,
    file: File,
    header: Metadata,
    names: Vec<String>,
    data_start: u64,
}

impl WeightsFile {
    /// Opens `path`, reads its header and checks that the file is as long as the header says.
    pub(crate) fn open(path: &Path) -> Result<Self, ExportError> {
        let file = File::open(path).map_err(|source| match source.kind() {
            ErrorKind::NotFound => ExportError::FileMissing { path: path.into() },
            _ => ExportError::Io { action: "open", path: path.into(), source },
        })?;
        let found_bytes = file.metadata().map_err(ExportError::io("read", path))?.len();
        let truncated =
            |expected_bytes| ExportError::Truncated { path: path.into(), expected_bytes, found_bytes };
        let broken = |reason: String| ExportError::Broken { path: path.into(), reason };
        if found_bytes < 8 {
            return Err(truncated(8));
        }
        let mut length = [0; 8];
        read_exact_at(&file, &mut length, 0).map_err(ExportError::io("read", path))?;
        let length = u64::from_le_bytes(length);
        if length > HEADER_LIMIT_BYTES {
            return Err(broken(format!("its header would be {length} bytes long")));
        }
        if found_bytes < 8 + length {
            return Err(truncated(8 + length));
        }
        let mut header = vec![0; length as usize];
        read_exact_at(&file, &mut header, 8).map_err(ExportError::io("read", path))?;
        let header: Metadata =
            serde_json::from_slice(&header).map_err(|error| broken(format!("its header: {error}")))?;
        let expected_bytes = 8 + length + header.data_len() as u64;
        if found_bytes < expected_bytes {
            return Err(truncated(expected_bytes));
        }
        if found_bytes > expected_bytes {
            return Err(broken(format!("{} bytes follow its last tensor", found_bytes - expected_bytes)));
        }
        let names = header.offset_keys();
        Ok(Self { path: path.into(), file, header, names, data_start: 8 + length })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The names of its tensors, in the order of their offsets.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// The tensor `name`.
    pub(crate) fn tensor(&self, name: &str) -> Result<Tensor<'_>, ExportError> {
        match self.header.info(name) {
            Some(info) => Ok(Tensor { name: name.to_owned(), file: self, info }),
            None => Err(ExportError::TensorMissing { path: self.path.clone(), name: name.into() }),
        }
    }

    fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// A tensor in a file; nothing of it is in memory.
#[derive(Clone, Debug)]
pub(crate) struct Tensor<'a> {
    /// Its name.
    pub(crate) name: String,
    file: &'a WeightsFile,
    info: &'a TensorInfo,
}

impl Tensor<'_> {
    /// Type of its elements.
    pub(crate) fn dtype(&self) -> Dtype {
        self.info.dtype
    }

    /// Its shape, outermost first.
    pub(crate) fn shape(&self) -> &[usize] {
        &self.info.shape
    }

    /// The file that it is in.
    pub(crate) fn path(&self) -> &Path {
        &self.file.path
    }

    /// Its length in bytes.
    pub(crate) fn byte_len(&self) -> u64 {
        (self.info.data_offsets.1 - self.info.data_offsets.0) as u64
    }

    /// Its float type; an error for any other type.
    pub(crate) fn float_type(&self) -> Result<FloatType, ExportError> {
        FloatType::of(self.dtype()).ok_or_else(|| ExportError::UnsupportedDtype {
            path: self.path().into(),
            name: self.name.clone(),
            dtype: self.dtype().to_string(),
        })
    }

    /// An error unless its shape is `expected`.
    pub(crate) fn expect_shape(&self, expected: &[usize]) -> Result<(), ExportError> {
        if self.shape() == expected {
            return Ok(());
        }
        Err(ExportError::WrongShape {
            path: self.path().into(),
            name: self.name.clone(),
            found: self.shape().to_vec(),
            expected: expected.to_vec(),
        })
    }

    /// Rows and columns; an error unless it is a matrix.
    pub(crate) fn matrix_shape(&self) -> Result<[usize; 2], ExportError> {
        <[usize; 2]>::try_from(self.shape()).map_err(|_| ExportError::Broken {
            path: self.path().into(),
            reason: format!("\"{}\" has the shape {:?} where a matrix is needed", self.name, self.shape()),
        })
    }

    /// All its bytes.
    pub(crate) fn read(&self) -> Result<Vec<u8>, ExportError> {
        let mut bytes = vec![0; self.byte_len() as usize];
        self.read_at(0, &mut bytes)?;
        Ok(bytes)
    }

    /// All its elements as f32.
    pub(crate) fn read_f32(&self) -> Result<Vec<f32>, ExportError> {
        let float = self.float_type()?;
        let bytes = self.read()?;
        let mut values = vec![0.0; bytes.len() / float.size()];
        float.decode(&bytes, &mut values);
        Ok(values)
    }

    /// Fills `bytes` from `offset` within the tensor.
    pub(crate) fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<(), ExportError> {
        let start = self.file.data_start + self.info.data_offsets.0 as u64 + offset;
        read_exact_at(&self.file.file, bytes, start).map_err(ExportError::io("read", self.path()))
    }

    /// Hands its bytes to `sink`, a few megabytes at a time.
    pub(crate) fn stream(
        &self,
        mut sink: impl FnMut(&[u8]) -> Result<(), ExportError>,
    ) -> Result<(), ExportError> {
        let mut buffer = vec![0; self.byte_len().min(CHUNK_BYTES) as usize];
        for offset in (0..self.byte_len()).step_by(CHUNK_BYTES as usize) {
            let bytes = &mut buffer[..(self.byte_len() - offset).min(CHUNK_BYTES) as usize];
            self.read_at(offset, bytes)?;
            sink(bytes)?;
        }
        Ok(())
    }

    /// Whether type, shape and every byte equal those of `other`.
    pub(crate) fn is_identical_to(&self, other: &Tensor<'_>) -> Result<bool, ExportError> {
        if self.dtype() != other.dtype() || self.shape() != other.shape() {
            return Ok(false);
        }
        let (mut offset, mut same) = (0, true);
        let mut theirs = Vec::new();
        self.stream(|ours| {
            theirs.resize(ours.len(), 0);
            other.read_at(offset, &mut theirs)?;
            same &= ours == theirs;
            offset += ours.len() as u64;
            Ok(())
        })?;
        Ok(same)
    }
}

/// Fills `bytes` from `offset` of `file`.
#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

/// Fills `bytes` from `offset` of `file`. Where a system reads less than was asked for, it is asked again.
#[cfg(windows)]
fn read_exact_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let read = std::os::windows::fs::FileExt::seek_read(file, bytes, offset)?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        bytes = &mut bytes[read..];
        offset += read as u64;
    }
    Ok(())
}

/// Reads a JSON file; errors name it.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, ExportError> {
    let bytes = std::fs::read(path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => ExportError::FileMissing { path: path.into() },
        _ => ExportError::Io { action: "read", path: path.into(), source },
    })?;
    serde_json::from_slice(&bytes)
        .map_err(|error| ExportError::Broken { path: path.into(), reason: error.to_string() })
}

/// The bytes before the tensors of a safetensors file: the header's length and the header.
///
/// Tensors follow each other in the given order without gaps; the header is padded so that they start aligned.
pub(crate) fn encode_header<'a>(
    tensors: impl IntoIterator<Item = (&'a str, Dtype, &'a [usize])>,
) -> Result<Vec<u8>, String> {
    let mut offset = 0usize;
    let infos = tensors.into_iter().map(|(name, dtype, shape)| {
        let start = offset;
        offset += shape.iter().product::<usize>() * dtype.bitsize() / 8;
        (name.to_owned(), TensorInfo { dtype, shape: shape.to_vec(), data_offsets: (start, offset) })
    });
    let format = std::iter::once(("format".to_owned(), "pt".to_owned())).collect();
    let header = Metadata::new(Some(format), infos.collect()).map_err(|error| error.to_string())?;
    let mut json = serde_json::to_vec(&header).map_err(|error| error.to_string())?;
    json.resize(json.len().next_multiple_of(8), b' ');
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.append(&mut json);
    Ok(bytes)
}
