//! Records as JSON lines or as one JSON document, to examples.
#![no_main]

use std::sync::LazyLock;

use greentune_fuzz::{Scratch, read_records, settings, with_encoder};
use libfuzzer_sys::fuzz_target;

static SCRATCH: LazyLock<Scratch> = LazyLock::new(Scratch::new);

fuzz_target!(|data: &[u8]| {
    let Some((form, data)) = data.split_first() else { return };
    let name = ["data.jsonl", "data.json", "data.jsonl.gz", "data"][usize::from(form & 3)];
    let path = SCRATCH.write(name, data);
    with_encoder(form & 4 == 0, |encoder| read_records(&path, &settings(), encoder, &SCRATCH));
});
