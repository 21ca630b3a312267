//! One test binary: the reference, the operations, the backends, whole runs, bad input.

mod backends;
mod bad_input;
mod families;
mod images;
mod oracle;
mod plan;
mod reference;
mod run;
mod sparse_runs;
mod spellings;
mod tune;
mod vision_reference;
