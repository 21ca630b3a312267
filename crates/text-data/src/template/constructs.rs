//! Every construct that templates in the wild use, against what transformers with jinja2 renders of it.

use std::{fs, path::Path};

use minijinja::Error;
use serde_json::Value as Json;

use super::chat::{Chat, template_value};

#[test]
fn constructs_render_as_in_transformers() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/reference/chat/constructs.json");
    let fixture: Json = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let mut differences = Vec::new();
    for case in fixture["cases"].as_array().unwrap() {
        let template = case["template"].as_str().unwrap();
        let rendered = render(template, &fixture["context"]);
        match (rendered, case["expected"].as_str()) {
            (Ok(rendered), Some(expected)) if rendered == expected => {}
            (Err(_), None) => {}
            (rendered, _) => differences.push(format!(
                "{template}\n  reference: {}\n  ours:      {}",
                case["expected"].as_str().map_or(case["error"].to_string(), |text| format!("{text:?}")),
                rendered.map_or_else(|error| format!("error {error}"), |text| format!("{text:?}"))
            )),
        }
    }
    assert!(differences.is_empty(), "{} differ\n{}", differences.len(), differences.join("\n"));
}

fn render(template: &str, context: &Json) -> Result<String, Error> {
    let at = "2026-11-22T04:00:00Z".parse().unwrap();
    let mut values: Vec<_> = context.as_object().unwrap().iter().collect();
    // Special tokens by name, and data that the templates of the fixture read.
    values.retain(|(name, _)| name.ends_with("_token"));
    let tokens: Vec<_> =
        values.iter().map(|(name, token)| ((*name).clone(), token.as_str().unwrap().to_owned())).collect();
    let messages: Vec<_> = context["messages"].as_array().unwrap().iter().map(template_value).collect();
    let mut chat = Chat::new(template, &tokens, at)?;
    chat.set("data", template_value(&context["data"]));
    chat.render(&messages, &template_value(&context["tools"]), false).map(|(text, _)| text)
}
