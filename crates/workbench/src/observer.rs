//! Who is told what an operation does while it is awaited.

use std::path::PathBuf;

use greentune_core_config::{
    generation::GenerationNote,
    port::{NoReporter, TransferReporter},
};

/// Who is told what an operation does while it is awaited; a front end implements it.
pub trait Observer: TransferReporter {
    /// The operation waits for the end of a run that has begun, and whose events can be followed.
    fn awaits_run(&self, _run: &AwaitedRun) {}

    /// The operation has started a program that is not greentune's own, with this process id.
    fn started_program(&self, _pid: u32) {}

    /// A model writes text.
    fn generates(&self, _note: &GenerationNote) {}

    /// Something that the user should know, though the operation goes on.
    fn remark(&self, _text: &str) {}
}

impl Observer for NoReporter {}

/// A run whose end an operation waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwaitedRun {
    /// The project.
    pub project_path: PathBuf,
    /// Id of the run.
    pub run_id: String,
    /// The stage that is trained; all of them when absent.
    pub stage: Option<u8>,
}
