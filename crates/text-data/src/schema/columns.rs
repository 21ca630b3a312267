//! Columns of other names: which of them are likely to be instruction, input and response.

use std::collections::HashMap;

/// Usual names of a field, in lower case with `_` between words.
const INSTRUCTION: [&str; 14] = [
    "instruction",
    "instructions",
    "question",
    "query",
    "prompt",
    "problem",
    "request",
    "task",
    "user",
    "human",
    "source",
    "input_text",
    "input",
    "title",
];
const INPUT: [&str; 7] = ["input", "context", "passage", "background", "document", "article", "inputs"];
const OUTPUT: [&str; 16] = [
    "output",
    "outputs",
    "answer",
    "answers",
    "response",
    "completion",
    "target",
    "solution",
    "reply",
    "label",
    "assistant",
    "bot",
    "output_text",
    "ground_truth",
    "summary",
    "translation",
];

/// What the columns `found` are likely to mean, in the form that a preparation takes: `instruction=question,
/// output=answer` without the space; `None` when there is no likely instruction or response among them.
pub(super) fn offer<'a>(found: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut by_name: HashMap<String, Vec<&str>> = HashMap::new();
    for column in found {
        by_name.entry(normalised(column)).or_default().push(column);
    }
    let likely = |names: &[&str], taken: &[&str]| {
        let columns = names.iter().filter_map(|name| by_name.get(*name)).flatten();
        columns.copied().find(|column| !taken.contains(column))
    };
    let output = likely(&OUTPUT, &[])?;
    let instruction = likely(&INSTRUCTION, &[output])?;
    let input = likely(&INPUT, &[output, instruction]);
    // The pairs are parted by commas.
    if [Some(instruction), Some(output), input].into_iter().flatten().any(|name| name.contains([',', '='])) {
        return None;
    }
    let input = input.map(|input| format!(",input={input}")).unwrap_or_default();
    Some(format!("instruction={instruction}{input},output={output}"))
}

fn normalised(column: &str) -> String {
    column.trim().to_lowercase().replace([' ', '-'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_names_are_offered_and_others_are_not() {
        for (found, expected) in [
            (&["id", "Question", "Answer"][..], Some("instruction=Question,output=Answer")),
            (&["prompt", "response"], Some("instruction=prompt,output=response")),
            (&["context", "query", "target"], Some("instruction=query,input=context,output=target")),
            (&["input", "output"], Some("instruction=input,output=output")),
            (&["Input Text", "label"], Some("instruction=Input Text,output=label")),
            (&["name", "age"], None),
            (&["question"], None),
            (&["answer"], None),
        ] {
            assert_eq!(offer(found.iter().copied()).as_deref(), expected, "{found:?}");
        }
    }
}
