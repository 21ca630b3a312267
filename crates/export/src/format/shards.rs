//! Which tensors go into which file, and the index that says so.

use std::collections::BTreeMap;

use greentune_model_folder::{INDEX_FILE, SINGLE_FILE};
use serde_json::json;

use crate::{
    content::{self, PlannedFile},
    error::ExportError,
    peft::Adapters,
    shard_size::ShardSize,
    weights::{StoredTensor, weights_file},
};

/// Files of tensors, each with its name.
pub(super) struct Shards<'a>(Vec<(String, Vec<StoredTensor<'a>>)>);

impl<'a> Shards<'a> {
    /// The files that the base model has.
    pub(super) fn as_in_base(files: Vec<(String, Vec<StoredTensor<'a>>)>) -> Self {
        Self(files)
    }

    /// `tensors`, in this order, in one file or in as many as are needed; a file is full when the next tensor would make
    /// it larger than `most`.
    pub(super) fn filled(tensors: Vec<StoredTensor<'a>>, most: Option<ShardSize>) -> Self {
        let mut files: Vec<Vec<StoredTensor>> = vec![Vec::new()];
        let mut filled = 0u64;
        for tensor in tensors {
            let bytes = tensor.bytes();
            let is_full = most.is_some_and(|most| filled + bytes > most.bytes());
            match files.last_mut() {
                Some(last) if last.is_empty() || !is_full => {
                    last.push(tensor);
                    filled += bytes;
                }
                _ => {
                    files.push(vec![tensor]);
                    filled = bytes;
                }
            }
        }
        let count = files.len();
        let name = |index: usize| match count {
            1 => SINGLE_FILE.to_owned(),
            _ => format!("model-{:05}-of-{count:05}.safetensors", index + 1),
        };
        Self(files.into_iter().enumerate().map(|(index, tensors)| (name(index), tensors)).collect())
    }

    /// Puts the widest types first, as the safetensors library does: every tensor stays aligned to its type.
    pub(super) fn aligned(mut self) -> Self {
        for (_, tensors) in &mut self.0 {
            tensors.sort_by_key(|tensor| std::cmp::Reverse(tensor.width()));
        }
        self
    }

    /// Whether readers find them only through an index.
    pub(super) fn need_index(&self) -> bool {
        self.0.iter().any(|(name, _)| name != SINGLE_FILE)
    }

    /// The index: which tensor is in which file, bytes and values of all together.
    pub(super) fn index(&self) -> Result<PlannedFile<'a>, ExportError> {
        let all = || self.0.iter().flat_map(|(_, tensors)| tensors);
        let places = self.0.iter().flat_map(|(file, tensors)| {
            tensors.iter().flat_map(StoredTensor::parts).map(move |part| (part.name, file.as_str()))
        });
        let index = json!({
            "metadata": {
                "total_size": all().map(StoredTensor::bytes).sum::<u64>(),
                "total_parameters": all().map(StoredTensor::values).sum::<u64>(),
            },
            "weight_map": places.collect::<BTreeMap<_, _>>(),
        });
        let json = serde_json::to_vec_pretty(&index)
            .map_err(|error| ExportError::Broken { path: INDEX_FILE.into(), reason: error.to_string() })?;
        Ok(content::bytes(INDEX_FILE, json))
    }

    /// The files themselves; `framework` and `counts_types` as in [`weights_file`].
    pub(super) fn files(
        self,
        adapters: &'a Adapters,
        framework: &str,
        counts_types: bool,
    ) -> Result<Vec<PlannedFile<'a>>, ExportError> {
        let files = self.0.into_iter();
        files
            .map(|(name, tensors)| weights_file(name, tensors, Some(adapters), framework, counts_types))
            .collect()
    }
}
