//! Model folders as people have them: which weights are meant, what is said of them, what is refused.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use greentune_core_config::{Diagnostic, Problem};
use greentune_model_folder::{ModelFolder, ModelWeights, encode_header, read_config};
use safetensors::Dtype;
use serde_json::{Value, json};
use tempfile::TempDir;

const INDEX: &str = "model.safetensors.index.json";
const SHARDS: [&str; 2] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];

/// A tensor: its name, shape and the value of all its elements.
type Stored = (String, Vec<usize>, f32);

struct Sandbox(TempDir);

impl Sandbox {
    /// A whole OLMo-2 of one layer in a single file.
    fn new() -> Self {
        let sandbox = Self(tempfile::tempdir().unwrap());
        sandbox.write_config(&config());
        sandbox.store("model.safetensors", &tensors());
        sandbox
    }

    /// The same in two shards behind an index.
    fn sharded() -> Self {
        let sandbox = Self::new();
        fs::remove_file(sandbox.path("model.safetensors")).unwrap();
        let all = tensors();
        let (first, second) = all.split_at(5);
        let mut map = BTreeMap::new();
        for (shard, part) in SHARDS.iter().zip([first, second]) {
            sandbox.store(shard, part);
            map.extend(part.iter().map(|(name, ..)| (name.clone(), *shard)));
        }
        sandbox.write_index(&json!(map));
        sandbox
    }

