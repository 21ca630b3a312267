//! `greentune generate`: what a base model, a run's stages or any model in a folder answer.

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use greentune_core_config::{
    generation::{GeneratedText, GenerationNote},
    port::{TransferProgress, TransferReporter},
    quantities::{counted, plain},
};
use greentune_workbench::{Observer, operation::GenerateText};

use crate::{failure::Failure, output::Output, printable::printable, session::Session};

/// Arguments of `generate`.
#[derive(Args, Debug)]
pub struct Generate {
    /// The run: its id, its name or the beginning of one
    #[arg(required_unless_present = "model")]
    run: Option<String>,
    /// Folder of a whole model, such as a merged export, to answer beside the run or alone
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// What to ask; may be given more than once
    #[arg(long, value_name = "TEXT", required = true, allow_hyphen_values = true)]
    prompt: Vec<String>,
    /// A system message before each prompt
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    system: Option<String>,
    /// Stage that answers [default: each trained stage]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=2))]
    stage: Option<u8>,
    /// Leave the base model out
    #[arg(long)]
    no_base: bool,
    /// Tokens of an answer, at most [default: 256]
    #[arg(long, value_name = "N")]
    max_tokens: Option<u64>,
    /// Continue the prompts as they stand, without the form of the training records
    #[arg(long)]
    raw: bool,
}

impl Generate {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let prompts = self.prompt;
        let request = GenerateText {
            project_path: self.run.as_ref().and_then(|_| session.project()),
            run_id: self.run,
            model_path: self.model.as_deref().map(|folder| session.here(folder)),
            prompts: prompts.clone(),
            system: self.system,
            stage: self.stage,
            with_base: Some(!self.no_base),
            max_tokens: self.max_tokens,
            raw: Some(self.raw),
        };
        let output = session.output;
        let workbench = session.workbench()?.reporting(Arc::new(Writing { output, prompts }));
        let response = workbench.generate_text(request).await?;
        if output.is_json() { output.answer(&response, |_| String::new()) } else { Ok(()) }
    }
}

/// Shows text while it is written.
#[derive(Debug)]
struct Writing {
    output: Output,
    prompts: Vec<String>,
}

impl TransferReporter for Writing {
    fn report(&self, _: &TransferProgress) {}
}

impl Observer for Writing {
    fn remark(&self, text: &str) {
        self.output.note(text);
    }

    fn generates(&self, note: &GenerationNote) {
        match note {
            GenerationNote::Begins { prompt, model } => {
                let several = self.prompts.len() > 1;
                let prompt = self.prompts.get(*prompt).filter(|_| several);
                self.output.write_part(|paint| {
                    let prompt = prompt.map_or_else(String::new, |prompt| format!(" > {prompt}"));
                    paint.heading(format!("{model}{prompt}")) + "\n"
                });
            }
            GenerationNote::Writes { text } => self.output.write_part(|_| printable(text, &[]).into_owned()),
            GenerationNote::Ends(text) => {
                self.output.write_part(|paint| format!("\n{}\n\n", paint.faint(in_figures(text))));
            }
        }
    }
}

/// `12 tokens, 31.2 tokens/s, ended by the model`.
fn in_figures(text: &GeneratedText) -> String {
    let rate = text.tokens as f64 / text.seconds.max(1e-9);
    format!("({}, {} tokens/s, {})", counted(text.tokens, "token"), plain(rate), text.ended_by)
}
