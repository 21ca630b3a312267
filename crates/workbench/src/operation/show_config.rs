//! The settings in force, each with where it came from.

use std::path::PathBuf;

use greentune_core_config::{Problem, availability::unavailable, resolve::SettingRow, settings::Settings};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Result, Workbench};

/// Show the settings.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ShowConfig {
    /// Path of the project; user file, environment and arguments alone when absent.
    pub project_path: Option<PathBuf>,
    /// Settings on top, by dotted key or nested.
    pub override_params: Option<serde_json::Map<String, serde_json::Value>>,
}

/// The settings in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ShowConfigResponse {
    /// Every setting by dotted key, with its source.
    pub rows: Vec<SettingRow>,
    /// The same as one structure.
    pub settings: Settings,
    /// What the settings ask for that this version does not have; a run with it is refused.
    pub not_available_yet: Vec<Problem>,
}

impl Workbench {
    /// Resolves the settings layer by layer; all problems are reported at once.
    pub async fn show_config(&self, request: ShowConfig) -> Result<ShowConfigResponse> {
        self.blocking(move |workbench| {
            let project =
                request.project_path.as_deref().map(|path| workbench.open_project(path)).transpose()?;
            let resolved = workbench.resolve_settings(project.as_ref(), request.override_params)?;
            Ok(ShowConfigResponse {
                rows: resolved.rows(),
                not_available_yet: unavailable(&resolved.settings),
                settings: resolved.settings,
            })
        })
        .await
    }
}
