//! Files of energy and carbon: CodeCarbon's CSV with what is added up of it, its sidecar, tables of factors.
#![no_main]

use std::{fs, sync::LazyLock};

use greentune_carbon::{
    aggregate::aggregate_paths, calibration::Calibration, codecarbon, equivalence::EquivalenceTable, sidecar,
    summary,
};
use greentune_fuzz::Scratch;
use libfuzzer_sys::fuzz_target;

static SCRATCH: LazyLock<Scratch> = LazyLock::new(Scratch::new);

fuzz_target!(|data: &[u8]| {
    let Some((form, data)) = data.split_first() else { return };
    match form % 4 {
        0 => csv(data),
        1 => drop(sidecar::read(&SCRATCH.write("run_provenance.json", data))),
        2 => drop(EquivalenceTable::read(&SCRATCH.write("factors.toml", data))),
        _ => {
            if let Ok(calibration) = Calibration::read(&SCRATCH.write("calibration.json", data)) {
                calibration.fit();
            }
        }
    }
});

fn csv(data: &[u8]) {
    let path = SCRATCH.write("run_stage1_emissions.csv", data);
    let factors = EquivalenceTable::default();
    let last = codecarbon::last(&path).ok().flatten();
    let _ = codecarbon::runs(&path);
    let paths = [path.clone()];
    if let Ok(total) = aggregate_paths(&paths, &factors) {
        assert!(serde_json::to_string(&total).is_ok());
    }
    if let Ok(summary) = summary::summarize_paths(&paths, &factors) {
        assert!(serde_json::to_string(&summary).is_ok());
    }
    if let (Some(last), Ok(before)) = (last, codecarbon::read(&path)) {
        let aside = codecarbon::append(&path, &last).expect("a file that was read can be appended to");
        let after = codecarbon::read(&path).expect("what was appended can be read");
        assert_eq!(after.len(), if aside.is_some() { 1 } else { before.len() + 1 });
        for path in aside {
            let _ = fs::remove_file(path);
        }
    }
}
