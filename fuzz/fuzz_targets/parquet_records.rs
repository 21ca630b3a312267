//! Records as Parquet, to examples.
#![no_main]

use std::sync::LazyLock;

use greentune_fuzz::{Scratch, allow_caught_panics, read_records, settings, with_encoder};
use libfuzzer_sys::fuzz_target;

static SCRATCH: LazyLock<Scratch> = LazyLock::new(Scratch::new);

fuzz_target!(init: allow_caught_panics(), |data: &[u8]| {
    let path = SCRATCH.write("data.parquet", data);
    with_encoder(false, |encoder| read_records(&path, &settings(), encoder, &SCRATCH));
});
