//! Which run somebody means: by its id, its name, or the beginning of either.

use greentune_core_config::{ids, layout::RunLayout};

use crate::{Result, WorkbenchError, job_store::unknown_run};

/// The run of `known` that `named` means: the one with that id, else with that name, else whose id begins so.
///
/// Errors: no run is meant (with the nearest ids), or several are (with their ids, the newest first).
pub(crate) fn named_run(known: &[RunLayout], named: &str) -> Result<RunLayout> {
    let ids: Vec<String> = known.iter().map(RunLayout::run_id).collect();
    let meant: [&dyn Fn(&str) -> bool; 3] = [&|id| id == named, &|id| ids::name_of_run(id) == named, &|id| {
        !named.is_empty() && id.starts_with(named)
    }];
    for is_meant in meant {
        let found: Vec<_> = known.iter().zip(&ids).filter(|(_, id)| is_meant(id)).collect();
        match found.as_slice() {
            [] => {}
            [(run, _)] => return Ok((*run).clone()),
            several => return Err(ambiguous(named, several)),
        }
    }
    Err(unknown_run(named, known))
}

fn ambiguous(named: &str, several: &[(&RunLayout, &String)]) -> WorkbenchError {
    let mut candidates: Vec<&String> = several.iter().map(|(_, id)| *id).collect();
    let moment = |id: &str| id[ids::name_of_run(id).len()..].to_owned();
    candidates.sort_by_key(|id| std::cmp::Reverse((moment(id), (*id).clone())));
    candidates.dedup();
    if let [only] = candidates.as_slice() {
        let projects = several.iter().map(|(run, _)| run.project().root().to_owned()).collect();
        return WorkbenchError::AmbiguousRun { run_id: (*only).clone(), projects };
    }
    WorkbenchError::AmbiguousName {
        named: named.to_owned(),
        candidates: candidates.into_iter().cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(named: &str) -> std::result::Result<String, String> {
        let known = [
            "/p/runs/health-20260101-000000",
            "/p/runs/health-20260102-000000",
            "/p/runs/health2-20260103-000000",
            "/p/runs/digits-20260104-000000",
        ];
        let known: Vec<_> = known.into_iter().filter_map(RunLayout::at).collect();
        named_run(&known, named).map(|run| run.run_id()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_id_a_name_and_a_beginning_name_a_run() {
        for named in ["digits-20260104-000000", "digits", "dig", "digits-2026"] {
            assert_eq!(meant(named).as_deref(), Ok("digits-20260104-000000"), "{named}");
        }
        assert_eq!(meant("health2").as_deref(), Ok("health2-20260103-000000"));
        assert_eq!(meant("health-20260101").as_deref(), Ok("health-20260101-000000"));
    }

    #[test]
    fn several_are_listed_the_newest_first() {
        assert_eq!(
            meant("health").unwrap_err(),
            "\"health\" names several runs: health-20260102-000000, health-20260101-000000"
        );
        assert_eq!(
            meant("heal").unwrap_err(),
            "\"heal\" names several runs: health2-20260103-000000, health-20260102-000000, health-20260101-000000"
        );
        assert!(meant("").unwrap_err().starts_with("no run"));
    }
}
