//! A model's `config.json`: what it means, which tensors it names, what it needs of memory.
#![no_main]

use greentune_core_config::{
    memory::{MemoryInputs, ModelShape, estimate, reductions},
    model::ModelConfig,
    settings::Settings,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(config) = ModelConfig::parse(text, None) else { return };
    let settings = Settings::default();
    let (shape, inputs) = (ModelShape::from(&config), MemoryInputs::new(&settings));
    assert!(estimate(&shape, &inputs).peak_bytes() > 0);
    reductions(&shape, &inputs, &settings, 1);
    config.rotary.frequencies(config.head_dim);
    // A folder's tensors are only named where weights are read, which have a limit of their own.
    if config.num_hidden_layers <= 100 {
        assert!(!config.tensors().is_empty());
    }
});
