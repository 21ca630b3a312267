//! How the weights are loaded.

use std::fs;

use serde::Serialize;
use serde_json::Value;

use super::{Subject, Weights};

#[derive(Debug, Serialize)]
pub(super) struct Loading {
    how: String,
    /// Python; empty where there is none.
    code: String,
}

pub(super) fn loading(subject: &Subject) -> Loading {
    if subject.is_classifier() { of_classifier(subject) } else { of_language_model(subject) }
}

fn of_language_model(subject: &Subject) -> Loading {
    let manifest = subject.manifest();
    let base = manifest.settings.base_model.hub_id().unwrap_or("BASE_MODEL");
    let (run, stage) = (&manifest.run_id, subject.stage.stage);
    if subject.weights == Weights::Merged {
        return Loading {
            how: String::from("With transformers, where FOLDER is the one in which this card lies:"),
            code: String::from(
                "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n\
                 model = AutoModelForCausalLM.from_pretrained(\"FOLDER\")\n\
                 tokenizer = AutoTokenizer.from_pretrained(\"FOLDER\")",
            ),
        };
    }
    let folder = match subject.weights {
        Weights::OfRun => format!(
            "With PEFT, where FOLDER is made by greentune export {run} --stage {stage} --format huggingface --to FOLDER:"
        ),
        _ => String::from("With PEFT, where FOLDER is the one in which this card lies:"),
    };
    let base = python_string(base);
    Loading {
        how: folder,
        code: format!(
            "from peft import PeftModel\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n\
             base = AutoModelForCausalLM.from_pretrained({base})\n\
             model = PeftModel.from_pretrained(base, \"FOLDER\")\n\
             tokenizer = AutoTokenizer.from_pretrained({base})"
        ),
    }
}

/// The files that are really there are named, and nothing is said of what was not found.
fn of_classifier(subject: &Subject) -> Loading {
    let folder = subject.run.layout.final_model();
    let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".safetensors"))
        .collect();
    files.sort();
    match files.first() {
        None => Loading {
            how: String::from("No weights were in the run's folder final-model when this card was written."),
            code: String::new(),
        },
        Some(file) => Loading {
            how: format!(
                "The weights are {} of the run's folder final-model, tensors by their names:",
                files.join(", ")
            ),
            code: format!(
                "from safetensors.torch import load_file\n\nweights = load_file({})",
                python_string(&format!("final-model/{file}"))
            ),
        },
    }
}

/// `text` as a string of Python, which JSON's are.
fn python_string(text: &str) -> String {
    Value::from(text).to_string()
}
