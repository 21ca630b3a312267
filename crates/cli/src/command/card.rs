//! `greentune card`: the model card of a run.

use std::path::PathBuf;

use clap::{Args, builder::PossibleValuesParser};
use greentune_workbench::{CardTemplate, operation::CreateModelCard};

use crate::{any_case::AnyCase, failure::Failure, session::Session};

/// Arguments of `card`.
#[derive(Args, Debug)]
pub struct Card {
    /// The run: its id, its name or the beginning of one
    run: String,
    /// Template of the card
    #[arg(long, value_name = "NAME", default_value = "standard")]
    #[arg(value_parser = AnyCase(PossibleValuesParser::new(CardTemplate::ALL.map(CardTemplate::as_str))))]
    template: String,
    /// Run of full training to compare with [default: its completed twin in the project; without one the card states
    /// no saving]
    #[arg(long, value_name = "RUN")]
    baseline: Option<String>,
    /// File to write it to [default: standard output]
    #[arg(long, aliases = ["output", "out"], value_name = "PATH")]
    to: Option<PathBuf>,
    /// Replace an existing file
    #[arg(long, alias = "overwrite", requires = "to")]
    force: bool,
}

impl Card {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let response = session
            .workbench()?
            .create_model_card(CreateModelCard {
                project_path: session.project(),
                run_id: self.run,
                template: CardTemplate::named(&self.template),
                baseline_run_id: self.baseline,
                output_path: self.to.map(|path| session.here(&path)),
                overwrite: Some(self.force),
            })
            .await?;
        session.output.answer(&response, |_| match &response.path {
            Some(path) => format!("wrote the card to {}", path.display()),
            None => response.markdown.trim_end().to_owned(),
        })
    }
}
