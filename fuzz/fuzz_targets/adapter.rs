//! A folder with adapters of PEFT: its configuration, or its safetensors.
#![no_main]

use std::sync::LazyLock;

use greentune_export::peft::Adapters;
use greentune_fuzz::Scratch;
use libfuzzer_sys::fuzz_target;

static SCRATCH: LazyLock<Scratch> = LazyLock::new(|| {
    let scratch = Scratch::new();
    scratch.copy("reference/families/llama/adapter/adapter_config.json", "weights/adapter_config.json");
    scratch.copy(
        "reference/families/llama/adapter/adapter_model.safetensors",
        "config/adapter_model.safetensors",
    );
    scratch
});

fuzz_target!(|data: &[u8]| {
    let Some((form, data)) = data.split_first() else { return };
    let (folder, file) = if form % 2 == 0 {
        ("weights", "adapter_model.safetensors")
    } else {
        ("config", "adapter_config.json")
    };
    SCRATCH.write(&format!("{folder}/{file}"), data);
    let Ok(adapters) = Adapters::open(&SCRATCH.path(folder)) else { return };
    adapters.config().scale();
    for module in adapters.modules() {
        let _ = adapters.shape(module);
        let _ = adapters.pair(module);
    }
});
