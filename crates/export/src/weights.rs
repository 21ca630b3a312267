//! A safetensors file of the base model's tensors, with adapters merged into them, each stored in its own way.

use std::{ops::Range, path::Path};

use greentune_model_folder::{FloatType, Tensor, WeightsFile, encode_header};
use safetensors::Dtype;

use crate::{
    affine::Affine,
    content::{Content, PlannedFile, See, WrittenFile},
    error::ExportError,
    merge::merged_bytes,
    packing::{Packing, StoredRows, pack},
    peft::Adapters,
    rows::{Origin, Weight},
    staging::Output,
    verify::{Verification, ensure},
};

/// How a tensor is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    /// In the type that it has in the base model.
    Kept,
    /// As floats of another type.
    Float(FloatType),
    /// In MLX's groups; of matrices whose rows are whole groups.
    Affine(Affine),
}

/// A tensor of the export.
pub(crate) struct StoredTensor<'a> {
    tensor: Tensor<'a>,
    /// Its name in the export.
    name: String,
    storage: Storage,
}

/// A tensor of the file, of which a tensor of the export has one or more.
pub(crate) struct Part {
    pub(crate) name: String,
    dtype: Dtype,
    shape: Vec<usize>,
}

impl<'a> StoredTensor<'a> {
    /// `tensor` under the name that it has in the base model.
    pub(crate) fn new(tensor: Tensor<'a>, storage: Storage) -> Self {
        let name = tensor.name.clone();
        Self::named(name, tensor, storage)
    }

    /// `tensor` under the name `name`.
    pub(crate) fn named(name: String, tensor: Tensor<'a>, storage: Storage) -> Self {
        let same = matches!(storage, Storage::Float(float) if FloatType::of(tensor.dtype()) == Some(float));
        Self { storage: if same { Storage::Kept } else { storage }, tensor, name }
    }

    /// How many values it stands for.
    pub(crate) fn values(&self) -> u64 {
        self.tensor.shape().iter().product::<usize>() as u64
    }

