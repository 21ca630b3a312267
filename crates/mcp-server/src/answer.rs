//! What came of a call, in the protocol's words.

use greentune_core_config::{Problem, ProblemKind};
use rmcp::{
    ErrorData,
    model::{CallToolResult, ContentBlock},
};
use serde::Serialize;
use serde_json::json;

/// A response, as structured content and in words.
pub(crate) fn success(text: String, response: &impl Serialize) -> Result<CallToolResult, ErrorData> {
    let content = serde_json::to_value(response).map_err(|error| internal("tool.response", &error, None))?;
    let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
    result.structured_content = Some(content);
    Ok(result)
}

/// A problem: one that the caller can act on is a result, so that a model reads it; a defect is a protocol error.
pub(crate) fn failure(problem: &Problem) -> Result<CallToolResult, ErrorData> {
    let hint = problem.hint.as_deref();
    if problem.kind == ProblemKind::Internal {
        return Err(internal(&problem.code, problem, hint));
    }
    let content = serde_json::to_value(problem).map_err(|error| internal("tool.problem", &error, None))?;
    let text = hint.map_or_else(|| problem.to_string(), |hint| format!("{problem}\nHint: {hint}"));
    let mut result = CallToolResult::error(vec![ContentBlock::text(text)]);
    result.structured_content = Some(content);
    Ok(result)
}

/// A defect: the client learns its code and what to do, the log what happened.
pub(crate) fn internal(code: &str, cause: &dyn std::fmt::Display, hint: Option<&str>) -> ErrorData {
    tracing::error!(code, "{cause}");
    let advice = hint.unwrap_or("the server's log says more");
    ErrorData::internal_error(format!("internal error ({code}): {advice}"), Some(json!({ "code": code })))
}
