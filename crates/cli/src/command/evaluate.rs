//! `greentune evaluate`: evaluates a trained stage.

use std::path::PathBuf;

use clap::Args;
use greentune_core_config::quantities::percent;
use greentune_workbench::operation::{EvaluateModel, EvaluateModelResponse};

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
}

impl Evaluate {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let request = EvaluateModel {
            project_path: session.project(),
            run_id: self.run,
            test_dataset: session.input(&self.test)?,
            stage: self.stage,
            generate_records: self.generate,
        };
        let response = session.workbench()?.evaluate_model(request).await?;
        session.output.answer(&response, |paint| page(&response, paint))
    }
}

fn page(response: &EvaluateModelResponse, paint: Paint) -> String {
    let reaches =
        if response.passed_thresholds { paint.good("reaches") } else { paint.doubtful("does not reach") };
    let (figures, accuracy) = match &response.classification {
        Some(report) => (comparison::of_classifier(report), "accuracy"),
        None => (comparison::of_reports(&response.reports.iter().collect::<Vec<_>>()), "token accuracy"),
    };
    [
        figures,
        format!(
            "{accuracy} {} {reaches} the threshold {} of stage {}",
            percent(response.evaluation_results.accuracy),
            percent(response.threshold),
            response.stage,
        ),
        format!("kept in {}", response.results_file.display()),
    ]
    .join("\n")
}
