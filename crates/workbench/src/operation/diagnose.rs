//! What this installation can do here.

use std::path::{Path, PathBuf};

use greentune_carbon::{
    Meter, MeterConfig,
    intensity::{GridSource, Place},
};
use greentune_core_config::{
    Basis, Diagnostic, Suggestion,
    emissions::{ComponentProvenance, EmissionsProvenance},
    quantities::{counted, number},
    settings::CarbonSettings,
    task::{DeviceReport, WorkerAnswer, WorkerTask},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{HubSettings, Result, Workbench, WorkbenchError, engine::wrong_answer, leftovers::Leftover};

/// Free space below which it is worth a warning, in GB of 10^9 bytes.
const LEAST_FREE_GB: f64 = 2.0;

/// Look at the installation.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Diagnose {
    /// A project to look at as well.
    pub project_path: Option<PathBuf>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DiagnoseResponse {
    /// Version of greentune.
    pub version: String,
    /// Whether no check failed.
    pub success: bool,
    /// Devices that training can run on.
    pub devices: Vec<DeviceReport>,
    /// The checks, in a fixed order.
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// What was looked at: `worker`, `energy counters`, `home`, `disk`, `state store`, `hub`, `project`, …
    pub name: String,
    /// How it stands.
    pub status: CheckStatus,
    /// What was found.
    pub detail: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<String>,
    /// Operations that help.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub suggestions: Vec<Suggestion>,
}

/// How a check stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckStatus {
    /// As it should be.
    Ok,
    /// Works, with a limitation.
    Warning,
    /// Something will not work.
    Failed,
}

impl Workbench {
    /// Looks at version, worker, devices, energy counters, folders, disk and the index of runs.
    ///
    /// What is found wrong is a failed check, not an error.
    pub async fn diagnose(&self, request: Diagnose) -> Result<DiagnoseResponse> {
        // Asking a worker removes what is left.
        let left = self.blocking(|workbench| Ok(workbench.leftovers())).await?;
        let (devices, worker) = match self.ask_worker(&WorkerTask::ProbeDevices).await {
            Ok(WorkerAnswer::Devices { devices }) => {
                let usable = devices.iter().filter(|device| device.available).map(|device| &*device.device);
                let usable = usable.collect::<Vec<_>>().join(", ");
                (devices, Check::ok("worker", format!("starts; devices that can train: {usable}")))
            }
            Ok(_) => (Vec::new(), Check::failed("worker", &wrong_answer("probe devices"))),
            Err(error) => (Vec::new(), Check::failed("worker", &error)),
        };
        let mut checks = vec![worker];
        let look = move |workbench: &Self| Ok(workbench.check_surroundings(&request, &left));
        checks.extend(self.blocking(look).await?);
        Ok(DiagnoseResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            success: checks.iter().all(|check| check.status != CheckStatus::Failed),
            devices,
            checks,
        })
    }

    fn check_surroundings(&self, request: &Diagnose, left: &[Leftover]) -> Vec<Check> {
        let mut checks = vec![
            check_energy(),
            self.check_home(),
            self.check_disk(),
            self.check_store(),
            check_leftovers(left),
            self.check_settings(),
            self.check_hub(),
        ];
        if let Some(path) = &request.project_path {
            checks.push(self.check_project(path));
        }
        checks
    }

    fn check_home(&self) -> Check {
        let home = &self.config().home;
        let write = || {
            std::fs::create_dir_all(home).map_err(WorkbenchError::file("create", home))?;
            tempfile::tempfile_in(home).map_err(WorkbenchError::file("write to", home))
        };
        match write() {
            Ok(_) => Check::ok("home", format!("{} can be written", home.display())),
            Err(error) => Check::failed("home", &error),
        }
    }

    #[cfg(unix)]
    fn check_disk(&self) -> Check {
        let home = &self.config().home;
        match rustix::fs::statvfs(home) {
            Ok(disk) => {
                let free_gb = disk.f_bavail as f64 * disk.f_frsize as f64 / 1e9;
                let detail = format!("{free_gb:.1} GB free at {}", home.display());
                if free_gb >= LEAST_FREE_GB {
                    return Check::ok("disk", detail);
                }
                let hint = "checkpoints and exports need space: free some";
                Check::new("disk", CheckStatus::Warning, detail).with_hint(hint)
            }
            Err(error) => Check::failed("disk", &WorkbenchError::file("look at", home)(error.into())),
        }
    }

    #[cfg(not(unix))]
    fn check_disk(&self) -> Check {
        Check::new("disk", CheckStatus::Warning, String::from("free space is not looked at on this system"))
    }

    fn check_store(&self) -> Check {
        let count = || {
            let store = self.job_store()?;
            let known = format!("{} knows {} runs", store.path().display(), store.all()?.len());
            Ok((known, store.remark().map(str::to_owned)))
        };
        match count() {
            Ok((known, None)) => Check::ok("state store", known),
            Ok((known, Some(remark))) => {
                Check::new("state store", CheckStatus::Warning, format!("{known}; {remark}"))
            }
            Err(error) => Check::failed("state store", &error),
        }
    }

    fn check_settings(&self) -> Check {
        let settings = self.resolve_settings(None, None);
        Check::of("settings", settings.map(|_| String::from("user file, environment and flags are valid")))
    }

    /// What downloads would use; the Hub is not asked, and the token not shown.
    fn check_hub(&self) -> Check {
        let HubSettings { cache, endpoint, token, offline, .. } = &self.config().hub;
        let token = match token {
            Some(token) => format!("a token from {}", token.source()),
            None => String::from("no token"),
        };
        let offline = if *offline { ", offline (HF_HUB_OFFLINE)" } else { "" };
        Check::ok("hub", format!("{endpoint} with {token}{offline}; cache {}", cache.display()))
    }

    fn check_project(&self, path: &Path) -> Check {
        let look = || -> Result<(String, Vec<String>)> {
            let project = self.open_project(path)?;
            let settings = self.usable_settings(&project, None)?.settings;
            let root = project.root().display();
            let Some(model) = self.base_model_here(&settings)? else {
                let id = &settings.base_model.model_id;
                let detail =
                    format!("{root} is valid; base model {id} is downloaded when a run is configured");
                return Ok((detail, Vec::new()));
            };
            let (architecture, folder) = (model.architecture, model.folder.display());
            Ok((format!("{root} is valid; base model {architecture} at {folder}"), model.notes))
        };
        match look() {
            Ok((detail, notes)) if notes.is_empty() => Check::ok("project", detail),
            Ok((detail, notes)) => {
                Check::new("project", CheckStatus::Warning, format!("{detail}; {}", notes.join("; ")))
            }
            Err(error) => Check::failed("project", &error),
        }
    }
}

