//! What the fixture lists, and its resources and prompts.

use rmcp::{
    ErrorData,
    model::{
        GetPromptRequestParams, GetPromptResponse, GetPromptResult, Prompt, ReadResourceResponse,
        ReadResourceResult, Resource, ResourceTemplate, Tool,
    },
};
use serde_json::{Value, json};

use crate::fixture::of;

/// A PNG of one pixel.
pub const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==";
/// A WAV file without a sample.
pub const WAV: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=";

/// Tools without arguments, and what they are for.
const PLAIN: &[(&str, &str)] = &[
    ("test_simple_text", "Answers with text"),
    ("test_image_content", "Answers with an image"),
    ("test_audio_content", "Answers with a sound"),
    ("test_embedded_resource", "Answers with a resource"),
    ("test_multiple_content_types", "Answers with text, an image and a resource"),
    ("test_error_handling", "Fails"),
    ("test_tool_with_logging", "Writes into the client's log"),
    ("test_tool_with_progress", "Tells of its progress"),
    ("test_reconnection", "Tells of its beginning before it answers"),
    ("test_elicitation_sep1034_defaults", "Asks the user with defaults"),
    ("test_elicitation_sep1330_enums", "Asks the user to choose"),
    ("test_missing_capability", "Needs a client that samples"),
    ("test_streaming_elicitation", "Tells of its beginning and asks the user"),
    ("test_logging_tool", "Writes into the log where the call sets a level"),
    ("test_trigger_tool_change", "Says that the tools have changed"),
    ("test_trigger_prompt_change", "Says that the prompts have changed"),
    ("test_input_required_result_elicitation", "Asks for a name"),
    ("test_input_required_result_sampling", "Asks the client's model"),
    ("test_input_required_result_list_roots", "Asks for the client's roots"),
    ("test_input_required_result_request_state", "Asks, and knows its question again"),
    ("test_input_required_result_multiple_inputs", "Asks for three things at once"),
    ("test_input_required_result_multi_round", "Asks twice"),
    ("test_input_required_result_tampered_state", "Refuses a state that is not its own"),
    ("test_input_required_result_capabilities", "Asks for what the client can do"),
    ("test_tool_with_task", "Asks for a name, then goes on as a task"),
    ("failing_job", "A task that fails"),
    ("protocol_error_job", "A task that ends with an error of the protocol"),
    ("multi_input", "A task that asks for two things at once"),
];

/// All tools.
pub fn tools() -> Result<Vec<Tool>, ErrorData> {
    let string = json!({ "type": "string" });
    let with = |name: &str, description: &str, properties: Value, required: Value| {
        let schema = json!({ "type": "object", "properties": properties, "required": required });
        json!({ "name": name, "description": description, "inputSchema": schema })
    };
    let plain = PLAIN.iter().map(|(name, description)| with(name, description, json!({}), json!([])));
    let others = [
        with("test_sampling", "Asks the client's model", json!({ "prompt": string }), json!(["prompt"])),
        with("test_elicitation", "Asks the user", json!({ "message": string }), json!(["message"])),
        with("greet", "Greets", json!({ "name": string }), json!(["name"])),
        with(
            "slow_compute",
            "A task that takes some seconds",
            json!({ "seconds": { "type": "number" }, "label": string }),
            json!(["seconds"]),
        ),
        with(
            "confirm_delete",
            "A task that asks the user",
            json!({ "filename": string }),
            json!(["filename"]),
        ),
        with(
            "test_custom_headers",
            "Has an argument that stands in a header too",
            json!({ "region": { "type": "string", "x-mcp-header": "Region" } }),
            json!([]),
        ),
        json_schema_2020_12(),
    ];
    plain.chain(others).map(of).collect()
}

fn json_schema_2020_12() -> Value {
    json!({
        "name": "json_schema_2020_12_tool",
        "description": "Tool with JSON Schema 2020-12 features",
        "inputSchema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "$defs": { "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": { "street": { "type": "string" }, "city": { "type": "string" } },
            }},
            "properties": {
                "name": { "type": "string" },
                "address": { "$ref": "#/$defs/address" },
                "contactMethod": { "type": "string", "enum": ["phone", "email"] },
                "phone": { "type": "string" },
                "email": { "type": "string" },
            },
            "allOf": [{ "anyOf": [{ "required": ["phone"] }, { "required": ["email"] }] }],
            "if": { "properties": { "contactMethod": { "const": "phone" } }, "required": ["contactMethod"] },
            "then": { "required": ["phone"] },
            "else": { "required": ["email"] },
            "additionalProperties": false,
        },
    })
}

