//! Reading safetensors by offset: a header, then one tensor at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, ErrorKind, Read},
    path::{Component, Path, PathBuf},
};

use greentune_core_config::model::{ModelConfig, TensorShape};
use safetensors::{
    Dtype,
    tensor::{Metadata, TensorInfo},
};
use serde::Deserialize;

use crate::{error::ModelFolderError, float::FloatType};

/// Single weights of a model folder.
pub const SINGLE_FILE: &str = "model.safetensors";
/// Index of sharded weights in a model folder.
pub const INDEX_FILE: &str = "model.safetensors.index.json";
/// Bytes that are copied or compared at once.
const CHUNK_BYTES: u64 = 8 << 20;
/// The limit of the safetensors library; a longer header is garbage read as a length.
const HEADER_LIMIT_BYTES: u64 = 100_000_000;
/// Tensors of a file, or of all files behind an index, at most. The largest models in use have about 90 000.
const MOST_TENSORS: usize = 1 << 17;
/// Bytes of a JSON file at most.
const JSON_LIMIT_BYTES: u64 = 64 << 20;

/// The weights of a model folder: one file, or shards under an index.
#[derive(Debug)]
pub struct ModelWeights {
    folder: PathBuf,
    files: Vec<WeightsFile>,
    index: Option<PathBuf>,
    ignored_index: Option<PathBuf>,
    file_of: BTreeMap<String, usize>,
}