    /// Its length in the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.parts().iter().map(Part::bytes).sum()
    }

    /// Bits of a value of its widest part.
    pub(crate) fn width(&self) -> usize {
        self.parts().iter().map(|part| part.dtype.bitsize()).max().unwrap_or(0)
    }

    /// The tensors of the file that it becomes, in their order there.
    pub(crate) fn parts(&self) -> Vec<Part> {
        let shape = self.tensor.shape().to_vec();
        let affine = match self.storage {
            Storage::Kept => {
                return vec![Part { name: self.name.clone(), dtype: self.tensor.dtype(), shape }];
            }
            Storage::Float(float) => {
                return vec![Part { name: self.name.clone(), dtype: dtype(float), shape }];
            }
            Storage::Affine(affine) => affine,
        };
        let [rows, columns] = [shape[0], shape[1]];
        let groups = columns / affine.block_len();
        let words = groups * affine.word_bytes() / size_of::<u32>();
        let module = self.name.strip_suffix(".weight").unwrap_or(&self.name);
        vec![
            Part { name: self.name.clone(), dtype: Dtype::U32, shape: vec![rows, words] },
            Part { name: format!("{module}.scales"), dtype: dtype(affine.float), shape: vec![rows, groups] },
            Part { name: format!("{module}.biases"), dtype: dtype(affine.float), shape: vec![rows, groups] },
        ]
    }

    /// Which bytes of a block go into which part.
    fn sections(&self) -> Vec<Range<usize>> {
        let lengths = match self.storage {
            Storage::Kept => Vec::new(),
            Storage::Float(float) => vec![float.size()],
            Storage::Affine(affine) => vec![affine.word_bytes(), affine.float.size(), affine.float.size()],
        };
        let mut end = 0;
        let section = |length| {
            let start = end;
            end += length;
            start..end
        };
        lengths.into_iter().map(section).collect()
    }

    fn type_name(&self) -> String {
        match self.storage {
            Storage::Kept => self.tensor.dtype().to_string(),
            Storage::Float(float) => dtype(float).to_string(),
            Storage::Affine(affine) => format!("{}bit", affine.bits),
        }
    }

    fn write(&self, adapters: Option<&Adapters>, output: &mut Output) -> Result<f32, ExportError> {
        match self.storage {
            Storage::Kept => self.write_kept(adapters, output),
            Storage::Float(float) => self.write_packed(float, adapters, output),
            Storage::Affine(affine) => self.write_packed(affine, adapters, output),
        }
    }

    fn write_kept(&self, adapters: Option<&Adapters>, output: &mut Output) -> Result<f32, ExportError> {
        if let Some(adapters) = adapters
            && let Some(module) = adapters.module_of_weight(&self.tensor.name)
        {
            let pair = adapters.pair(module)?;
            let (bytes, rounding) = merged_bytes(&self.tensor, &pair, adapters.config().scale())?;
            output.append(&bytes)?;
            return Ok(rounding);
        }
        self.tensor.stream(|bytes| output.append(bytes))?;
        Ok(0.0)
    }

    fn write_packed(
        &self,
        packing: impl Packing,
        adapters: Option<&Adapters>,
        output: &mut Output,
    ) -> Result<f32, ExportError> {
        let weight = self.weight();
        let (rows, sections) = (weight.rows(adapters)?, self.sections());
        // The first part follows the values; what is to come after it is short.
        let mut later = vec![Vec::new(); sections.len() - 1];
        let mut largest_rounding = 0f32;
        for range in weight.chunks() {
            let (bytes, rounding) = pack(&rows.read(range)?, weight.columns(), packing);
            if !rounding.is_finite() {
                return Err(ExportError::NotFinite { name: self.name.clone(), dtype: self.type_name() });
            }
            largest_rounding = largest_rounding.max(rounding);
            output.append(&section(&bytes, packing.block_bytes(), &sections[0]))?;
            for (kept, of_block) in later.iter_mut().zip(&sections[1..]) {
                kept.extend(section(&bytes, packing.block_bytes(), of_block));
            }
        }
        later.iter().try_for_each(|part| output.append(part))?;
        Ok(largest_rounding)
    }

    fn prove(
        &self,
        written: &WeightsFile,
        adapters: Option<&Adapters>,
        verification: &mut Verification,
    ) -> Result<(), ExportError> {
        match self.storage {
            Storage::Kept => verification.prove_kept(&written.tensor(&self.name)?, &self.tensor, adapters),
            Storage::Float(float) => self.prove_packed(float, written, adapters, verification),
            Storage::Affine(affine) => self.prove_packed(affine, written, adapters, verification),
        }
    }

    fn prove_packed(
        &self,
        packing: impl Packing,
        written: &WeightsFile,
        adapters: Option<&Adapters>,
        verification: &mut Verification,
    ) -> Result<(), ExportError> {
        let mut parts = Vec::new();
        for (part, of_block) in self.parts().into_iter().zip(self.sections()) {
            let found = written.tensor(&part.name)?;
            found.expect_shape(&part.shape)?;
            ensure(found.dtype() == part.dtype, || format!("\"{}\" has another type", part.name))?;
            parts.push((found, of_block));
        }
        let weight = self.weight();
        let rows = weight.rows(adapters)?;
        for range in weight.chunks() {
            let source = rows.read(range.clone())?;
            let first_block = range.start * weight.columns() / packing.block_len();
            let bytes = blocks(&parts, packing, first_block, source.len())?;
            // What was written is also what is computed now: a value can be changed and still be near enough.
            let same = pack(&source, weight.columns(), packing).0 == bytes;
            ensure(same, || format!("\"{}\" is not what was written", self.name))?;
            StoredRows { rows: &rows, packing, bytes: &bytes, range }.prove(&source, verification)?;
        }
        match rows.merged_pair() {
            Some(_) => verification.merged_tensors += 1,
            None => verification.untouched_tensors += 1,
        }
        Ok(())
    }

    /// Hands its values to `see`, as a reader of `written` has them.
    fn read_back(&self, written: &WeightsFile, see: See<'_>) -> Result<(), ExportError> {
        match self.storage {
            Storage::Kept => self.read_back_packed(self.tensor.float_type()?, written, see),
            Storage::Float(float) => self.read_back_packed(float, written, see),
            Storage::Affine(affine) => self.read_back_packed(affine, written, see),
        }
    }

    fn read_back_packed(
        &self,
        packing: impl Packing,
        written: &WeightsFile,
        see: See<'_>,
    ) -> Result<(), ExportError> {
        let sections = match self.storage {
            Storage::Kept => std::iter::once(0..packing.block_bytes()).collect(),
            Storage::Float(_) | Storage::Affine(_) => self.sections(),
        };
        let mut parts = Vec::new();
        for (part, of_block) in self.parts().into_iter().zip(sections) {
            parts.push((written.tensor(&part.name)?, of_block));
        }
        let weight = self.weight();
        for range in weight.chunks() {
            let mut values = vec![0.0; range.len() * weight.columns()];
            let first_block = range.start * weight.columns() / packing.block_len();
            packing.decode(&blocks(&parts, packing, first_block, values.len())?, &mut values);
            see(&values)?;
        }
        Ok(())
    }

    fn weight(&self) -> Weight<'a> {
        Weight {
            name: self.name.clone(),
            shape: self.tensor.shape().to_vec(),
            origin: Origin::Base(self.tensor.clone()),
            reordered_heads: None,
        }
    }
}

