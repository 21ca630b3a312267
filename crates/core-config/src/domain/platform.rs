//! Where runs are trained, and what is said of a job there. The port is [`crate::port::Platform`].

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::choice;

/// Where a run can be trained.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-not-available-yet" = ["kaggle", "huggingface", "ray"]))]
pub enum PlatformKind {
    /// A worker process on this machine.
    #[default]
    Local,
    /// A Kaggle notebook.
    Kaggle,
    /// A job of the Hugging Face Hub.
    Huggingface,
    /// A job on a Ray cluster.
    Ray,
}

impl PlatformKind {
    /// Every platform, in the order in which they are listed.
    pub const ALL: [Self; 4] = [Self::Local, Self::Kaggle, Self::Huggingface, Self::Ray];

    /// The platform as it is written in files and requests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Kaggle => "kaggle",
            Self::Huggingface => "huggingface",
            Self::Ray => "ray",
        }
    }
}

impl std::fmt::Display for PlatformKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for PlatformKind {
    type Err = String;

    /// Errors: the names that are allowed, in a sentence.
    fn from_str(name: &str) -> Result<Self, String> {
        let names = Self::ALL.map(Self::as_str).join(", ");
        let meant = choice::meant(Self::ALL.map(Self::as_str), name);
        let found = Self::ALL.into_iter().find(|kind| Some(kind.as_str()) == meant);
        found.ok_or_else(|| format!("found {name:?}; allowed: {names}"))
    }
}

/// A run's job, as the manifest keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Job {
    /// Where the run trains.
    pub kind: PlatformKind,
    /// The job's id on the platform; absent before the run is started, and on this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
    /// The page that shows the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// When the platform took the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub submitted_at: Option<Timestamp>,
}

impl Job {
    /// A run of `kind` that has not been started.
    pub fn on(kind: PlatformKind) -> Self {
        Self { kind, ..Self::default() }
    }
}

/// Both forms that files have: manifests of format 1 hold the name alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum WrittenJob {
    Name(PlatformKind),
    Record {
        kind: PlatformKind,
        #[serde(default)]
        job_id: Option<String>,
        #[serde(default)]
        url: Option<String>,
        #[serde(default)]
        submitted_at: Option<Timestamp>,
    },
}

impl<'de> Deserialize<'de> for Job {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match WrittenJob::deserialize(deserializer)? {
            WrittenJob::Name(kind) => Self::on(kind),
            WrittenJob::Record { kind, job_id, url, submitted_at } => {
                Self { kind, job_id, url, submitted_at }
            }
        })
    }
}

/// What a platform says of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobState {
    /// It waits for a worker.
    Queued,
    /// A worker is at work.
    Running,
    /// The worker has ended. How, the run's events say; where they do not, it was interrupted.
    Ended,
    /// The platform does not know the job (any more).
    Missing,
}

/// What a platform can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Capabilities {
    /// A job can be ended before its time.
    pub cancel: bool,
    /// A run that ended early can go on from its last checkpoint.
    pub resume: bool,
    /// Events come while training; else they come with the results.
    pub follow: bool,
}

/// What training a run would take on a platform.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Quote {
    /// Seconds of training; absent when nothing comparable is known.
    pub seconds: Option<f64>,
    /// Price in US dollars; absent when it is not known, 0 where nobody is charged.
    pub price_usd: Option<f64>,
    /// What the figures rest on, in a sentence.
    pub basis: String,
}

/// A job that a platform has taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Submitted {
    /// What the manifest keeps of it.
    pub job: Job,
    /// Process id of the worker, where it is a process of this machine.
    pub pid: Option<u32>,
}

/// What is known of a worker that ended without saying why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastWords {
    /// Its exit status in words; absent where it is not known.
    pub exit: Option<String>,
    /// The end of its log.
    pub log_tail: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_of_both_formats_are_read() {
        let job: Job = serde_json::from_str("\"local\"").unwrap();
        assert_eq!(job, Job::on(PlatformKind::Local));
        let written = Job {
            kind: PlatformKind::Ray,
            job_id: Some(String::from("raysubmit_1")),
            url: Some(String::from("http://127.0.0.1:8265/#/jobs/raysubmit_1")),
            submitted_at: Some(Timestamp::UNIX_EPOCH),
        };
        let text = serde_json::to_string(&written).unwrap();
        assert_eq!(serde_json::from_str::<Job>(&text).unwrap(), written);
        assert!(serde_json::from_str::<Job>("\"moon\"").is_err());
    }

    #[test]
    fn a_platform_is_named_as_it_is_written() {
        for kind in PlatformKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        assert!("moon".parse::<PlatformKind>().unwrap_err().contains("local, kaggle"));
    }
}