    fn folder(&self) -> &Path {
        self.0.path()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    fn write_config(&self, config: &Value) {
        fs::write(self.path("config.json"), config.to_string()).unwrap();
    }

    fn write_index(&self, map: &Value) {
        fs::write(self.path(INDEX), json!({"metadata": {}, "weight_map": map}).to_string()).unwrap();
    }

    fn index(&self) -> Value {
        let index: Value = serde_json::from_slice(&fs::read(self.path(INDEX)).unwrap()).unwrap();
        index["weight_map"].clone()
    }

    fn store(&self, file: &str, tensors: &[Stored]) {
        self.store_as(file, tensors, Dtype::F32);
    }

    fn store_as(&self, file: &str, tensors: &[Stored], dtype: Dtype) {
        let shapes = tensors.iter().map(|(name, shape, _)| (name.as_str(), dtype, shape.as_slice()));
        let mut bytes = encode_header(shapes, "pt").unwrap();
        for (_, shape, value) in tensors {
            let value = &value.to_le_bytes()[4 - dtype.bitsize() / 8..];
            (0..shape.iter().product()).for_each(|_: usize| bytes.extend(value));
        }
        fs::write(self.path(file), bytes).unwrap();
    }

    fn open(&self) -> ModelFolder {
        ModelFolder::open(self.folder()).unwrap()
    }

    fn refusal(&self) -> Problem {
        ModelFolder::open(self.folder()).unwrap_err().problem()
    }
}

fn config() -> Value {
    json!({"model_type": "olmo2", "vocab_size": 6, "hidden_size": 4, "intermediate_size": 8,
        "num_hidden_layers": 1, "num_attention_heads": 1, "max_position_embeddings": 32})
}

fn config_with(key: &str, value: impl Into<Value>) -> Value {
    let mut config = config();
    config[key] = value.into();
    config
}

fn tensors() -> Vec<Stored> {
    let config = greentune_core_config::model::ModelConfig::parse(&config().to_string(), None).unwrap();
    let named = config.tensors().into_iter().enumerate();
    named.map(|(index, (name, shape))| (name, shape, 0.5 + index as f32)).collect()
}

/// The tensors with the value of `name` as `value`.
fn tensors_with(name: &str, value: f32) -> Vec<Stored> {
    let change = |(found, shape, old)| {
        let value = if found == name { value } else { old };
        (found, shape, value)
    };
    tensors().into_iter().map(change).collect()
}

fn assert_says(problem: &Problem, code: &str, parts: &[&str]) {
    assert_eq!(problem.code, code, "{problem}");
    assert!(problem.hint.is_some());
    for part in parts {
        assert!(problem.message.contains(part), "{part:?} is not in {:?}", problem.message);
    }
}

#[test]
fn whole_folders_have_nothing_to_say() {
    for sandbox in [Sandbox::new(), Sandbox::sharded()] {
        let model = sandbox.open();
        assert_eq!(model.notes(), &[] as &[String]);
        assert_eq!(model.weights().names().count(), tensors().len());
        assert_eq!(model.config(), &read_config(sandbox.folder()).unwrap());
    }
}

#[test]
fn a_single_file_goes_before_an_index_and_it_is_said() {
    let sandbox = Sandbox::new();
    sandbox.write_index(&json!({"lm_head.weight": "gone.safetensors"}));
    let model = sandbox.open();
    let [note] = model.notes() else { panic!("{:?}", model.notes()) };
    assert!(note.contains("model.safetensors is taken") && note.contains(INDEX), "{note}");
    assert_eq!(model.weights().paths().collect::<Vec<_>>(), [sandbox.path("model.safetensors")]);
}

#[test]
fn broken_indexes_are_refused_by_name() {
    let sandbox = Sandbox::sharded();
    let original = sandbox.index();
    let with = |name: &str, shard: &str| {
        let mut map = original.clone();
        map[name] = shard.into();
        sandbox.write_index(&map);
        sandbox.refusal()
    };
    assert_says(
        &with("lm_head.weight", "gone.safetensors"),
        "model.shard_missing",
        &["gone.safetensors", INDEX],
    );
    for outside in ["../x.safetensors", "/x.safetensors", "a/x.safetensors", "..", "a\\x.safetensors", ""] {
        assert_says(&with("lm_head.weight", outside), "model.index_invalid", &[INDEX, "beside it"]);
    }
    let elsewhere = with("lm_head.weight", SHARDS[1]);
    assert_says(&elsewhere, "model.tensor_missing", &["lm_head.weight", SHARDS[1]]);
    assert_says(&with("invented.weight", SHARDS[0]), "model.tensor_missing", &["invented.weight", SHARDS[0]]);
    sandbox.write_index(&json!({}));
    assert_says(&sandbox.refusal(), "model.index_invalid", &["no tensor"]);
    fs::write(sandbox.path(INDEX), "{").unwrap();
    assert_says(&sandbox.refusal(), "model.index_invalid", &[INDEX]);
}

#[test]
fn shards_are_read_whole_and_may_not_contradict_each_other() {
    let sandbox = Sandbox::sharded();
    // transformers reads what is in a shard, though the index forgets it.
    let mut map = sandbox.index();
    map.as_object_mut().unwrap().remove("lm_head.weight");
    sandbox.write_index(&map);
    assert!(sandbox.open().weights().contains("lm_head.weight"));

    let all = tensors();
    let (first, second) = all.split_at(5);
    let twice = |value: f32| {
        let mut second = second.to_vec();
        second.push((first[0].0.clone(), first[0].1.clone(), value));
        sandbox.store(SHARDS[1], &second);
    };
    twice(first[0].2);
    sandbox.open();
    twice(-1.0);
    assert_says(
        &sandbox.refusal(),
        "model.index_invalid",
        &[&first[0].0, SHARDS[0], SHARDS[1], "different values"],
    );
}

#[test]
fn a_head_is_tied_unless_other_values_are_stored_for_it() {
    let sandbox = Sandbox::new();
    sandbox.write_config(&config_with("tie_word_embeddings", true));
    let model = sandbox.open();
    assert!(
        !model.config().tie_word_embeddings && !read_config(sandbox.folder()).unwrap().tie_word_embeddings
    );
    assert!(model.notes()[0].contains("lm_head.weight") && model.notes().len() == 1, "{:?}", model.notes());

    sandbox.store("model.safetensors", &tensors_with("lm_head.weight", 0.5));
    let model = sandbox.open();
    assert!(model.config().tie_word_embeddings && model.notes().is_empty(), "{:?}", model.notes());

    let headless: Vec<Stored> = tensors().into_iter().filter(|(name, ..)| name != "lm_head.weight").collect();
    sandbox.store("model.safetensors", &headless);
    assert!(sandbox.open().config().tie_word_embeddings);
    sandbox.write_config(&config());
    assert_says(&sandbox.refusal(), "model.tensor_missing", &["lm_head.weight"]);
}

#[test]
fn a_tied_model_may_store_its_head_alone() {
    let sandbox = Sandbox::new();
    let with_head: Vec<Stored> =
        tensors().into_iter().filter(|(name, ..)| name != "model.embed_tokens.weight").collect();
    sandbox.store("model.safetensors", &with_head);
    assert_says(&sandbox.refusal(), "model.tensor_missing", &["model.embed_tokens.weight"]);
    sandbox.write_config(&config_with("tie_word_embeddings", true));
    let model = sandbox.open();
    assert!(model.config().tie_word_embeddings && model.notes().is_empty(), "{:?}", model.notes());
    let embedding = model.weights().tensor_of(model.config(), "model.embed_tokens.weight").unwrap();
    assert_eq!((embedding.name.as_str(), embedding.shape()), ("lm_head.weight", &[6, 4][..]));
    let headless: Vec<Stored> = with_head.into_iter().filter(|(name, ..)| name != "lm_head.weight").collect();
    sandbox.store("model.safetensors", &headless);
    assert_says(&sandbox.refusal(), "model.tensor_missing", &["model.embed_tokens.weight"]);
}

#[test]
fn headers_and_indexes_of_countless_tensors_are_refused_before_they_are_laid_out() {
    let sandbox = Sandbox::new();
    let tensor = |n: usize| format!(r#""t{n}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#);
    let header = format!("{{{}}}", (0..1_000_000).map(tensor).collect::<Vec<_>>().join(","));
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
    fs::write(sandbox.path("model.safetensors"), bytes).unwrap();
    assert_says(&sandbox.refusal(), "model.weights_invalid", &["more than 131072 tensors"]);
    let sandbox = Sandbox::sharded();
    let map: BTreeMap<_, _> = (0..200_000).map(|n| (format!("t{n}"), SHARDS[0])).collect();
    sandbox.write_index(&json!(map));
    assert_says(&sandbox.refusal(), "model.index_invalid", &["more than 131072 tensors"]);
}

#[test]
fn files_without_an_end_are_not_read_to_it() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("config.json"), vec![b' '; (64 << 20) + 1]).unwrap();
    assert_says(&sandbox.refusal(), "model.weights_invalid", &["config.json", "64 MiB"]);
    #[cfg(unix)]
    {
        fs::remove_file(sandbox.path("config.json")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", sandbox.path("config.json")).unwrap();
        assert_says(&sandbox.refusal(), "model.weights_invalid", &["config.json", "64 MiB"]);
    }
}

#[test]
fn a_header_that_says_it_is_longer_than_any_file_is_refused() {
    let sandbox = Sandbox::new();
    for length in [u64::MAX, 1 << 63, 100_000_001] {
        fs::write(sandbox.path("model.safetensors"), [length.to_le_bytes(), [0; 8]].concat()).unwrap();
        let says = format!("its header would be {length} bytes long");
        assert_says(&sandbox.refusal(), "model.weights_invalid", &[&says]);
    }
}

#[test]
fn sizes_that_no_model_has_are_refused() {
    let sandbox = Sandbox::new();
    sandbox.write_config(&config_with("num_hidden_layers", 1_u64 << 40));
    assert_says(&sandbox.refusal(), "model.config_invalid", &["num_hidden_layers is 1099511627776"]);
    assert!(read_config(sandbox.folder()).is_err());
}

#[test]
fn tensors_that_do_not_fit_are_refused_by_name() {
    let sandbox = Sandbox::new();
    sandbox.write_config(&config_with("vocab_size", 7));
    assert_says(&sandbox.refusal(), "model.weights_invalid", &["[6, 4]", "[7, 4]"]);
    sandbox.write_config(&config_with("num_hidden_layers", 2));
    assert_says(&sandbox.refusal(), "model.tensor_missing", &["model.layers.1."]);
    sandbox.write_config(&config());
    sandbox.store_as("model.safetensors", &tensors(), Dtype::U8);
    assert_says(&sandbox.refusal(), "model.dtype", &["U8"]);
    let bytes = fs::read(sandbox.path("model.safetensors")).unwrap();
    fs::write(sandbox.path("model.safetensors"), &bytes[..bytes.len() - 1]).unwrap();
    assert_says(&sandbox.refusal(), "model.weights_invalid", &["truncated"]);
    fs::remove_file(sandbox.path("model.safetensors")).unwrap();
    assert_says(&sandbox.refusal(), "model.no_weights", &[INDEX]);
}

#[test]
fn quantised_weights_are_refused_before_they_are_looked_at() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("model.safetensors"), "not read").unwrap();
    sandbox.write_config(&config_with("quantization_config", json!({"quant_method": "awq", "bits": 4})));
    assert_says(&sandbox.refusal(), "model.quantised", &["awq", "config.json"]);
    assert!(read_config(sandbox.folder()).is_err());
}

