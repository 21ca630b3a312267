//! Temporary.
#![allow(clippy::disallowed_methods, reason = "a program of its own")]
use greentune_export::{ClassifierRequest, ExportFormat, stage_classifier};
fn main() {
    let a: Vec<String> = std::env::args().skip(1).collect();
    let request = ClassifierRequest {
        classifier: a[0].clone().into(),
        format: ExportFormat::Huggingface,
        destination: a[1].clone().into(),
        replace: false,
        model_card: None,
    };
    stage_classifier(&request).unwrap().publish().unwrap();
}
