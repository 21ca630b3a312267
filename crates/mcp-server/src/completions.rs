//! Completions: run ids, models (of the Hub those in its cache), platforms and charts while a user types an argument of a
//! prompt or of a resource.

use greentune_core_config::{platform::PlatformKind, settings::VISION_MODELS};
use greentune_workbench::{
    Workbench,
    operation::{ListRuns, RUN_CHARTS},
};
use rmcp::{
    ErrorData,
    model::{CompleteRequestParams, CompleteResult, CompletionInfo},
};

use crate::{answer, prompts::COMPARE_SPARSE_TRAINING, resources::refusal};

/// The values that an argument may have and that begin with what was typed, or have it in them.
pub(crate) async fn complete(
    workbench: &Workbench,
    request: CompleteRequestParams,
) -> Result<CompleteResult, ErrorData> {
    let typed = request.argument.value.to_lowercase();
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let values = match request.argument.name.as_str() {
        "run_id" => {
            let runs = workbench.list_runs(ListRuns::all(None)).await.map_err(refusal)?;
            runs.runs.into_iter().map(|run| run.run_id).collect()
        }
        "model" if request.r#ref.as_prompt_name() == Some(COMPARE_SPARSE_TRAINING) => words(VISION_MODELS),
        "model" => workbench.cached_models().await.map_err(refusal)?,
        "platform" => vec![PlatformKind::Local.to_string()],
        "chart" => words(RUN_CHARTS),
        _ => Vec::new(),
    };
    let (begin, rest): (Vec<_>, Vec<_>) =
        values.into_iter().partition(|value| value.to_lowercase().starts_with(&typed));
    let within = rest.into_iter().filter(|value| value.to_lowercase().contains(&typed));
    let mut fitting: Vec<_> = begin.into_iter().chain(within).collect();
    let total = fitting.len();
    fitting.truncate(CompletionInfo::MAX_VALUES);
    let has_more = fitting.len() < total;
    let info = CompletionInfo::with_pagination(fitting, u32::try_from(total).ok(), has_more);
    Ok(CompleteResult::new(info.map_err(|error| answer::internal("completion", &error, None))?))
}
