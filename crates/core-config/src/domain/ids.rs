//! Names of projects and runs, ids of runs, and what somebody may have meant by an unknown one.

use jiff::{Timestamp, tz::TimeZone};

use crate::{Problem, ProblemKind};

/// The longest name, in characters.
pub const LONGEST_NAME: usize = 64;

/// The longest part of a model's id on the Hub, in characters.
const LONGEST_MODEL_NAME: usize = 96;

/// The longest revision that is accepted; git itself allows about as much as a file name.
const LONGEST_REVISION: usize = 200;

/// Names that Windows keeps for devices, with or without an ending
/// (<https://learn.microsoft.com/windows/win32/fileio/naming-a-file>).
const DEVICES: &[&str] = &[
    "con", "prn", "aux", "nul", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9",
    "lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
];

/// Checks the name of a project: it names a folder on every system.
///
/// Errors: a problem `name.invalid` at the key `project_name`.
pub fn check_project_name(name: &str) -> Result<(), Problem> {
    check_name(name, "project name", "project_name", LONGEST_NAME)
}

/// Checks the name of a run: it begins the name of a folder on every system.
///
/// Errors: a problem `name.invalid` at the key `run_name`.
pub fn check_run_name(name: &str) -> Result<(), Problem> {
    check_name(name, "run name", "run_name", LONGEST_NAME)
}

/// Checks an id of a run before it is looked up: one folder name, so that it cannot lead out of `runs/`.
///
/// Errors: a problem `name.invalid` at the key `run_id`.
pub fn check_run_id(run_id: &str) -> Result<(), Problem> {
    check_name(run_id, "run id", "run_id", LONGEST_NAME + "-YYYYMMDD-HHMMSS".len())
}

/// Checks the id of a model on the Hugging Face Hub: `organisation/name`, or `name` alone.
///
/// The rules are those of the official client (`huggingface_hub.utils.validate_repo_id`); they also keep an id from
/// leading out of the cache's folder.
///
/// Errors: a problem `model.id` at the key `base_model.model_id`.
pub fn check_model_id(id: &str) -> Result<(), Problem> {
    let part = |part: &str| {
        (1..=LONGEST_MODEL_NAME).contains(&part.len())
            && part.chars().all(is_allowed)
            && !part.starts_with(['.', '-'])
            && !part.ends_with(['.', '-'])
    };
    let is_fine = id.split('/').count() <= 2
        && id.split('/').all(part)
        && !id.contains("--")
        && !id.contains("..")
        && id.rsplit('.').next() != Some("git");
    if is_fine {
        return Ok(());
    }
    let message = format!(
        "found {:?}; allowed: the id of a model on the Hugging Face Hub, such as allenai/OLMo-2-0425-1B: an \
         organisation, a slash and a name of A-Z a-z 0-9 . _ -, without -- or .. and not ending with .git",
        shortened(id)
    );
    Err(Problem::new(ProblemKind::InvalidInput, "model.id", message)
        .at_key("base_model.model_id")
        .with_hint("for a model in a folder set base_model.local_path"))
}

/// Checks the revision of a model on the Hugging Face Hub: a branch, a tag or a commit.
///
/// Errors: a problem `model.revision` at the key `base_model.revision`.
pub fn check_revision(revision: &str) -> Result<(), Problem> {
    let is_fine = (1..=LONGEST_REVISION).contains(&revision.len())
        && revision.chars().all(|character| is_allowed(character) || matches!(character, '/' | '+'))
        && revision.split('/').all(|part| !part.is_empty() && !part.starts_with(['.', '-']))
        && !revision.contains("..");
    if is_fine {
        return Ok(());
    }
    let message = format!(
        "found {:?}; allowed: a branch, a tag or a commit, such as main or a full 40-digit commit id",
        shortened(revision)
    );
    Err(Problem::new(ProblemKind::InvalidInput, "model.revision", message).at_key("base_model.revision"))
}