const HEAD: &str = "lm_head.weight";
const EMBEDDING: &str = "model.embed_tokens.weight";

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl ModelWeights {
    /// Opens the weights in `folder` and checks that every file is complete.
    pub fn open(folder: &Path) -> Result<Self, ModelFolderError> {
        if !folder.is_dir() {
            return Err(ModelFolderError::FolderMissing { path: folder.into() });
        }
        let (single, index) = (folder.join(SINGLE_FILE), folder.join(INDEX_FILE));
        if single.is_file() {
            let file = WeightsFile::open(&single)?;
            let file_of = file.names.iter().map(|name| (name.clone(), 0)).collect();
            let ignored_index = Some(index).filter(|index| index.is_file());
            Ok(Self { folder: folder.into(), files: vec![file], index: None, ignored_index, file_of })
        } else if index.is_file() {
            Self::open_sharded(folder, index)
        } else {
            Err(ModelFolderError::NoWeights { folder: folder.into() })
        }
    }

    fn open_sharded(folder: &Path, index: PathBuf) -> Result<Self, ModelFolderError> {
        let Index { weight_map } = read_json(&index).map_err(|error| match error {
            ModelFolderError::Broken { path: index, reason } => ModelFolderError::Index { index, reason },
            error => error,
        })?;
        if weight_map.is_empty() {
            let reason = String::from("its weight_map names no tensor");
            return Err(ModelFolderError::Index { index, reason });
        }
        if weight_map.len() > MOST_TENSORS {
            return Err(ModelFolderError::Index { index, reason: too_many_tensors() });
        }
        let shards: BTreeSet<&String> = weight_map.values().collect();
        let files =
            shards.iter().map(|shard| open_shard(folder, &index, shard)).collect::<Result<Vec<_>, _>>()?;
        let positions: BTreeMap<&String, usize> = shards.into_iter().zip(0..).collect();
        let mut file_of = BTreeMap::new();
        for (name, shard) in &weight_map {
            // The shards were collected from this very map.
            let position = positions[shard];
            files[position].tensor(name)?;
            file_of.insert(name.clone(), position);
        }
        // transformers reads all that is in the shards, whatever the index says of it.
        for (position, file) in files.iter().enumerate() {
            for name in file.names() {
                let first = *file_of.entry(name.clone()).or_insert(position);
                if first != position && !file.tensor(name)?.is_identical_to(&files[first].tensor(name)?)? {
                    let (one, other) = (files[first].name(), file.name());
                    let reason = format!("\"{name}\" is in {one} and in {other}, with different values");
                    return Err(ModelFolderError::Index { index, reason });
                }
            }
        }
        Ok(Self { folder: folder.into(), files, index: Some(index), ignored_index: None, file_of })
    }

    /// The index that lies beside the single file and is not read.
    pub fn ignored_index(&self) -> Option<&Path> {
        self.ignored_index.as_deref()
    }

    /// The files that the weights are read from: the index, if they are behind one, and the safetensors.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.index().into_iter().chain(self.files.iter().map(WeightsFile::path))
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.file_of.keys().map(String::as_str)
    }

    /// Names and shapes of all tensors.
    pub fn shapes(&self) -> Result<Vec<TensorShape>, ModelFolderError> {
        self.names().map(|name| Ok((name.to_owned(), self.tensor(name)?.shape().to_vec()))).collect()
    }

    /// The tensor that the model `config` means by `name`: where the head is the embedding and only the head is stored,
    /// that is the embedding, as in transformers.
    pub fn tensor_of(&self, config: &ModelConfig, name: &str) -> Result<Tensor<'_>, ModelFolderError> {
        let is_stored_as_head = name == EMBEDDING && config.tie_word_embeddings && !self.contains(EMBEDDING);
        self.tensor(if is_stored_as_head && self.contains(HEAD) { HEAD } else { name })
    }

    /// Whether a head that is said to be the embedding is: no other values are stored for it.
    pub fn head_is_embedding(&self) -> Result<bool, ModelFolderError> {
        if !(self.contains(HEAD) && self.contains(EMBEDDING)) {
            return Ok(true);
        }
        self.tensor(HEAD)?.has_the_values_of(&self.tensor(EMBEDDING)?)
    }

    /// The index file, for sharded weights.
    pub fn index(&self) -> Option<&Path> {
        self.index.as_deref()
    }

    /// Whether there is a tensor `name`.
    pub fn contains(&self, name: &str) -> bool {
        self.file_of.contains_key(name)
    }

    /// The tensor `name`.
    pub fn tensor(&self, name: &str) -> Result<Tensor<'_>, ModelFolderError> {
        let position = self.file_of.get(name).ok_or_else(|| ModelFolderError::TensorMissing {
            path: self.folder.clone(),
            name: name.into(),
        })?;
        self.files[*position].tensor(name)
    }

    /// Every file with the tensors that are read from it, in the order of their offsets.
    pub fn files(&self) -> Result<Vec<(String, Vec<Tensor<'_>>)>, ModelFolderError> {
        let listed = |(position, file): (usize, &'_ WeightsFile)| {
            let names = file.names.iter().filter(|name| self.file_of.get(*name) == Some(&position));
            let tensors = names.map(|name| self.tensor(name)).collect::<Result<Vec<_>, _>>()?;
            Ok((file.name(), tensors))
        };
        self.files.iter().enumerate().map(listed).collect()
    }
}

fn too_many_tensors() -> String {
    format!("it names more than {MOST_TENSORS} tensors")
}

fn open_shard(folder: &Path, index: &Path, shard: &str) -> Result<WeightsFile, ModelFolderError> {
    let mut components = Path::new(shard).components();
    let alone = matches!((components.next(), components.next()), (Some(Component::Normal(_)), None));
    if !alone || shard.contains('\\') {
        let reason = format!("\"{shard}\" is not the name of a file beside it");
        return Err(ModelFolderError::Index { index: index.into(), reason });
    }
    WeightsFile::open(&folder.join(shard)).map_err(|error| match error {
        ModelFolderError::FileMissing { .. } => {
            ModelFolderError::ShardMissing { index: index.into(), shard: shard.to_owned() }
        }
        error => error,
    })
}

/// One safetensors file, open for reading.
#[derive(Debug)]
pub struct WeightsFile {
    path: PathBuf,
    file: File,
    header: Metadata,
    names: Vec<String>,
    data_start: u64,
}

