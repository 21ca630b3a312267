//! One test binary: parity with the reference, the operations against their oracle, training.

mod oracle;
mod reference;