/// All resources that stand in the list.
pub fn resources() -> Result<Vec<Resource>, ErrorData> {
    of(json!([
        { "uri": "test://static-text", "name": "text", "description": "A text", "mimeType": "text/plain" },
        { "uri": "test://static-binary", "name": "image", "description": "An image", "mimeType": "image/png" },
        { "uri": "test://watched-resource", "name": "watched", "description": "One to subscribe to", "mimeType": "text/plain" },
    ]))
}

/// All templates of resources.
pub fn templates() -> Result<Vec<ResourceTemplate>, ErrorData> {
    of(json!([{
        "uriTemplate": "test://template/{id}/data", "name": "template", "description": "Data of an id",
        "mimeType": "application/json",
    }]))
}

/// The resource at `uri`.
///
/// Errors: there is none.
pub fn read(uri: &str) -> Result<ReadResourceResponse, ErrorData> {
    let id = uri.strip_prefix("test://template/").and_then(|rest| rest.strip_suffix("/data"));
    let contents = match (uri, id) {
        ("test://static-text", _) => {
            json!({ "mimeType": "text/plain", "text": "This is the content of the static text resource." })
        }
        ("test://static-binary", _) => json!({ "mimeType": "image/png", "blob": PNG }),
        ("test://watched-resource", _) => json!({ "mimeType": "text/plain", "text": "It never changes." }),
        (_, Some(id)) => {
            let text = json!({ "id": id, "templateTest": true, "data": format!("Data for ID: {id}") });
            json!({ "mimeType": "application/json", "text": text.to_string() })
        }
        _ => return Err(ErrorData::resource_not_found("Resource not found", Some(json!({ "uri": uri })))),
    };
    let mut contents = contents;
    contents["uri"] = uri.into();
    of::<ReadResourceResult>(json!({ "resultType": "complete", "contents": [contents] }))
        .map(ReadResourceResponse::from)
}

/// All prompts.
pub fn prompts() -> Result<Vec<Prompt>, ErrorData> {
    let argument = |name: &str| json!({ "name": name, "description": "An argument", "required": true });
    of(json!([
        { "name": "test_simple_prompt", "description": "A text" },
        { "name": "test_prompt_with_arguments", "description": "A text with two arguments",
          "arguments": [argument("arg1"), argument("arg2")] },
        { "name": "test_prompt_with_embedded_resource", "description": "A resource",
          "arguments": [argument("resourceUri")] },
        { "name": "test_prompt_with_image", "description": "An image" },
        { "name": "test_input_required_result_prompt", "description": "Asks for its context" },
    ]))
}

/// The prompt that `request` names.
///
/// Errors: there is none.
pub fn prompt(request: &GetPromptRequestParams) -> Result<GetPromptResponse, ErrorData> {
    let argument = |name: &str| {
        let given = request.arguments.as_ref().and_then(|arguments| arguments.get(name));
        given.and_then(|value| serde_json::to_value(value).ok()).unwrap_or_default()
    };
    let text = |text: String| json!({ "type": "text", "text": text });
    let contents = match request.name.as_str() {
        "test_simple_prompt" => vec![text(String::from("This is a simple prompt for testing."))],
        "test_prompt_with_arguments" => {
            let [first, second] =
                ["arg1", "arg2"].map(|name| argument(name).as_str().unwrap_or_default().to_owned());
            vec![text(format!("Prompt with arguments: arg1='{first}', arg2='{second}'"))]
        }
        "test_prompt_with_embedded_resource" => {
            let resource = json!({
                "uri": argument("resourceUri"), "mimeType": "text/plain",
                "text": "Embedded resource content for testing.",
            });
            let ask = text(String::from("Please process the embedded resource above."));
            vec![json!({ "type": "resource", "resource": resource }), ask]
        }
        "test_prompt_with_image" => {
            let ask = text(String::from("Please analyze the image above."));
            vec![json!({ "type": "image", "data": PNG, "mimeType": "image/png" }), ask]
        }
        other => return Err(ErrorData::invalid_params(format!("no prompt {other:?}"), None)),
    };
    let messages: Vec<_> =
        contents.into_iter().map(|content| json!({ "role": "user", "content": content })).collect();
    of::<GetPromptResult>(json!({ "resultType": "complete", "messages": messages }))
        .map(GetPromptResponse::from)
}
