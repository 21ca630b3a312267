//! Writes a base model with adapters merged into it as GGUF, for checks against other programs.
//!
//! usage: `export_gguf BASE ADAPTERS DESTINATION QUANTIZATION`, or `adapter` as the quantization for the adapters alone

#![allow(clippy::disallowed_methods, reason = "a program of its own")]

use std::{env, error::Error};

use greentune_export::{ExportFormat, ExportRequest, export};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [base, adapters, destination, quantization] = &arguments[..] else {
        return Err("usage: export_gguf BASE ADAPTERS DESTINATION QUANTIZATION|adapter".into());
    };
    let merge = quantization != "adapter";
    let report = export(&ExportRequest {
        base_model: base.into(),
        base_model_name: None,
        adapters: adapters.into(),
        format: ExportFormat::Gguf,
        destination: destination.into(),
        replace: false,
        merge,
        quantization: if merge { Some(quantization.parse()?) } else { None },
        model_card: None,
    })?;
    serde_json::to_writer_pretty(std::io::stdout(), &report.verification)?;
    Ok(())
}
