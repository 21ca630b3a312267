//! A run's folder: who writes it, and what it says.
//!
//! A worker writes it through [`RunWriter`]: one lock, numbered events, the manifest, a heartbeat. Everybody else reads it
//! through [`RunView`], which costs only what is new at each look, or through [`Run`], which has every event. Nobody else
//! opens `run-manifest.json` or `events.jsonl`.
//!
//! One rule holds for damage in `events.jsonl`: a line that cannot be read is skipped and mentioned once, and the rest is
//! read. An unreadable last line is one that is being written, or that a crash tore; the next worker cuts it off.

mod cursor;
mod error;
mod event_log;
mod fold;
mod heartbeat;
pub mod json;
pub mod lock;
pub mod manifest;
mod mirror;
mod numbers;
mod progress;
mod run;
mod samples;
mod series;
mod status;
mod summary;
mod view;
mod writer;

pub use error::{Result, RunFolderError};
pub use event_log::{EventReader, NewEvents, read_after};
pub use fold::new_record;
pub use heartbeat::{HEARTBEAT, MemoryBeat, last_memory};
pub use mirror::append_mirrored;
pub use progress::{overall_pace, records_per_step, remaining_seconds};
pub use run::{Run, record_of, trained_stage};
pub use series::{Buckets, EvaluatedAt, Part, RunSeries, StageSpan, sampled_losses};
pub use status::{Liveness, LocalLiveness, QUEUED_AT_MOST, locally_active, terminal_status, without_worker};
pub use summary::{RunSummary, StageProgress, progress_percentage};
pub use view::{Evaluation, RunView};
pub use writer::{RunWriter, clear_cancel_request, request_cancel};
