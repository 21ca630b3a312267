//! Weights in safetensors files, memory-mapped; f32, f16, bf16. Which file holds which tensor of a base model, its
//! folder's reader says (`greentune_model_folder`).
#![allow(unsafe_code)] // memory maps

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs::File,
    path::{Path, PathBuf},
};

use burn::tensor::backend::Backend;
use greentune_core_config::model::ModelConfig;
use greentune_model_folder::ModelWeights;
use half::{bf16, f16};
use memmap2::Mmap;
use rayon::prelude::*;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::parameters::{HostTensor, Parameters, Weights};
use crate::{
    durable,
    error::TrainError,
    ops::{Packed, Packing},
};

/// Bytes of a file that are decoded at once, and of which no page stays in memory afterwards.
const BYTES_AT_ONCE: usize = 4 << 20;

/// Loads every weight that the model needs from its folder; matrices packed, when asked for.
pub fn load<B: Backend>(
    folder: &Path,
    config: &ModelConfig,
    packing: Option<Packing>,
    device: &B::Device,
) -> Result<Weights<B>, TrainError> {
    load_packed(folder, config, |_| packing, device)
}

/// The same; matrices that the files hold in 16 bits stay as they are, which loses nothing.
pub fn load_as_stored<B: Backend>(
    folder: &Path,
    config: &ModelConfig,
    device: &B::Device,
) -> Result<Weights<B>, TrainError> {
    load_packed(folder, config, packing_of, device)
}

/// The packing that keeps values of this type as they are.
fn packing_of(dtype: Dtype) -> Option<Packing> {
    match dtype {
        Dtype::F16 => Some(Packing::F16),
        Dtype::BF16 => Some(Packing::Bf16),
        _ => None,
    }
}

fn load_packed<B: Backend>(
    folder: &Path,
    config: &ModelConfig,
    packing: impl Fn(Dtype) -> Option<Packing>,
    device: &B::Device,
) -> Result<Weights<B>, TrainError> {
    let stored = ModelWeights::open(folder)?;
    let mut files: BTreeMap<PathBuf, WeightFile> = BTreeMap::new();
    let mut weights = Weights::from(Parameters::default());
    for (name, shape) in config.tensors() {
        let tensor = stored.tensor_of(config, &name)?;
        tensor.expect_shape(&shape)?;
        let file = match files.entry(tensor.path().to_path_buf()) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(closed) => closed.insert(WeightFile::open(tensor.path())?),
        };
        match packing(file.dtype(&tensor.name)?) {
            Some(format) if shape.len() == 2 => {
                weights.packed.insert(name.clone(), file.packed(&tensor.name, format, device)?);
            }
            _ => weights.full.insert(name.clone(), file.matrix(&tensor.name)?.on(device)),
        }
    }
    Ok(weights)
}

/// One memory-mapped safetensors file.
#[derive(Debug)]
pub struct WeightFile {
    path: PathBuf,
    map: Mmap,
}

impl WeightFile {
    /// Maps the file and checks its header against its length.
    pub fn open(path: &Path) -> Result<Self, TrainError> {
        let file = File::open(path).map_err(|source| {
            if source.kind() == std::io::ErrorKind::NotFound {
                TrainError::Model {
                    code: "model.shard_missing",
                    path: path.to_path_buf(),
                    message: String::from("the weight file does not exist"),
                    hint: "Complete the download of the base model.",
                }
            } else {
                TrainError::Io { path: path.to_path_buf(), source }
            }
        })?;
        // SAFETY: the file is opened for reading; should another process truncate it while it is mapped, the
        // access faults, as with every memory-mapped model.
        let map = unsafe { Mmap::map(&file) }.map_err(TrainError::io(path))?;
        let file = Self { path: path.to_path_buf(), map };
        file.tensors()?;
        Ok(file)
    }

    /// Names of the tensors in the file.
    pub fn names(&self) -> Vec<String> {
        self.tensors().map(|all| all.names().into_iter().map(str::to_owned).collect()).unwrap_or_default()
    }

