//! Reading an export back and proving it against the inputs.

use std::{collections::BTreeMap, path::Path};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    error::ExportError,
    peft::{Adapters, LoraPair},
};
use greentune_model_folder::{FloatType, Tensor, WeightsFile};

/// Rows of each merged tensor that are computed a second time: the first, the last and some evenly between.
const SAMPLED_ROWS: usize = 16;

/// What was proven after reading the export back. An export that fails a proof is an error, not a report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verification {
    /// Tensors with an adapter merged into them, whose sampled rows agree with a second computation in f64.
    pub merged_tensors: u64,
    /// Rows that were computed a second time, over all merged tensors.
    pub sampled_rows: u64,
    /// Largest absolute difference between a sampled value as stored and as computed in f64. It holds the rounding
    /// to the stored type.
    pub largest_absolute_difference: f64,
    /// Largest absolute change by rounding to the stored type, over every value that was merged; 0 for F32.
    pub largest_rounding: f64,
    /// Tensors without an adapter: equal to the base model's byte for byte, or packed from its values.
    pub untouched_tensors: u64,
    /// Adapter tensors, equal to the trained ones.
    pub adapter_tensors: u64,
    /// Files that were copied, equal to their sources in SHA-256.
    pub copied_files: u64,
    /// How many tensors have which type, where a type was asked for; a row that is not a whole number of blocks gets
    /// another one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub tensor_types: BTreeMap<String, u64>,
    /// Root mean square change by packing values, as a share of the values' root mean square.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub relative_rounding: Option<f64>,
    /// What [`Self::relative_rounding`] follows from.
    #[serde(skip)]
    pub(crate) rounding: RelativeError,
}

impl Verification {
    /// Proves that the tensors in `path` are those of `adapters`, and counts them.
    pub(crate) fn prove_adapters(&mut self, path: &Path, adapters: &Adapters) -> Result<(), ExportError> {
        let (written, trained) = (WeightsFile::open(path)?, adapters.file());
        ensure(written.names() == trained.names(), || "other adapter tensors were written".into())?;
        for name in trained.names() {
            let same = written.tensor(name)?.is_identical_to(&trained.tensor(name)?)?;
            ensure(same, || format!("\"{name}\" differs from the trained adapter"))?;
            self.adapter_tensors += 1;
        }
        Ok(())
    }

    /// Proves that `stored` is `base` with the adapter of its module merged into it, if it has one, and counts it.
    pub(crate) fn prove_kept(
        &mut self,
        stored: &Tensor,
        base: &Tensor,
        adapters: Option<&Adapters>,
    ) -> Result<(), ExportError> {
        if let Some(adapters) = adapters
            && let Some(module) = adapters.module_of_weight(&base.name)
        {
            stored.expect_shape(base.shape())?;
            ensure(stored.dtype() == base.dtype(), || format!("\"{}\" has another type", base.name))?;
            return self.prove_merged(stored, base, &adapters.pair(module)?, adapters.config().scale());
        }
        let same = stored.is_identical_to(base)?;
        ensure(same, || format!("\"{}\" differs from the base model", base.name))?;
        self.untouched_tensors += 1;
        Ok(())
    }

    /// Adds by how much values were changed when they were packed.
    pub(crate) fn add_rounding(&mut self, error: RelativeError) {
        self.rounding.add(error);
        self.relative_rounding = Some(self.rounding.root());
    }

    fn prove_merged(
        &mut self,
        stored: &Tensor,
        base: &Tensor,
        pair: &LoraPair,
        scale: f64,
    ) -> Result<(), ExportError> {
        for row in sampled_rows(pair.out_features) {
            let (found, weights) = (read_row(stored, row, pair)?, read_row(base, row, pair)?);
            let exact = Exact::row(&weights, pair, scale, row);
            for (column, (found, exact)) in found.into_iter().zip(exact).enumerate() {
                let difference = (f64::from(found) - exact.value).abs();
                ensure(difference <= exact.tolerance(base.float_type()?, pair.rank), || {
                    let name = &base.name;
                    format!("\"{name}\" [{row}, {column}] is {found} and should be {}", exact.value)
                })?;
                self.largest_absolute_difference = self.largest_absolute_difference.max(difference);
            }
            self.sampled_rows += 1;
        }
        self.merged_tensors += 1;
        Ok(())
    }
}

