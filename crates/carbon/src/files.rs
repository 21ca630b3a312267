//! The files of a run's emissions: CodeCarbon's CSV and the sidecar beside it.

pub mod codecarbon;
pub(crate) mod durable;
pub(crate) mod machine_time;
pub mod sidecar;
pub(crate) mod small;
