//! Adapters exported as they are.

use std::fs;

use greentune_export::{ExportFormat, export};
use safetensors::Dtype;

use crate::fixture::{Sandbox, json_of, names_in};

#[test]
fn adapters_are_copied_byte_for_byte() {
    for (format, expected) in [
        (ExportFormat::Huggingface, &["README.md", "adapter_config.json", "adapter_model.safetensors"][..]),
        (ExportFormat::Safetensors, &["adapter_config.json", "adapter_model.safetensors"]),
    ] {
        let sandbox = Sandbox::new(Dtype::BF16, true);
        let request = sandbox.request(format, false);
        let report = export(&request).unwrap();
        assert_eq!(names_in(&request.destination), expected);
        for name in ["adapter_config.json", "adapter_model.safetensors"] {
            assert_eq!(
                fs::read(request.destination.join(name)).unwrap(),
                fs::read(request.adapters.join(name)).unwrap()
            );
        }
        let verification = report.verification;
        assert_eq!((verification.adapter_tensors, verification.copied_files), (6, 2));
        assert_eq!((verification.merged_tensors, verification.untouched_tensors), (0, 0));
        assert!(report.usage_instructions.contains("PeftModel"));
    }
}

#[test]
fn adapters_name_the_base_model_that_the_request_names() {
    for format in [ExportFormat::Huggingface, ExportFormat::Safetensors] {
        let sandbox = Sandbox::new(Dtype::F32, false);
        let mut request = sandbox.request(format, false);
        request.base_model_name = Some(String::from("/models/My Base (v2)"));
        export(&request).unwrap();
        let mut expected = json_of(&request.adapters.join("adapter_config.json"));
        expected["base_model_name_or_path"] = "/models/My Base (v2)".into();
        assert_eq!(json_of(&request.destination.join("adapter_config.json")), expected);
    }
}