impl WeightsFile {
    /// Opens `path`, reads its header and checks that the file is as long as the header says.
    pub fn open(path: &Path) -> Result<Self, ModelFolderError> {
        let file = File::open(path).map_err(|source| match source.kind() {
            ErrorKind::NotFound => ModelFolderError::FileMissing { path: path.into() },
            _ => ModelFolderError::Io { action: "open", path: path.into(), source },
        })?;
        let found_bytes = file.metadata().map_err(ModelFolderError::io("read", path))?.len();
        let truncated =
            |expected_bytes| ModelFolderError::Truncated { path: path.into(), expected_bytes, found_bytes };
        let broken = |reason: String| ModelFolderError::Broken { path: path.into(), reason };
        if found_bytes < 8 {
            return Err(truncated(8));
        }
        let mut length = [0; 8];
        read_exact_at(&file, &mut length, 0).map_err(ModelFolderError::io("read", path))?;
        let length = u64::from_le_bytes(length);
        if length > HEADER_LIMIT_BYTES {
            return Err(broken(format!("its header would be {length} bytes long")));
        }
        if found_bytes < 8 + length {
            return Err(truncated(8 + length));
        }
        let mut header = vec![0; length as usize];
        read_exact_at(&file, &mut header, 8).map_err(ModelFolderError::io("read", path))?;
        // One brace opens the header, one each tensor.
        if header.split(|byte| *byte == b'{').count() > MOST_TENSORS + 3 {
            return Err(broken(too_many_tensors()));
        }
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
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of its tensors, in the order of their offsets.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The tensor `name`.
    pub fn tensor(&self, name: &str) -> Result<Tensor<'_>, ModelFolderError> {
        match self.header.info(name) {
            Some(info) => Ok(Tensor { name: name.to_owned(), file: self, info }),
            None => Err(ModelFolderError::TensorMissing { path: self.path.clone(), name: name.into() }),
        }
    }

    fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// A tensor in a file; nothing of it is in memory.
#[derive(Clone, Debug)]
pub struct Tensor<'a> {
    /// Its name.
    pub name: String,
    file: &'a WeightsFile,
    info: &'a TensorInfo,
}

