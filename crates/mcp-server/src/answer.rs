//! The result of a call, in the protocol's terms.

use greentune_core_config::{Problem, ProblemKind, suggestion::advice};
use greentune_workbench::operation::Answer;
use rmcp::{
    ErrorData,
    model::{CallToolResult, ContentBlock},
};
use serde_json::json;

use crate::tools;

/// A response, as structured content and in words, with what can be done next.
pub(crate) fn success(answer: Answer) -> CallToolResult {
    let Answer { content, text, advice: next } = answer;
    let text = with_hint(text, advice(&next.suggestions, next.hint.as_deref(), &tools::call_in_words));
    let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
    result.structured_content = Some(content);
    result
}

/// A problem: one that the caller can act on is a result, so that a model reads it; a defect is a protocol error.
pub(crate) fn failure(problem: Problem) -> Result<CallToolResult, ErrorData> {
    let problem = problem.worded(&tools::call_in_words);
    if problem.kind == ProblemKind::Internal {
        return Err(internal(&problem.code, &problem, problem.hint.as_deref()));
    }
    let content = serde_json::to_value(&problem).map_err(|error| internal("tool.problem", &error, None))?;
    let mut result =
        CallToolResult::error(vec![ContentBlock::text(with_hint(problem.to_string(), problem.hint))]);
    result.structured_content = Some(content);
    Ok(result)
}

/// A defect of greentune: the client gets its code and what to do, and the log says what happened.
pub(crate) fn internal(code: &str, cause: &dyn std::fmt::Display, hint: Option<&str>) -> ErrorData {
    tracing::error!(code, "{cause}");
    let advice = hint.unwrap_or("the server's log says more");
    ErrorData::internal_error(format!("internal error ({code}): {advice}"), Some(json!({ "code": code })))
}

fn with_hint(text: String, hint: Option<String>) -> String {
    match hint {
        Some(hint) => format!("{text}\nHint: {hint}"),
        None => text,
    }
}
