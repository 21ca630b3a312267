//! Tiny random models and adapters, as files.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use greentune_export::{
    ExportFormat, ExportRequest,
    peft::{self, AdapterConfig, LoraPair},
};
use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Value, json};
use tempfile::TempDir;

pub const MODULES: &[(&str, [usize; 2])] = &[
    ("model.layers.0.self_attn.q_proj", [8, 8]),
    ("model.layers.0.self_attn.v_proj", [4, 8]),
    ("model.layers.0.mlp.down_proj", [8, 40]),
];
const UNTOUCHED: &[(&str, &[usize])] = &[
    ("model.embed_tokens.weight", &[20, 8]),
    ("model.layers.0.self_attn.k_proj.weight", &[4, 8]),
    ("model.norm.weight", &[8]),
    ("lm_head.weight", &[20, 8]),
];
pub const SHARDS: [&str; 2] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];

/// A sandbox with a base model in `base/` and adapters in `adapters/`.
pub struct Sandbox {
    pub dir: TempDir,
}

impl Sandbox {
    pub fn new(dtype: Dtype, sharded: bool) -> Self {
        let sandbox = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(sandbox.base()).unwrap();
        let config = json!({"model_type": "olmo2", "rope_parameters": {"rope_theta": 500_000, "rope_type": "default"}});
        sandbox.write_base_file("config.json", &serde_json::to_vec_pretty(&config).unwrap());
        sandbox.write_base_file("generation_config.json", b"{\"eos_token_id\": 0}");
        sandbox.write_base_file("tokenizer.json", "{\"version\": \"1.0\", \"é\": 1}".as_bytes());
        sandbox.write_base_file("tokenizer_config.json", b"{}\n");
        sandbox.write_weights(dtype, sharded);
        peft::write(&sandbox.adapters(), &config_of_rank(3), &pairs(3, 0.5)).unwrap();
        sandbox
    }

    pub fn base(&self) -> PathBuf {
        self.dir.path().join("base")
    }
    pub fn adapters(&self) -> PathBuf {
        self.dir.path().join("adapters")
    }
    pub fn write_base_file(&self, name: &str, bytes: &[u8]) {
        fs::write(self.base().join(name), bytes).unwrap();
    }

    pub fn request(&self, format: ExportFormat, merge: bool) -> ExportRequest {
        ExportRequest {
            base_model: self.base(),
            base_model_name: None,
            adapters: self.adapters(),
            format,
            destination: self.dir.path().join("exports/new"),
            replace: false,
            merge,
            quantization: None,
            max_shard_size: None,
            readable_copy: false,
            model_card: Some("# A card\n".into()),
        }
    }

    /// Makes the head's values those of the embedding.
    pub fn store_the_embedding_as_head(&self) {
        let path = self.base().join("model.safetensors");
        let bytes = fs::read(&path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = file
            .tensors()
            .into_iter()
            .map(|(name, view)| {
                let stored =
                    if name == "lm_head.weight" { "model.embed_tokens.weight" } else { name.as_str() };
                let values = file.tensor(stored).unwrap().data().to_vec();
                (name, view.shape().to_vec(), values)
            })
            .collect();
        write_safetensors(&path, Dtype::F32, &tensors);
    }

    fn write_weights(&self, dtype: Dtype, sharded: bool) {
        let modules = MODULES.iter().map(|(module, shape)| (format!("{module}.weight"), shape.to_vec()));
        let untouched = UNTOUCHED.iter().map(|(name, shape)| ((*name).to_owned(), shape.to_vec()));
        let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = modules
            .chain(untouched)
            .enumerate()
            .map(|(seed, (name, shape))| {
                let values = random(shape.iter().product(), seed as u64, 1.0);
                (name, shape, encode(dtype, &values))
            })
            .collect();
        if sharded {
            let (first, second) = tensors.split_at(2);
            for (shard, part) in SHARDS.iter().zip([first, second]) {
                write_safetensors(&self.base().join(shard), dtype, part);
            }
            let map: BTreeMap<&str, &str> = [first, second]
                .iter()
                .zip(SHARDS)
                .flat_map(|(part, shard)| part.iter().map(move |(name, ..)| (name.as_str(), shard)))
                .collect();
            let index = json!({"metadata": {"total_size": 1}, "weight_map": map});
            self.write_base_file("model.safetensors.index.json", &serde_json::to_vec(&index).unwrap());
        } else {
            write_safetensors(&self.base().join("model.safetensors"), dtype, &tensors);
        }
    }
}

pub fn config_of_rank(rank: usize) -> AdapterConfig {
    AdapterConfig::lora(rank, 6.0, 0.05, vec!["q_proj".into(), "v_proj".into(), "down_proj".into()])
}

pub fn pairs(rank: usize, size: f32) -> Vec<LoraPair> {
    let pair = |(seed, (module, [rows, columns])): (usize, &(&str, [usize; 2]))| LoraPair {
        module: (*module).into(),
        rank,
        in_features: *columns,
        out_features: *rows,
        a: random(rank * columns, 100 + seed as u64, size),
        b: random(rows * rank, 200 + seed as u64, size),
        magnitude: None,
    };
    MODULES.iter().enumerate().map(pair).collect()
}

/// Numbers in (-size, size), the same for the same seed (Knuth's MMIX generator).
pub fn random(count: usize, seed: u64, size: f32) -> Vec<f32> {
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / (1u64 << 24) as f32 * 2.0 - 1.0) * size
    };
    (0..count).map(|_| next()).collect()
}

pub fn encode(dtype: Dtype, values: &[f32]) -> Vec<u8> {
    match dtype {
        Dtype::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Dtype::F16 => values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
        Dtype::BF16 => values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect(),
        other => panic!("no fixture in {other:?}"),
    }
}

pub fn decode(dtype: Dtype, bytes: &[u8]) -> Vec<f32> {
    match dtype {
        Dtype::F32 => bytes.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect(),
        Dtype::F16 => bytes.chunks(2).map(|b| f16::from_le_bytes(b.try_into().unwrap()).to_f32()).collect(),
        Dtype::BF16 => bytes.chunks(2).map(|b| bf16::from_le_bytes(b.try_into().unwrap()).to_f32()).collect(),
        other => panic!("no fixture in {other:?}"),
    }
}

pub fn write_safetensors(path: &Path, dtype: Dtype, tensors: &[(String, Vec<usize>, Vec<u8>)]) {
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| (name, TensorView::new(dtype, shape.clone(), bytes).unwrap()));
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// Every tensor of the safetensors files in `folder`, read by the reference library.
pub fn tensors_in(folder: &Path) -> BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)> {
    let mut tensors = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            let bytes = fs::read(&path).unwrap();
            for (name, view) in SafeTensors::deserialize(&bytes).unwrap().tensors() {
                tensors.insert(name, (view.dtype(), view.shape().to_vec(), view.data().to_vec()));
            }
        }
    }
    tensors
}

pub fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

pub fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}