impl Part {
    fn bytes(&self) -> u64 {
        (self.shape.iter().product::<usize>() * self.dtype.bitsize() / 8) as u64
    }
}

const fn dtype(float: FloatType) -> Dtype {
    match float {
        FloatType::F32 => Dtype::F32,
        FloatType::F16 => Dtype::F16,
        FloatType::Bf16 => Dtype::BF16,
    }
}

/// The bytes `of_block` of every block of `bytes`.
fn section(bytes: &[u8], block_bytes: usize, of_block: &Range<usize>) -> Vec<u8> {
    bytes.chunks_exact(block_bytes).flat_map(|block| &block[of_block.clone()]).copied().collect()
}

/// Blocks of `values` values from the block `first` on, put together again from `parts`.
fn blocks(
    parts: &[(Tensor<'_>, Range<usize>)],
    packing: impl Packing,
    first: usize,
    values: usize,
) -> Result<Vec<u8>, ExportError> {
    let mut bytes = vec![0; packing.bytes_of(values)];
    for (tensor, of_block) in parts {
        let mut section = vec![0; values / packing.block_len() * of_block.len()];
        tensor.read_at((first * of_block.len()) as u64, &mut section)?;
        let blocks = bytes.chunks_exact_mut(packing.block_bytes());
        for (block, section) in blocks.zip(section.chunks_exact(of_block.len())) {
            block[of_block.clone()].copy_from_slice(section);
        }
    }
    Ok(bytes)
}

/// A safetensors file of tensors.
struct Weights<'a> {
    /// Everything before the first tensor.
    header: Vec<u8>,
    tensors: Vec<StoredTensor<'a>>,
    adapters: Option<&'a Adapters>,
    /// Whether the types of the tensors are counted.
    counts_types: bool,
}

/// A safetensors file `name` of `tensors`, in this order, with `adapters` merged into them if there are any; `framework` is whose format it
/// says to be in: `pt` or `mlx`.
pub(crate) fn weights_file<'a>(
    name: String,
    tensors: Vec<StoredTensor<'a>>,
    adapters: Option<&'a Adapters>,
    framework: &str,
    counts_types: bool,
) -> Result<PlannedFile<'a>, ExportError> {
    let parts: Vec<Part> = tensors.iter().flat_map(StoredTensor::parts).collect();
    let header =
        encode_header(parts.iter().map(|part| (part.name.as_str(), part.dtype, &part.shape[..])), framework)
            .map_err(|reason| ExportError::Broken { path: name.clone().into(), reason })?;
    Ok(PlannedFile { name, content: Box::new(Weights { header, tensors, adapters, counts_types }) })
}

impl Content for Weights<'_> {
    fn bytes(&self) -> Result<u64, ExportError> {
        Ok(self.header.len() as u64 + self.tensors.iter().map(StoredTensor::bytes).sum::<u64>())
    }

    fn write(&self, output: &mut Output) -> Result<f32, ExportError> {
        output.append(&self.header)?;
        self.tensors
            .iter()
            .try_fold(0f32, |largest, tensor| Ok(largest.max(tensor.write(self.adapters, output)?)))
    }

    fn prove(&self, written: &WrittenFile, verification: &mut Verification) -> Result<(), ExportError> {
        let file = WeightsFile::open(written.path)?;
        let expected: usize = self.tensors.iter().map(|tensor| tensor.parts().len()).sum();
        ensure(file.names().len() == expected, || {
            format!("{} tensors were written, not {expected}", file.names().len())
        })?;
        for tensor in &self.tensors {
            tensor.prove(&file, self.adapters, verification)?;
            if self.counts_types {
                *verification.tensor_types.entry(tensor.type_name()).or_default() += 1;
            }
        }
        Ok(())
    }

    fn base_tensors(&self) -> Vec<&Tensor<'_>> {
        self.tensors.iter().map(|stored| &stored.tensor).collect()
    }

    fn read_back(&self, written: &Path, see: See<'_>) -> Result<(), ExportError> {
        let file = WeightsFile::open(written)?;
        self.tensors.iter().try_for_each(|tensor| tensor.read_back(&file, see))
    }
}
