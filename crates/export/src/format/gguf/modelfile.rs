//! The `Modelfile` by which Ollama takes a GGUF file.

/// A Modelfile for the file `weights` of a model that stops at `stops`.
///
/// It has no `TEMPLATE`: that is written in another language than chat templates. Ollama takes the one of its own templates
/// whose text is nearest to the chat template in the GGUF file (`template.Named` of Ollama, Levenshtein distance), and says
/// nothing where that is another form (ollama/ollama#18153), so that the file does. It has no temperature either: that is
/// the caller's.
pub(super) fn modelfile(weights: &str, stops: &[String], has_chat_template: bool) -> String {
    let template = if has_chat_template {
        "# Ollama takes the one of its own templates that is most like the chat template in the GGUF file.\n\
         # Look which: ollama show --template my-model. Where it is another form, add TEMPLATE here."
    } else {
        "# The model has no chat template: prompts are passed on as they are."
    };
    let mut lines = vec![format!("FROM ./{weights}"), template.to_owned()];
    if !has_chat_template {
        lines.push("TEMPLATE \"{{ .Prompt }}\"".into());
    }
    lines.extend(stops.iter().map(|stop| format!("PARAMETER stop {}", quoted(stop))));
    lines.push(String::new());
    lines.join("\n")
}

/// In quotes; three of them where the text has one itself.
fn quoted(text: &str) -> String {
    if text.contains('"') || text.contains('\n') {
        format!("\"\"\"{text}\"\"\"")
    } else {
        format!("\"{text}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stop_is_quoted_and_a_template_is_left_to_the_gguf_file() {
        let stops = ["<|im_end|>".to_owned(), "say \"x\"".to_owned()];
        assert_eq!(
            modelfile("model.gguf", &stops, true),
            "FROM ./model.gguf\n# Ollama takes the one of its own templates that is most like the chat template in the GGUF file.\n\
             # Look which: ollama show --template my-model. Where it is another form, add TEMPLATE here.\n\
             PARAMETER stop \"<|im_end|>\"\nPARAMETER stop \"\"\"say \"x\"\"\"\"\n"
        );
        assert!(modelfile("model.gguf", &[], false).contains("TEMPLATE \"{{ .Prompt }}\"\n"));
    }
}
