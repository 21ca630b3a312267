//! `greentune new`: makes a project.

use std::path::{Path, PathBuf};

use clap::Args;
use greentune_core_config::settings::ModelType;
use greentune_workbench::{
    command_line,
    operation::{
        BaseModelConfig, Entry, GenerateFineTuningProject, GenerateFineTuningProjectResponse, OPERATIONS,
    },
};

use crate::{failure::Failure, output::Paint, session::Session};

/// Arguments of `new`.
#[derive(Args, Debug)]
pub struct New {
    /// Name of the project and of its folder
    name: String,
    /// Base model: a folder with config.json, *.safetensors and tokenizer.json, or a Hugging Face id
    #[arg(long, value_name = "ID|PATH")]
    base_model: Option<String>,
    /// One line on the project's purpose
    #[arg(long)]
    description: Option<String>,
    /// Folder in which the project's folder is made [default: the current folder]
    #[arg(long, aliases = ["output-dir", "dir"], value_name = "DIR", default_value = ".", hide_default_value = true)]
    to: PathBuf,
}

impl New {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let request = GenerateFineTuningProject {
            base_model_config: base_model(session, self.base_model),
            project_name: self.name,
            output_dir: session.here(&self.to),
            description: self.description,
            ..GenerateFineTuningProject::default()
        };
        let response = session.workbench()?.generate_fine_tuning_project(request).await?;
        session.output.answer(&response, |paint| page(&response, paint))
    }
}

/// What is there as a folder, or written as a path, is one; anything else is an id on the Hub.
fn base_model(session: &Session, given: Option<String>) -> BaseModelConfig {
    let given = given.unwrap_or_default();
    let path = Path::new(&given);
    let folder = session.here(path);
    let is_path = !given.is_empty() && (folder.is_dir() || path.is_absolute() || given.starts_with('.'));
    // A folder has no id: its name would be that of another model on the Hub.
    let mut settings = BaseModelConfig::from([
        ("type", ModelType::Custom.as_str().into()),
        ("model_id", if is_path { "" } else { &given }.into()),
    ]);
    if is_path {
        settings.0.insert(String::from("local_path"), folder.to_string_lossy().into());
    }
    settings
}

/// A step that names an operation and its command, by its command alone.
fn as_commands(step: &str) -> String {
    let by_command =
        |step: String, operation: &Entry| step.replace(&format!(" {}, or `", operation.name), " `");
    OPERATIONS.iter().fold(step.to_owned(), by_command)
}

fn page(response: &GenerateFineTuningProjectResponse, paint: Paint) -> String {
    let mut lines = vec![format!("made the project {}", response.project_path.display())];
    lines.extend(response.project_structure.iter().map(|entry| paint.faint(format!("  {entry}"))));
    lines.extend(
        response.not_available_yet.iter().map(|what| paint.doubtful(format!("not available yet: {what}"))),
    );
    lines.push(paint.heading("next"));
    let folder = command_line::word(&response.project_path.to_string_lossy());
    lines.push(format!("  go there: `cd {folder}`"));
    lines.extend(response.next_steps.iter().map(|step| format!("  {}", as_commands(step))));
    lines.join("\n")
}
