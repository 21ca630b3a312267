//! The same base model however its folder is written: spellings of rotary positions, weights beside a left-over index,
//! a head that the configuration calls tied. Losses were computed with transformers 5.23.

use std::{
    fs,
    path::{Path, PathBuf},
};

use greentune_core_config::event::EventKind;
use serde_json::{Value, json};

use crate::run::Fixture;

/// Of `olmo2-tiny` as it is.
const LOSS: f64 = 6.69471;
/// Of `olmo2-tiny` with positions divided by 4.
const LOSS_OF_LINEAR: f64 = 6.92828;

const INDEX: &str = "model.safetensors.index.json";
const OLD_SHARD: &str = "model-00001-of-00001.safetensors";

/// A copy of the tiny reference whose folder was changed.
struct Base {
    fixture: Fixture,
}

impl Base {
    fn new() -> Self {
        let mut fixture = Fixture::new();
        let copy = fixture.folder.path().join("base");
        fs::create_dir(&copy).unwrap();
        for entry in fs::read_dir(&fixture.manifest.base_model_path).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
        }
        fixture.manifest.base_model_path = copy;
        Self { fixture }
    }

    fn folder(&self) -> &Path {
        &self.fixture.manifest.base_model_path
    }

    /// With these keys in place of all that `config.json` says of rotary positions.
    fn with_rope(self, keys: &Value) -> Self {
        self.edit_config(|config| {
            for key in ["rope_parameters", "rope_scaling", "rope_theta"] {
                config.as_object_mut().unwrap().remove(key);
            }
            config.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        })
    }

    fn edit_config(self, change: impl FnOnce(&mut Value)) -> Self {
        let path = self.folder().join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut config);
        fs::write(path, config.to_string()).unwrap();
        self
    }

    /// With an index that names `shard` for every tensor.
    fn with_index(self, shard: &str) -> Self {
        let file = fs::read(self.folder().join("model.safetensors")).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
        let map: serde_json::Map<String, Value> =
            tensors.names().into_iter().map(|name| (name.to_owned(), shard.into())).collect();
        fs::write(self.folder().join(INDEX), json!({"metadata": {}, "weight_map": map}).to_string()).unwrap();
        self
    }

    /// The first step's loss. Adapters change nothing yet, so that it is the base's.
    fn loss(mut self) -> f64 {
        let word = |count: usize| vec!["word"; count].join(" ");
        let records: String = [("one", 1), ("two", 4), ("three", 16), ("four", 60)]
            .into_iter()
            .map(|(name, count)| {
                json!({"instruction": format!("Write {name}."), "output": word(count)}).to_string() + "\n"
            })
            .collect();
        let manifest = &mut self.fixture.manifest;
        for path in [&manifest.data.train, &manifest.data.validation] {
            fs::write(path, &records).unwrap();
        }
        let training = &mut manifest.settings.training;
        training.num_stages = 1;
        training.max_seq_length = 512;
        training.stage1.iterations = 1;
        training.stage1.warmup_steps = 0;
        training.stage1.batch_size = 4;
        training.stage1.gradient_accumulation = 1;
        manifest.settings.lora.dropout = 0.0;
        let (outcome, events) = self.fixture.train_stages(&[1]);
        outcome.unwrap();
        let loss = events.iter().find_map(|event| match event {
            EventKind::Step(step) => Some(step.train_loss),
            _ => None,
        });
        loss.unwrap()
    }
}

fn assert_loss(base: Base, expected: f64) {
    let loss = base.loss();
    assert!((loss - expected).abs() < 2e-5, "{loss} is not {expected}");
}

#[test]
fn every_spelling_of_rotary_positions_gives_the_same_loss() {
    for keys in [
        json!({"rope_theta": 5e5, "rope_scaling": {"rope_type": "linear", "factor": 4.0}}),
        json!({"rope_theta": 5e5, "rope_scaling": {"type": "linear", "rope_type": "linear", "factor": 4.0}}),
        json!({"rope_scaling": {"rope_type": "linear", "factor": 4.0, "rope_theta": 5e5}}),
        json!({"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 5e5}, "rope_theta": 1e4}),
    ] {
        assert_loss(Base::new().with_rope(&keys), LOSS_OF_LINEAR);
    }
}

#[test]
fn a_single_file_goes_before_an_index_that_is_left_over() {
    assert_loss(Base::new(), LOSS);
    assert_loss(Base::new().with_index("model-00001-of-00002.safetensors"), LOSS);
    let with_old_shard = Base::new().with_index(OLD_SHARD);
    let path = |name: &str| -> PathBuf { with_old_shard.folder().join(name) };
    let mut zeros = fs::read(path("model.safetensors")).unwrap();
    let header = 8 + u64::from_le_bytes(zeros[..8].try_into().unwrap()) as usize;
    zeros[header..].fill(0);
    fs::write(path(OLD_SHARD), zeros).unwrap();
    assert_loss(with_old_shard, LOSS);
}

#[test]
fn a_head_with_values_of_its_own_is_used_though_the_config_says_that_it_is_tied() {
    assert_loss(Base::new().edit_config(|config| config["tie_word_embeddings"] = true.into()), LOSS);
}