/// The id of the run `name` configured at `at`: `{name}-{YYYYMMDD-HHMMSS}` in UTC.
pub fn run_id(name: &str, at: Timestamp) -> String {
    format!("{name}-{}", at.to_zoned(TimeZone::UTC).strftime("%Y%m%d-%H%M%S"))
}

/// The name in a run's id: what stands before the moment of its configuration; the whole id when it has none.
pub fn name_of_run(run_id: &str) -> &str {
    let Some(length) = run_id.len().checked_sub("-YYYYMMDD-HHMMSS".len()) else { return run_id };
    let is_moment = |moment: &str| {
        moment.bytes().enumerate().all(|(at, byte)| match at {
            0 | 9 => byte == b'-',
            _ => byte.is_ascii_digit(),
        })
    };
    match run_id.split_at_checked(length) {
        Some((name, moment)) if is_moment(moment) => name,
        _ => run_id,
    }
}

/// Up to three of `names` that somebody who wrote `wanted` may have meant, the nearest first.
///
/// A name that contains `wanted` is nearest of all; else the normalised Damerau-Levenshtein similarity decides.
pub fn nearest<'a>(names: impl IntoIterator<Item = &'a str>, wanted: &str) -> Vec<&'a str> {
    const LEAST: f64 = 0.6;
    // Names much less alike than the best one only make the list longer.
    const WITHIN: f64 = 0.05;
    const MOST: usize = 3;
    let wanted = wanted.to_lowercase();
    let length = wanted.chars().count();
    let similarity = |name: &str| {
        let name = name.to_lowercase();
        if length > 2 && name.contains(&wanted) {
            return 1.0;
        }
        // Texts of such different lengths cannot be alike enough; a long one would take long to be compared.
        let its = name.chars().count();
        let most_alike = its.min(length) as f64 / its.max(length).max(1) as f64;
        if most_alike < LEAST { 0.0 } else { strsim::normalized_damerau_levenshtein(&name, &wanted) }
    };
    let mut near: Vec<_> = names.into_iter().map(|name| (similarity(name), name)).collect();
    near.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let best = near.first().map_or(0.0, |(similarity, _)| *similarity);
    near.retain(|(similarity, _)| *similarity >= LEAST.max(best - WITHIN));
    near.into_iter().map(|(_, name)| name).take(MOST).collect()
}

fn check_name(name: &str, what: &str, key: &str, longest: usize) -> Result<(), Problem> {
    let stem = name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let is_fine = (1..=longest).contains(&name.len())
        && name.chars().all(is_allowed)
        && !name.starts_with(['.', '-'])
        && !name.ends_with('.')
        && !DEVICES.contains(&stem.as_str());
    if is_fine {
        return Ok(());
    }
    let found = shortened(name);
    let message = format!(
        "the {what} {found:?} cannot name a folder; allowed: 1 to {longest} of A-Z a-z 0-9 . _ -, not beginning with . \
         or -, not ending with ., and no device name of Windows such as con or nul"
    );
    Err(Problem::new(ProblemKind::InvalidInput, "name.invalid", message).at_key(key))
}

/// `text`, cut where it would only make a message long.
fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(LONGEST_NAME).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

