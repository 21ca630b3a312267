//! Weights that were quantised before: named from `config.json`, and refused before anything of them is read.

use serde_json::{Map, Value};

use super::ModelConfigError;

/// Keys under which quantised models say how: transformers' own, that of compressed-tensors, that of MLX.
const KEYS: &[&str] = &["quantization_config", "compression_config", "quantization"];

/// Refuses a `config.json` that says that its weights are quantised.
pub(super) fn refuse(json: &Map<String, Value>) -> Result<(), ModelConfigError> {
    let says = |key: &&&str| match json.get(**key) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Object(object)) => !object.is_empty(),
        Some(_) => true,
    };
    let Some(key) = KEYS.iter().find(says) else { return Ok(()) };
    Err(ModelConfigError {
        code: "model.quantised",
        message: format!(
            "the weights are quantised with {} ({key}); weights in float32, bfloat16 or float16 can be trained, and \
             base_model.quantization = q8 or q4 quantises them while they are loaded",
            method(key, &json[*key])
        ),
    })
}

/// The name of the method, as its users write it.
fn method(key: &str, config: &Value) -> String {
    let is = |key: &str| config.get(key).is_some_and(|value| value.as_bool() == Some(true));
    match config.get("quant_method").and_then(Value::as_str) {
        Some(method) => method.to_owned(),
        // Configurations of bitsandbytes from before `quant_method`.
        None if is("load_in_4bit") || is("load_in_8bit") => String::from("bitsandbytes"),
        None if key == "quantization" && config.get("group_size").is_some() => String::from("MLX"),
        None => String::from("an unnamed method"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn methods_are_named() {
        for (config, named) in [
            (
                json!({"quantization_config": {"quant_method": "gptq", "bits": 4}}),
                "gptq (quantization_config)",
            ),
            (json!({"quantization_config": {"quant_method": "fp8"}}), "fp8"),
            (json!({"quantization_config": {"load_in_8bit": true}}), "bitsandbytes"),
            (json!({"compression_config": {"format": "int"}}), "an unnamed method (compression_config)"),
            (json!({"quantization": {"group_size": 64, "bits": 4}}), "MLX (quantization)"),
        ] {
            let error = refuse(config.as_object().unwrap()).unwrap_err();
            assert!(error.is_unsupported() && error.message.contains(named), "{}", error.message);
        }
        for plain in [json!({}), json!({"quantization_config": null}), json!({"quantization_config": {}})] {
            assert!(refuse(plain.as_object().unwrap()).is_ok());
        }
    }
}