#[test]
fn tensors_that_nobody_reads_are_counted() {
    let sandbox = Sandbox::new();
    let mut more = tensors();
    more.push((String::from("model.layers.0.self_attn.q_proj.bias"), vec![4], 1.0));
    more.push((String::from("model.layers.0.self_attn.rotary_emb.inv_freq"), vec![2], 1.0));
    sandbox.store("model.safetensors", &more);
    let model = sandbox.open();
    let [note] = model.notes() else { panic!("{:?}", model.notes()) };
    assert!(note.starts_with("a tensor") && note.contains("q_proj.bias"), "{note}");
}

#[test]
fn an_architecture_that_is_not_named_is_recognised_by_its_tensors() {
    let sandbox = Sandbox::new();
    sandbox.write_config(&config_with("model_type", "my_model"));
    assert!(sandbox.open().config().recognised_by_tensors);
    assert!(read_config(sandbox.folder()).unwrap().recognised_by_tensors);
    sandbox.write_config(&config_with("model_type", "helium"));
    assert_says(&sandbox.refusal(), "model.unsupported", &["helium"]);
}

#[test]
fn folders_without_a_model() {
    let sandbox = Sandbox::new();
    fs::remove_file(sandbox.path("config.json")).unwrap();
    assert_says(&sandbox.refusal(), "file.missing", &["config.json"]);
    let nowhere = sandbox.path("nowhere");
    assert_says(&ModelFolder::open(&nowhere).unwrap_err().problem(), "model.not_found", &["nowhere"]);
    assert!(ModelWeights::open(&nowhere).is_err());
}