/// Squares of errors and of values, summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct RelativeError {
    pub(crate) errors: f64,
    pub(crate) values: f64,
}

impl RelativeError {
    pub(crate) fn add(&mut self, other: Self) {
        self.errors += other.errors;
        self.values += other.values;
    }

    /// Root of the mean squared error, as a share of the root of the mean square; 0 where all values are.
    fn root(self) -> f64 {
        if self.values == 0.0 { 0.0 } else { (self.errors / self.values).sqrt() }
    }
}

/// A merged value in f64, and the sum of the magnitudes that it was made of.
pub(crate) struct Exact {
    pub(crate) value: f64,
    magnitude: f64,
}

impl Exact {
    fn of(weight: f32, pair: &LoraPair, scale: f64, row: usize, column: usize) -> Self {
        let products = (0..pair.rank).map(|k| {
            f64::from(pair.b[row * pair.rank + k]) * f64::from(pair.a[k * pair.in_features + column])
        });
        let (sum, magnitude) =
            products.fold((0.0, 0.0), |(sum, magnitude), p| (sum + p, magnitude + p.abs()));
        let weight = f64::from(weight);
        Self { value: weight + scale * sum, magnitude: weight.abs() + scale.abs() * magnitude }
    }

    /// A whole row; with DoRA scaled to its magnitude, whose norm is as uncertain as what it was summed from.
    pub(crate) fn row(weights: &[f32], pair: &LoraPair, scale: f64, row: usize) -> Vec<Self> {
        let columns = weights.iter().enumerate();
        let mut all: Vec<Self> =
            columns.map(|(column, weight)| Self::of(*weight, pair, scale, row, column)).collect();
        if let Some(magnitude) = &pair.magnitude {
            let norm_of = |part: fn(&Self) -> f64| all.iter().map(part).map(|x| x * x).sum::<f64>().sqrt();
            let (norm, uncertain) = (norm_of(|exact| exact.value), norm_of(|exact| exact.magnitude));
            let factor = f64::from(magnitude[row]) / norm;
            for exact in &mut all {
                exact.value *= factor;
                exact.magnitude = exact.magnitude * factor.abs() + exact.value.abs() * uncertain / norm;
            }
        }
        all
    }

    /// How far a correct merge may be off: `rank` products and sums, the scale and the addition in f32, each within
    /// f32's unit roundoff of the magnitudes (Higham, Accuracy and Stability of Numerical Algorithms, §3.1), then one
    /// rounding to the stored type.
    pub(crate) fn tolerance(&self, stored: FloatType, rank: usize) -> f64 {
        let f32_roundoff = FloatType::F32.unit_roundoff();
        let computed = 2.0 * (rank + 4) as f64 * f32_roundoff * self.magnitude + f64::from(f32::MIN_POSITIVE);
        computed + stored.unit_roundoff() * (self.value.abs() + computed) + stored.subnormal_roundoff()
    }
}

pub(crate) fn read_row(tensor: &Tensor, row: usize, pair: &LoraPair) -> Result<Vec<f32>, ExportError> {
    let float = tensor.float_type()?;
    let mut bytes = vec![0; pair.in_features * float.size()];
    tensor.read_at((row * bytes.len()) as u64, &mut bytes)?;
    let mut values = vec![0.0; pair.in_features];
    float.decode(&bytes, &mut values);
    Ok(values)
}

pub(crate) fn sampled_rows(rows: usize) -> impl Iterator<Item = usize> {
    let samples = rows.min(SAMPLED_ROWS);
    (0..samples).map(move |sample| if samples == 1 { 0 } else { sample * (rows - 1) / (samples - 1) })
}

