//! `greentune evaluate`: evaluates a trained stage.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::Args;
use greentune_core_config::gate::ThresholdCheck;
use greentune_workbench::operation::{CustomMetric, EvaluateModel, EvaluateModelResponse};

use crate::{comparison, failure::Failure, output::Paint, session::Session};

/// Arguments of `evaluate`.
#[derive(Args, Debug)]
pub struct Evaluate {
    /// The run: its id, its name or the beginning of one
    run: String,
    /// Records or images to evaluate on; of a data set with parts, its test part is used
    #[arg(long, value_name = "PATH")]
    test: PathBuf,
    /// Stage whose model is evaluated
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=2))]
    stage: u8,
    /// Records for which a response is generated [default: evaluation.generate_records]
    #[arg(long, value_name = "N")]
    generate: Option<u64>,
    /// Whether choices are asked in the chat template, if there are any [default: as the run's records are written]
    #[arg(long, value_name = "BOOL")]
    chat_template: Option<bool>,
    /// Seconds that the scoring command may take for one model
    #[arg(long, value_name = "SECONDS", default_value_t = 600, requires = "metric_command")]
    metric_time_limit: u64,
    /// After `--`, a command that scores what was generated: it reads lines {"prompt", "reference", "output"} and writes
    /// a line {"score": NUMBER} for each
    #[arg(last = true, value_name = "COMMAND")]
    metric_command: Vec<OsString>,
}

impl Evaluate {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let custom_metric = (!self.metric_command.is_empty()).then(|| CustomMetric {
            command: self.metric_command,
            time_limit: Duration::from_secs(self.metric_time_limit),
        });
        let request = EvaluateModel {
            project_path: session.project(),
            run_id: self.run,
            test_dataset: session.input(&self.test)?,
            stage: self.stage,
            generate_records: self.generate,
            chat_template: self.chat_template,
            custom_metric,
        };
        let response = session.workbench()?.evaluate_model(request).await?;
        session.output.answer(&response, |paint| page(&response, paint))
    }
}

fn page(response: &EvaluateModelResponse, paint: Paint) -> String {
    let figures = match &response.classification {
        Some(report) => comparison::of_classifier(report),
        None => comparison::of_reports(&response.reports.iter().collect::<Vec<_>>()),
    };
    let check = |check: &ThresholdCheck| {
        let verdict = if check.passed { paint.good("passed") } else { paint.doubtful("missed") };
        format!("{verdict}: {}", check.reason)
    };
    let (outputs, for_hub) = (response.outputs_file.as_ref(), response.eval_results_file.as_ref());
    std::iter::once(figures)
        .chain(response.checks.iter().map(check))
        .chain([format!("kept in {}", response.results_file.display())])
        .chain(outputs.map(|path| format!("what was generated is in {}", path.display())))
        .chain(
            for_hub.map(|path| format!("for .eval_results/ of a repository on the Hub: {}", path.display())),
        )
        .collect::<Vec<_>>()
        .join("\n")
}
