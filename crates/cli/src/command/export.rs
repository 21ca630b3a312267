//! `greentune export`: writes a trained stage for other programs.

use std::path::PathBuf;

use clap::Args;
use greentune_core_config::{
    agreement::Agreement,
    quantities::{counted, number, percent},
};
use greentune_workbench::{
    ExportFormat,
    operation::{ExportModel, ExportModelResponse},
};

use crate::{failure::Failure, progress::Transfers, session::Session};

/// Arguments of `export`.
#[derive(Args, Debug)]
pub struct Export {
    /// The run: its id, its name or the beginning of one
    run: String,
    /// Stage to export
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=2))]
    stage: u8,
    #[arg(long, help = ExportFormat::help())]
    format: String,
    /// Folder to write; absent or empty
    #[arg(long, aliases = ["output-dir", "out"], value_name = "DIR")]
    to: PathBuf,
    /// Replace an earlier export there
    #[arg(long, alias = "overwrite")]
    force: bool,
    /// Merge the adapters into the base model
    #[arg(long)]
    merge: bool,
    #[arg(long, visible_alias = "dtype", value_name = "WORD", help = quantization_help())]
    quantization: Option<String>,
    /// How large a file of merged weights may get, such as 5GB
    #[arg(long, value_name = "SIZE")]
    max_shard_size: Option<String>,
    /// Do not compare its answers with the trained model's
    #[arg(long)]
    no_compare: bool,
    /// Upload the export to the Hugging Face Hub
    #[arg(long, requires = "repo")]
    upload: bool,
    /// Repository there, as OWNER/NAME; made when it is not there
    #[arg(long, requires = "upload", value_name = "REPO")]
    repo: Option<String>,
    /// Let everybody see the repository [default: private]
    #[arg(long, requires = "upload")]
    public: bool,
}

impl Export {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let request = ExportModel {
            project_path: session.project(),
            run_id: self.run,
            stage: self.stage,
            export_format: self.format.parse()?,
            export_path: session.here(&self.to),
            force: self.force.then_some(true),
            merge_adapters: Some(self.merge),
            quantization: self.quantization.map(|word| word.parse()).transpose()?,
            max_shard_size: self.max_shard_size.map(|size| size.parse()).transpose()?,
            compare: self.no_compare.then_some(false),
            upload_to_huggingface: Some(self.upload),
            hf_repo_id: self.repo,
            hf_public: self.public.then_some(true),
        };
        let workbench = session.workbench()?;
        let response = if self.upload {
            let (transfers, workbench) = Transfers::of(&workbench, session.output);
            transfers.during(workbench.export_model(request)).await?
        } else {
            workbench.export_model(request).await?
        };
        session.output.answer(&response, |_| page(&response))
    }
}

fn quantization_help() -> String {
    format!(
        "Type of merged weights [default: the base model's; gguf: f16]: {}",
        ExportFormat::quantization_help()
    )
}

fn page(response: &ExportModelResponse) -> String {
    let proven = &response.verification;
    let mut lines = vec![format!(
        "wrote {} ({}, {} MB of weights)",
        response.export_path.display(),
        response.export_format,
        number(response.model_size_mb),
    )];
    lines.extend(response.files.iter().map(|file| format!("  {}", file.name)));
    lines.push(format!(
        "read back and compared: {} merged, {} untouched, {} of adapters, {} copied",
        counted(proven.merged_tensors, "tensor"),
        counted(proven.untouched_tensors, "tensor"),
        counted(proven.adapter_tensors, "tensor"),
        counted(proven.copied_files, "file"),
    ));
    if let Some(relative) = proven.relative_rounding {
        let types = proven.tensor_types.iter().map(|(name, count)| format!("{count} {name}"));
        lines.push(format!(
            "tensors by type: {}; packing changed values by {} % root mean square",
            types.collect::<Vec<_>>().join(", "),
            number(relative * 100.0),
        ));
    }
    lines.extend(response.agreement.as_ref().map(agreement));
    lines.extend(
        response.not_compared.iter().map(|why| format!("not compared with the trained model: {why}")),
    );
    lines.extend(response.warnings.iter().map(|warning| format!("warning: {warning}")));
    lines.extend(response.huggingface_url.iter().map(|url| format!("uploaded to {url}")));
    lines.push(response.usage_instructions.clone());
    lines.join("\n")
}

fn agreement(found: &Agreement) -> String {
    format!(
        "compared with the trained model: {} of {} texts the same, {} of the likeliest tokens, logits within {}, divergence {} nats",
        found.same_texts,
        found.prompts,
        percent(found.top1_agreement),
        number(found.largest_difference),
        number(found.kl_nats),
    )
}