    /// The tensor `name` as f32; a vector becomes one row.
    pub fn matrix(&self, name: &str) -> Result<HostTensor, TrainError> {
        let all = self.tensors()?;
        let view = self.view(&all, name)?;
        let shape = match view.shape() {
            [n] => [1, *n],
            [rows, columns] => [*rows, *columns],
            other => return Err(self.broken(format!("tensor `{name}` has {} dimensions", other.len()))),
        };
        let mut values = Vec::with_capacity(shape[0] * shape[1]);
        self.decode(&view, name, shape[1], |part| values.extend_from_slice(&part))?;
        Ok(HostTensor { shape, values })
    }

    /// The values of the tensor `name` as f32, in the order of the file.
    pub fn values(&self, name: &str) -> Result<Vec<f32>, TrainError> {
        let all = self.tensors()?;
        let view = self.view(&all, name)?;
        let mut values = Vec::with_capacity(view.shape().iter().product());
        self.decode(&view, name, 1, |part| values.extend_from_slice(&part))?;
        Ok(values)
    }

    /// The matrix `name`, packed a few rows at a time.
    fn packed<B: Backend>(
        &self,
        name: &str,
        format: Packing,
        device: &B::Device,
    ) -> Result<Packed<B>, TrainError> {
        let all = self.tensors()?;
        let view = self.view(&all, name)?;
        let [rows, columns] = *view.shape() else {
            return Err(self.broken(format!("tensor `{name}` is no matrix")));
        };
        if packing_of(view.dtype()) == Some(format) && columns.is_multiple_of(2) {
            let words = self.words(&view);
            return Ok(Packed::new(format, [rows, columns], words, Vec::new(), device));
        }
        let mut words = Vec::with_capacity(rows * format.words(columns));
        let mut scales = Vec::with_capacity(rows * format.scales(columns));
        self.decode(&view, name, columns, |values| {
            let packed: Vec<(Vec<i32>, Vec<f32>)> = values
                .par_chunks(columns)
                .map(|row| {
                    let (mut words, mut scales) = (Vec::new(), Vec::new());
                    format.pack(row, &mut words, &mut scales);
                    (words, scales)
                })
                .collect();
            for (row_words, row_scales) in packed {
                words.extend(row_words);
                scales.extend(row_scales);
            }
        })?;
        Ok(Packed::new(format, [rows, columns], words, scales, device))
    }

    /// The bytes of a tensor as 32-bit words. What was read does not stay in memory.
    fn words(&self, view: &TensorView) -> Vec<i32> {
        let mut words = Vec::with_capacity(view.data().len() / 4);
        for bytes in view.data().chunks(BYTES_AT_ONCE) {
            words.extend(bytes.as_chunks().0.iter().map(|word| i32::from_le_bytes(*word)));
            #[cfg(unix)]
            self.forget(bytes);
        }
        words
    }

    /// Hands the values of a tensor to `each`, whole rows at a time. What was read does not stay in memory.
    fn decode(
        &self,
        view: &TensorView,
        name: &str,
        columns: usize,
        mut each: impl FnMut(Vec<f32>),
    ) -> Result<(), TrainError> {
        let values: fn(&[u8]) -> Vec<f32> = match view.dtype() {
            Dtype::F32 => |bytes| decoded(bytes, f32::from_le_bytes),
            Dtype::F16 => |bytes| decoded(bytes, |bytes| f16::from_le_bytes(bytes).to_f32()),
            Dtype::BF16 => |bytes| decoded(bytes, |bytes| bf16::from_le_bytes(bytes).to_f32()),
            other => {
                return Err(self.broken(format!("tensor `{name}` is {other:?}; supported: F32, F16, BF16")));
            }
        };
        let row = (columns * view.dtype().bitsize() / 8).max(1);
        for bytes in view.data().chunks((BYTES_AT_ONCE / row).max(1) * row) {
            each(values(bytes));
            #[cfg(unix)]
            self.forget(bytes);
        }
        Ok(())
    }