/// An error with the `reason` unless the proof `holds`.
pub(crate) fn ensure(holds: bool, reason: impl FnOnce() -> String) -> Result<(), ExportError> {
    if holds { Ok(()) } else { Err(ExportError::VerificationFailed { reason: reason() }) }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use greentune_model_folder::{ModelWeights, encode_header};
    use safetensors::Dtype;
    use tempfile::TempDir;

    use super::*;
    use crate::{
        content::WrittenFile,
        export::export,
        format::Source,
        peft::{self, AdapterConfig},
        request::{ExportFormat, ExportRequest},
        staging::sha256_of,
    };

    #[test]
    fn samples_first_and_last_row_without_repeating_any() {
        for rows in [1, 2, 15, 16, 17, 1000] {
            let mut sampled: Vec<usize> = sampled_rows(rows).collect();
            assert_eq!(sampled.first(), Some(&0));
            assert_eq!(sampled.last(), Some(&(rows - 1)));
            sampled.dedup();
            assert_eq!(sampled.len(), rows.min(SAMPLED_ROWS));
        }
        assert_eq!(sampled_rows(0).count(), 0);
    }

    /// An export of a model of one adapted matrix `q` [2, 3] and one untouched vector `n` [2].
    fn exported(dir: &TempDir, merge: bool) -> ExportRequest {
        let path = |name: &str| -> PathBuf { dir.path().join(name) };
        fs::create_dir(path("base")).unwrap();
        fs::write(path("base/config.json"), "{\"tie_word_embeddings\": false}").unwrap();
        let shapes: [(&str, &[usize]); 2] = [("q.weight", &[2, 3]), ("n.weight", &[2])];
        let header = encode_header(shapes.map(|(name, shape)| (name, Dtype::F32, shape)), "pt").unwrap();
        let values = [1f32, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0].map(f32::to_le_bytes);
        fs::write(path("base/model.safetensors"), [header, values.concat()].concat()).unwrap();
        let pair = LoraPair {
            module: "q".into(),
            rank: 1,
            in_features: 3,
            out_features: 2,
            a: vec![1.0, -1.0, 0.5],
            b: vec![0.25, 0.75],
            magnitude: None,
        };
        peft::write(&path("adapters"), &AdapterConfig::lora(1, 2.0, 0.0, vec!["q".into()]), &[pair]).unwrap();
        let request = ExportRequest {
            base_model: path("base"),
            base_model_name: None,
            adapters: path("adapters"),
            format: ExportFormat::Huggingface,
            destination: path("export"),
            replace: false,
            merge,
            quantization: None,
            max_shard_size: None,
            readable_copy: false,
            model_card: Some("card".into()),
        };
        export(&request).unwrap();
        request
    }

    /// What the proof says after the byte `from_end` before the end of `name` was flipped in the export.
    fn proof_of_damaged(merge: bool, name: &str, from_end: usize) -> Result<Verification, ExportError> {
        let dir = tempfile::tempdir().unwrap();
        let request = exported(&dir, merge);
        let damaged = request.destination.join(name);
        let mut bytes = fs::read(&damaged).unwrap();
        let position = bytes.len() - from_end;
        bytes[position] ^= 1;
        fs::write(&damaged, bytes).unwrap();
        let (base, adapters) = (ModelWeights::open(&request.base_model)?, Adapters::open(&request.adapters)?);
        let source = Source { request: &request, base: &base, adapters: &adapters };
        let plan = request.format.writer().plan(source)?;
        let mut verification = Verification::default();
        for file in &plan {
            let path = request.destination.join(&file.name);
            let written = WrittenFile { name: &file.name, path: &path, sha256: &sha256_of(&path)?.0 };
            file.content.prove(&written, &mut verification)?;
        }
        Ok(verification)
    }

    #[test]
    fn damage_is_found_wherever_it_is() {
        for (merge, name, from_end, culprit) in [
            (true, "model.safetensors", 1, "\"n.weight\""),
            // A bit in the middle of the fraction of q[1, 2], the last value before the 8 bytes of n.
            (true, "model.safetensors", 2 * 4 + 2, "\"q.weight\" [1, 2]"),
            (true, "config.json", 3, "config.json"),
            (true, "README.md", 1, "README.md"),
            (false, "adapter_model.safetensors", 1, "adapter_model.safetensors"),
            (false, "adapter_config.json", 1, "adapter_config.json"),
        ] {
            match proof_of_damaged(merge, name, from_end) {
                Err(ExportError::VerificationFailed { reason }) => {
                    assert!(reason.contains(culprit), "{reason}");
                }
                other => panic!("{name}: {other:?}"),
            }
        }
    }

    #[test]
    fn tolerance_is_as_narrow_as_the_stored_type() {
        // A few dozen units of roundoff in F32, where computing dominates; one unit of the value in BF16, where rounding does.
        let exact = Exact { value: 6.0, magnitude: 7.0 };
        assert!(exact.tolerance(FloatType::F32, 1) < 2f64.powi(-17));
        assert!(exact.tolerance(FloatType::Bf16, 1) < 6.0 * 2f64.powi(-7));
    }
}
