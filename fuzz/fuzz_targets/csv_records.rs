//! Records as CSV, to examples.
#![no_main]

use std::sync::LazyLock;

use greentune_fuzz::{Scratch, read_records, settings, with_encoder};
use libfuzzer_sys::fuzz_target;

static SCRATCH: LazyLock<Scratch> = LazyLock::new(Scratch::new);

fuzz_target!(|data: &[u8]| {
    let path = SCRATCH.write("data.csv", data);
    with_encoder(false, |encoder| read_records(&path, &settings(), encoder, &SCRATCH));
});