    /// Gives the pages of a part of the file back to the system; they are read again when somebody asks.
    #[cfg(unix)]
    fn forget(&self, part: &[u8]) {
        let offset = part.as_ptr() as usize - self.map.as_ptr() as usize;
        // SAFETY: the map is private, read-only and backed by a file: discarded pages come back with the same bytes.
        let _ = unsafe {
            self.map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, offset, part.len())
        };
    }

    /// The shape of the tensor `name`.
    pub fn dimensions(&self, name: &str) -> Result<Vec<usize>, TrainError> {
        Ok(self.view(&self.tensors()?, name)?.shape().to_vec())
    }

    fn dtype(&self, name: &str) -> Result<Dtype, TrainError> {
        Ok(self.view(&self.tensors()?, name)?.dtype())
    }

    fn tensors(&self) -> Result<SafeTensors<'_>, TrainError> {
        SafeTensors::deserialize(&self.map).map_err(|error| {
            self.broken(format!(
                "the file is truncated or not safetensors ({} bytes): {error}",
                self.map.len()
            ))
        })
    }

    fn view<'a>(&self, all: &SafeTensors<'a>, name: &str) -> Result<TensorView<'a>, TrainError> {
        all.tensor(name).map_err(|_| self.broken(format!("tensor `{name}` is not in the file")))
    }

    fn broken(&self, message: String) -> TrainError {
        TrainError::Model {
            code: "model.weights_invalid",
            path: self.path.clone(),
            message,
            hint: "Download or export the weights again; config.json and weights must belong together.",
        }
    }
}

fn decoded<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f32 + Sync) -> Vec<f32> {
    bytes.as_chunks::<N>().0.par_iter().map(|chunk| value(*chunk)).collect()
}

/// Writes f32 tensors (name, shape, values) as one safetensors file, atomically, with PEFT's and transformers'
/// `format: pt`.
pub fn write_safetensors<'a>(
    path: &Path,
    tensors: impl Iterator<Item = (String, &'a [usize], &'a [f32])>,
) -> Result<(), TrainError> {
    let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .map(|(name, shape, values)| {
            let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            (name, shape.to_vec(), bytes)
        })
        .collect();
    let views: Vec<(&str, TensorView)> = bytes
        .iter()
        .filter_map(|(name, shape, bytes)| {
            Some((name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).ok()?))
        })
        .collect();
    let metadata = [(String::from("format"), String::from("pt"))].into();
    let file = safetensors::serialize(views, Some(metadata)).map_err(|error| TrainError::Io {
        path: path.to_path_buf(),
        source: std::io::Error::other(error.to_string()),
    })?;
    durable::write(path, &file)
}

#[cfg(test)]
mod tests {
    use burn::backend::{Flex, flex::FlexDevice};

    use super::*;
    use crate::ops::Weight;

    #[test]
    fn what_is_stored_in_16_bits_stays_so_and_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let halves = |bits: fn(f32) -> u16| -> Vec<u8> {
            (0..12).flat_map(|i| bits(i as f32 * 0.37 - 2.0).to_le_bytes()).collect()
        };
        let [f16s, bf16s] = [halves(|v| f16::from_f32(v).to_bits()), halves(|v| bf16::from_f32(v).to_bits())];
        let singles: Vec<u8> = (0..12).flat_map(|i| (i as f32 * 0.37).to_le_bytes()).collect();
        let tensors = [
            ("odd", Dtype::BF16, vec![4, 3], &bf16s),
            ("f16", Dtype::F16, vec![3, 4], &f16s),
            ("bf16", Dtype::BF16, vec![3, 4], &bf16s),
            ("f32", Dtype::F32, vec![3, 4], &singles),
        ];
        let views =
            tensors.map(|(name, dtype, shape, bytes)| (name, TensorView::new(dtype, shape, bytes).unwrap()));
        std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
        let file = WeightFile::open(&path).unwrap();
        for name in ["odd", "f16", "bf16"] {
            let format = packing_of(file.dtype(name).unwrap()).unwrap();
            let packed = Weight::Packed(file.packed::<Flex>(name, format, &FlexDevice).unwrap());
            let stored = file.matrix(name).unwrap();
            assert_eq!(packed.full().dims(), stored.shape);
            let values: Vec<f32> = packed.full().into_data().iter::<f32>().collect();
            assert_eq!(values, stored.values, "{name}");
        }
        assert_eq!(packing_of(file.dtype("f32").unwrap()), None);
    }
}
