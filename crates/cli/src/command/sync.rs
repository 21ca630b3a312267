//! `greentune sync`: uploads a model to the Hugging Face Hub.

use std::path::PathBuf;

use clap::Args;
use greentune_core_config::quantities::{counted, number};
use greentune_workbench::operation::{ModelPlace, SyncModel, SyncModelResponse};

use crate::{failure::Failure, progress::Transfers, session::Session};

/// The words for places.
const PLACES: [&str; 2] = ["local", "huggingface"];

/// Arguments of `sync`.
#[derive(Args, Debug)]
pub struct Sync {
    /// Folder of the model: an export, or adapters
    #[arg(value_name = "MODEL_PATH")]
    model: PathBuf,
    /// Where the model is
    #[arg(long, value_name = "PLACE", default_value = "local", value_parser = PLACES)]
    from: String,
    /// Where it goes
    #[arg(long, value_name = "PLACE", default_value = "huggingface", value_parser = PLACES)]
    to: String,
    /// Repository, as OWNER/NAME; made when it is not there
    #[arg(long, value_name = "REPO")]
    repo: String,
    /// Let everybody see the repository [default: private]
    #[arg(long)]
    public: bool,
    /// Say what would be uploaded, and upload nothing
    #[arg(long)]
    dry_run: bool,
}

impl Sync {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let request = SyncModel {
            from: Some(place(&self.from)),
            to: place(&self.to),
            model_path: session.here(&self.model),
            hf_repo: self.repo,
            hf_public: self.public.then_some(true),
            dry_run: self.dry_run.then_some(true),
        };
        let (transfers, workbench) = Transfers::of(&session.workbench()?, session.output);
        let response = transfers.during(workbench.sync_model(request)).await?;
        session.output.answer(&response, |_| page(&response))
    }
}

fn place(word: &str) -> ModelPlace {
    if word == PLACES[0] { ModelPlace::Local } else { ModelPlace::Huggingface }
}

fn page(response: &SyncModelResponse) -> String {
    let SyncModelResponse { url, files, revision, is_public, sent_bytes, dry_run, .. } = response;
    let file = |was_there: bool| files.iter().filter(move |file| file.was_there == was_there);
    let mut lines: Vec<String> = file(false).map(|file| format!("  {}", file.name)).collect();
    lines.insert(
        0,
        format!(
            "{} {} ({} MB) to {url}, {}",
            if *dry_run { "would upload" } else { "uploaded" },
            counted(lines.len() as u64, "file"),
            number(*sent_bytes as f64 / 1e6),
            if *is_public { "which everybody may see" } else { "a private repository" },
        ),
    );
    let present = file(true).count() as u64;
    if present > 0 {
        lines.push(format!("{} with the same content there already", counted(present, "file")));
    }
    lines.extend(revision.as_ref().map(|commit| format!("commit {commit}")));
    lines.join("\n")
}