fn is_allowed(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_cannot_be_folders_are_refused() {
        let longest = "n".repeat(LONGEST_NAME);
        for name in ["a", "olmo-2_health.v1", "console", "0", &longest] {
            assert_eq!(check_project_name(name), Ok(()), "{name}");
            assert_eq!(check_run_name(name), Ok(()), "{name}");
        }
        let too_long = "n".repeat(LONGEST_NAME + 1);
        for name in [
            "", ".", "..", ".hidden", "-flag", "a/b", "a\\b", "a b", "é", "a\0", "dot.", "CON", "nul.txt",
            &too_long,
        ] {
            let problem = check_run_name(name).unwrap_err();
            assert_eq!(
                (problem.code.as_str(), problem.kind),
                ("name.invalid", ProblemKind::InvalidInput),
                "{name}"
            );
        }
        insta::assert_snapshot!(check_project_name("../x").unwrap_err(), @r#"project_name: the project name "../x" cannot name a folder; allowed: 1 to 64 of A-Z a-z 0-9 . _ -, not beginning with . or -, not ending with ., and no device name of Windows such as con or nul"#);
    }

    #[test]
    fn run_ids_say_when_in_utc() {
        let at: Timestamp = "2026-03-01T23:05:09+02:00".parse().unwrap();
        assert_eq!(run_id("first", at), "first-20260301-210509");
    }

    #[test]
    fn a_run_id_is_one_folder_name() {
        assert_eq!(check_run_id(&run_id(&"n".repeat(LONGEST_NAME), Timestamp::UNIX_EPOCH)), Ok(()));
        assert_eq!(check_run_id("copied"), Ok(()));
        for id in ["", "..", "../other", "a/../../etc", "/etc/passwd-20260301-210509", "run-20260301/../../a"]
        {
            assert_eq!(check_run_id(id).unwrap_err().code, "name.invalid", "{id}");
        }
    }

    #[test]
    fn the_nearest_names_are_suggested() {
        let runs = ["demo-20260301-210509", "demo-20260302-080000", "health-20260301-210509"];
        assert_eq!(nearest(runs, "demo"), ["demo-20260301-210509", "demo-20260302-080000"]);
        assert_eq!(nearest(runs, "demo-20260301-210508")[0], "demo-20260301-210509");
        assert_eq!(nearest(runs, "Helth-20260301-210509"), ["health-20260301-210509"]);
        assert_eq!(nearest(runs, "zzz"), [""; 0]);
        assert_eq!(nearest(runs, ""), [""; 0]);
    }

    proptest! {
        #[test]
        fn a_run_with_a_good_name_has_a_good_id(name in "[A-Za-z0-9_][A-Za-z0-9._-]{0,63}", second in 0_i64..4_000_000_000) {
            prop_assume!(check_run_name(&name).is_ok());
            let id = run_id(&name, Timestamp::from_second(second).unwrap());
            prop_assert_eq!(check_run_id(&id), Ok(()));
            prop_assert_eq!(name_of_run(&id), name);
        }

        #[test]
        fn no_accepted_id_leads_anywhere_else(id in ".{0,40}") {
            if check_run_id(&id).is_ok() {
                let path = std::path::Path::new("runs").join(&id);
                prop_assert_eq!(path.parent(), Some(std::path::Path::new("runs")));
                prop_assert_eq!(path.file_name().and_then(|name| name.to_str()), Some(id.as_str()));
            }
        }
    }

    #[test]
    fn ids_of_models_are_those_that_the_hub_takes() {
        for id in ["gpt2", "allenai/OLMo-2-0425-1B", "a/b", "Org_1/name.v2", &"n".repeat(96)] {
            assert_eq!(check_model_id(id), Ok(()), "{id}");
        }
        for id in [
            "",
            "/",
            "a/",
            "/b",
            "a/b/c",
            "../b",
            "a/..",
            "a b",
            "a/b--c",
            ".a/b",
            "a/b.",
            "a/b.git",
            "a\\b",
            "https://huggingface.co/a/b",
            "é/b",
            &"n".repeat(97),
        ] {
            let problem = check_model_id(id).unwrap_err();
            assert_eq!(
                (problem.code.as_str(), problem.kind),
                ("model.id", ProblemKind::InvalidInput),
                "{id}"
            );
        }
    }

    #[test]
    fn revisions_stay_in_their_folder() {
        for revision in ["main", "v1.0", "refs/pr/1", "0123456789abcdef0123456789abcdef01234567"] {
            assert_eq!(check_revision(revision), Ok(()), "{revision}");
        }
        for revision in ["", "/etc", "a/../b", "..", "-x", "a b", "a\n", "a//b", ".git"] {
            assert_eq!(check_revision(revision).unwrap_err().code, "model.revision", "{revision:?}");
        }
    }
}
