//! How to load an export with the Python libraries that read it, in Markdown.

use std::path::Path;

use crate::request::ExportRequest;

/// A merged model with transformers, adapters with PEFT on their base model.
pub(super) fn in_python(request: &ExportRequest, destination: &Path) -> String {
    let (base, folder) = (request.base_model.display(), destination.display());
    if request.merge {
        format!(
            "Load the merged model with transformers:\n\n```python\n\
             from transformers import AutoModelForCausalLM, AutoTokenizer\n\n\
             model = AutoModelForCausalLM.from_pretrained(r\"{folder}\")\n\
             tokenizer = AutoTokenizer.from_pretrained(r\"{folder}\")\n```\n"
        )
    } else {
        format!(
            "Load the adapters on their base model with PEFT:\n\n```python\n\
             from peft import PeftModel\n\
             from transformers import AutoModelForCausalLM, AutoTokenizer\n\n\
             base = AutoModelForCausalLM.from_pretrained(r\"{base}\")\n\
             model = PeftModel.from_pretrained(base, r\"{folder}\")\n\
             tokenizer = AutoTokenizer.from_pretrained(r\"{base}\")\n```\n"
        )
    }
}