/// Folders that killed processes had left, and whether they are gone now.
fn check_leftovers(left: &[Leftover]) -> Check {
    if left.is_empty() {
        return Check::ok("leftovers", String::from("no killed process left anything"));
    }
    let bytes: u64 = left.iter().map(|leftover| leftover.bytes).sum();
    let folders: Vec<_> = left.iter().map(|leftover| leftover.folder.display().to_string()).collect();
    let what = format!(
        "{} of killed processes ({} MB): {}",
        counted(left.len() as u64, "folder"),
        number(bytes as f64 / 1e6),
        folders.join(", ")
    );
    if left.iter().any(|leftover| leftover.folder.exists()) {
        let check = Check::new("leftovers", CheckStatus::Warning, format!("cannot remove {what}"));
        return check.with_hint("remove them by hand");
    }
    Check::new("leftovers", CheckStatus::Warning, format!("removed {what}"))
}

/// What the energy of this machine would be counted with.
fn check_energy() -> Check {
    let grid = GridSource::yearly(&Place::from(&CarbonSettings::default()));
    let config = MeterConfig::new("doctor", "doctor", grid);
    match Meter::start(config) {
        Ok(meter) => energy_found(&meter.provenance()),
        Err(error) => Check::failed("energy counters", &WorkbenchError::reported(error)),
    }
}

fn energy_found(provenance: &EmissionsProvenance) -> Check {
    let method = |part: &ComponentProvenance| format!("{}: {}", part.component, part.method);
    let found = provenance.components.iter().map(method).chain(provenance.notes.iter().cloned());
    let detail = found.collect::<Vec<_>>().join("; ");
    let measured =
        provenance.components.iter().any(|part| part.component != "ram" && part.basis == Basis::Measured);
    if measured {
        return Check::ok("energy counters", detail);
    }
    Check::new("energy counters", CheckStatus::Warning, detail)
        .with_hint("no hardware counter can be read: energy is modelled from time and load, and labelled so")
}

impl Check {
    fn new(name: &str, status: CheckStatus, detail: String) -> Self {
        Self { name: name.to_owned(), status, detail, hint: None, suggestions: Vec::new() }
    }

    fn ok(name: &str, detail: String) -> Self {
        Self::new(name, CheckStatus::Ok, detail)
    }

    fn failed(name: &str, error: &WorkbenchError) -> Self {
        let problem = error.problem();
        Self {
            hint: problem.hint.clone(),
            suggestions: problem.suggestions.clone(),
            ..Self::new(name, CheckStatus::Failed, problem.to_string())
        }
    }

    fn of(name: &str, found: Result<String>) -> Self {
        found.map_or_else(|error| Self::failed(name, &error), |detail| Self::ok(name, detail))
    }

    fn with_hint(mut self, hint: &str) -> Self {
        self.hint = Some(hint.to_owned());
        self
    }
}
