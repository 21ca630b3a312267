//! Exports a base model with adapters, for checks against other programs.
//!
//! usage: `export_model BASE ADAPTERS DESTINATION FORMAT HOW`; HOW is a quantization, `kept` for the base's types, or
//! `adapter` for the adapters alone

#![allow(clippy::disallowed_methods, reason = "a program of its own")]

use std::{env, error::Error};

use greentune_export::{ExportRequest, export};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [base, adapters, destination, format, how] = &arguments[..] else {
        return Err("usage: export_model BASE ADAPTERS DESTINATION FORMAT QUANTIZATION|kept|adapter".into());
    };
    let quantization = match how.as_str() {
        "kept" | "adapter" => None,
        word => Some(word.parse()?),
    };
    let report = export(&ExportRequest {
        base_model: base.into(),
        base_model_name: None,
        adapters: adapters.into(),
        format: format.parse()?,
        destination: destination.into(),
        replace: false,
        merge: how != "adapter",
        quantization,
        max_shard_size: None,
        readable_copy: false,
        model_card: None,
    })?;
    serde_json::to_writer_pretty(std::io::stdout(), &report.verification)?;
    Ok(())
}
