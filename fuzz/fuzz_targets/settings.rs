//! A project's configuration: TOML of a file, or one of the other layers, to resolved settings and back.
#![no_main]

use std::path::PathBuf;

use greentune_core_config::resolve::{Argument, ConfigText, Layers, overrides_from_text, resolve};
use greentune_scaffold::with_settings;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &str)| {
    let (layer, text) = input;
    let mut layers = Layers { project_root: Some(PathBuf::from("/project")), ..Layers::default() };
    let file = || ConfigText {
        path: PathBuf::from("/project/config/fine_tuning_config.toml"),
        text: text.to_owned(),
    };
    match layer % 5 {
        0 => layers.project_file = Some(file()),
        1 => layers.user_file = Some(file()),
        2 => layers.run_overrides = serde_json::from_str(text).unwrap_or_default(),
        3 => {
            let variables = text.lines().filter_map(|line| line.split_once('='));
            layers.environment = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        }
        _ => {
            layers.arguments = text.lines().filter_map(|line| Argument::set(line).ok()).collect();
            let _ = overrides_from_text(&layers.arguments);
        }
    }
    match resolve(&layers) {
        Ok(resolved) => {
            resolved.rows();
        }
        Err(problem) => assert!(!problem.to_string().is_empty()),
    }
    if layer % 5 == 0 {
        let _ = with_settings(text, &[("training.stage1.iterations", "5"), ("lora.rank", "8")]);
    }
});