impl Tensor<'_> {
    /// Type of its elements.
    pub fn dtype(&self) -> Dtype {
        self.info.dtype
    }

    /// Its shape, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.info.shape
    }

    /// The file that it is in.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// Its length in bytes.
    pub fn byte_len(&self) -> u64 {
        (self.info.data_offsets.1 - self.info.data_offsets.0) as u64
    }

    /// Its float type; an error for any other type.
    pub fn float_type(&self) -> Result<FloatType, ModelFolderError> {
        FloatType::of(self.dtype()).ok_or_else(|| ModelFolderError::UnsupportedDtype {
            path: self.path().into(),
            name: self.name.clone(),
            dtype: self.dtype().to_string(),
        })
    }

    /// An error unless its shape is `expected`.
    pub fn expect_shape(&self, expected: &[usize]) -> Result<(), ModelFolderError> {
        if self.shape() == expected {
            return Ok(());
        }
        Err(ModelFolderError::WrongShape {
            path: self.path().into(),
            name: self.name.clone(),
            found: self.shape().to_vec(),
            expected: expected.to_vec(),
        })
    }

    /// Rows and columns; an error unless it is a matrix.
    pub fn matrix_shape(&self) -> Result<[usize; 2], ModelFolderError> {
        <[usize; 2]>::try_from(self.shape()).map_err(|_| ModelFolderError::Broken {
            path: self.path().into(),
            reason: format!("\"{}\" has the shape {:?} where a matrix is needed", self.name, self.shape()),
        })
    }

    /// All its bytes.
    pub fn read(&self) -> Result<Vec<u8>, ModelFolderError> {
        let mut bytes = vec![0; self.byte_len() as usize];
        self.read_at(0, &mut bytes)?;
        Ok(bytes)
    }

    /// All its elements as f32.
    pub fn read_f32(&self) -> Result<Vec<f32>, ModelFolderError> {
        let float = self.float_type()?;
        let bytes = self.read()?;
        let mut values = vec![0.0; bytes.len() / float.size()];
        float.decode(&bytes, &mut values);
        Ok(values)
    }

    /// Fills `bytes` from `offset` within the tensor.
    pub fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<(), ModelFolderError> {
        let start = self.file.data_start + self.info.data_offsets.0 as u64 + offset;
        read_exact_at(&self.file.file, bytes, start).map_err(ModelFolderError::io("read", self.path()))
    }

    /// Hands its bytes to `sink`, a few megabytes at a time.
    pub fn stream<E: From<ModelFolderError>>(
        &self,
        mut sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut buffer = vec![0; self.byte_len().min(CHUNK_BYTES) as usize];
        for offset in (0..self.byte_len()).step_by(CHUNK_BYTES as usize) {
            let bytes = &mut buffer[..(self.byte_len() - offset).min(CHUNK_BYTES) as usize];
            self.read_at(offset, bytes)?;
            sink(bytes)?;
        }
        Ok(())
    }

    /// Whether type, shape and every byte equal those of `other`.
    pub fn is_identical_to(&self, other: &Tensor<'_>) -> Result<bool, ModelFolderError> {
        if self.dtype() != other.dtype() || self.shape() != other.shape() {
            return Ok(false);
        }
        let (mut offset, mut same) = (0, true);
        let mut theirs = Vec::new();
        self.stream::<ModelFolderError>(|ours| {
            theirs.resize(ours.len(), 0);
            other.read_at(offset, &mut theirs)?;
            same &= ours == theirs;
            offset += ours.len() as u64;
            Ok(())
        })?;
        Ok(same)
    }

    /// Whether shape and every value equal those of `other`, whatever types they are stored in.
    pub fn has_the_values_of(&self, other: &Tensor<'_>) -> Result<bool, ModelFolderError> {
        if self.dtype() == other.dtype() || self.shape() != other.shape() {
            return self.is_identical_to(other);
        }
        let (ours, theirs) = (self.read_f32()?, other.read_f32()?);
        Ok(ours.iter().zip(&theirs).all(|(ours, theirs)| ours.to_bits() == theirs.to_bits()))
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
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, ModelFolderError> {
    serde_json::from_slice(&read_limited(path)?)
        .map_err(|error| ModelFolderError::Broken { path: path.into(), reason: error.to_string() })
}

/// The bytes of a JSON file, of which a device or a log would have no end.
pub(crate) fn read_limited(path: &Path) -> Result<Vec<u8>, ModelFolderError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(JSON_LIMIT_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|source| match source.kind() {
        ErrorKind::NotFound => ModelFolderError::FileMissing { path: path.into() },
        _ => ModelFolderError::Io { action: "read", path: path.into(), source },
    })?;
    if bytes.len() as u64 > JSON_LIMIT_BYTES {
        let reason = format!("it has more than {} MiB", JSON_LIMIT_BYTES >> 20);
        return Err(ModelFolderError::Broken { path: path.into(), reason });
    }
    Ok(bytes)
}

/// The bytes before the tensors of a safetensors file: the header's length and the header.
///
/// Tensors follow each other in the given order without gaps; the header is padded so that they start aligned. Readers
/// ask whose `framework` wrote it: `pt` or `mlx`.
pub fn encode_header<'a>(
    tensors: impl IntoIterator<Item = (&'a str, Dtype, &'a [usize])>,
    framework: &str,
) -> Result<Vec<u8>, String> {
    let mut offset = 0usize;
    let infos = tensors.into_iter().map(|(name, dtype, shape)| {
        let start = offset;
        offset += shape.iter().product::<usize>() * dtype.bitsize() / 8;
        (name.to_owned(), TensorInfo { dtype, shape: shape.to_vec(), data_offsets: (start, offset) })
    });
    let format = std::iter::once(("format".to_owned(), framework.to_owned())).collect();
    let header = Metadata::new(Some(format), infos.collect()).map_err(|error| error.to_string())?;
    let mut json = serde_json::to_vec(&header).map_err(|error| error.to_string())?;
    json.resize(json.len().next_multiple_of(8), b' ');
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.append(&mut json);
    Ok(bytes)
}
