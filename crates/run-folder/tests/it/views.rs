//! A run seen while it is written.

use std::fs;

use greentune_core_config::{
    Problem, ProblemKind,
    event::{Event, EventKind},
    manifest::RunStatus,
    platform::JobState,
};
use greentune_run_folder::{Liveness as _, LocalLiveness, Run, RunView, append_mirrored, manifest};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::json;

use crate::folder::{Folder, Says, append_line, stage_finished, started, step, whole_run};

fn open(folder: &Folder) -> RunView {
    RunView::open(folder.run.clone(), &LocalLiveness).unwrap()
}

#[test]
fn a_view_that_is_kept_says_what_a_new_one_says_at_every_event() {
    let folder = Folder::new();
    let mut writer = folder.writer();
    let mut kept = open(&folder);
    for event in whole_run() {
        writer.append(event).unwrap();
        kept.refresh(&LocalLiveness).unwrap();
        let new = open(&folder);
        assert_eq!(kept.manifest(), new.manifest());
        assert_eq!(kept.warnings(), new.warnings());
        assert_eq!(kept.evaluation(), new.evaluation());
        assert_eq!(kept.last_step(), new.last_step());
        assert_eq!(kept.last_seq(), new.last_seq());
        assert_eq!(kept.seconds_per_record(), new.seconds_per_record());
        let run = Run::read(folder.run.clone(), &LocalLiveness).unwrap();
        assert_eq!(run.seconds_per_record(), new.seconds_per_record());
        assert_eq!(run.manifest, *new.manifest());
    }
    assert_eq!(writer.finish(None).unwrap(), RunStatus::Completed);
    kept.refresh(&LocalLiveness).unwrap();
    assert_eq!(kept.status(), RunStatus::Completed);
    assert_eq!(kept.manifest(), open(&folder).manifest());
    assert!((kept.evaluation().unwrap().accuracy - 0.7).abs() < 1e-12);
    assert_eq!(kept.warnings(), ["mind the gap"]);
    assert!((kept.summary().progress_percentage - 100.0).abs() < 1e-12);
    assert_eq!(kept.device(), Some("fake"));
}

/// What a list of many runs shows of one, without its events, is what they say.
#[test]
fn the_manifest_of_a_run_that_has_ended_is_enough_for_a_summary_and_no_other_is() {
    let of_ended = |folder: &Folder| RunView::summary_of_ended(folder.run.clone()).unwrap();
    for (case, ended) in [
        ("whole", whole_run()),
        (
            "cancelled",
            [&whole_run()[..4], &[EventKind::Cancelled { stage: 1, step: 2, reason: None }]].concat(),
        ),
        // It says that it has finished, and stage 2 is not trained.
        ("unfinished", [&whole_run()[..8], &[EventKind::Finished { duration_seconds: 4.0 }]].concat()),
    ] {
        let folder = Folder::new();
        assert_eq!(of_ended(&folder), None, "{case}: it has yet to begin");
        let mut writer = folder.writer();
        for event in ended {
            writer.append(event).unwrap();
            assert_eq!(of_ended(&folder), None, "{case}: it is at work");
        }
        writer.finish(None).unwrap();
        assert_eq!(of_ended(&folder).as_ref(), Some(&open(&folder).summary()), "{case}");
        // A line in its middle cannot be read: then the manifest is believed in any case.
        let text = folder.events();
        fs::write(folder.run.events(), text.replacen("\"step\"", "\"?\"", 1)).unwrap();
        assert_eq!(of_ended(&folder).as_ref(), Some(&open(&folder).summary()), "{case}");
        // The end of the events is missing, or goes on: they have to be read.
        fs::write(folder.run.events(), &text[..text.len() - 9]).unwrap();
        assert_eq!(of_ended(&folder), None, "{case}");
        fs::write(folder.run.events(), &text).unwrap();
        let seq = 1 + open(&folder).last_seq().unwrap();
        append_line(&folder.run.events(), &Event { seq, at: Timestamp::now(), kind: started() });
        assert_eq!(of_ended(&folder), None, "{case}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn looks_at_any_time_end_in_the_same_view(looks in proptest::collection::vec(any::<bool>(), 18), cut in 0_usize..200) {
        let folder = Folder::new();
        let mut writer = folder.writer();
        let mut kept = open(&folder);
        for (event, look) in whole_run().into_iter().zip(looks) {
            writer.append(event).unwrap();
            if look {
                kept.refresh(&LocalLiveness).unwrap();
            }
        }
        writer.finish(None).unwrap();
        // The machine lost its power: the end of the file is gone.
        let text = folder.events();
        fs::write(folder.run.events(), &text[..text.len() - cut]).unwrap();
        kept.refresh(&LocalLiveness).unwrap();
        let new = open(&folder);
        prop_assert_eq!(kept.last_seq(), new.last_seq());
        prop_assert_eq!(kept.last_step(), new.last_step());
        prop_assert_eq!(kept.evaluation(), new.evaluation());
        prop_assert_eq!(kept.manifest(), new.manifest());
    }
}

#[test]
fn a_line_that_cannot_be_read_is_mentioned_once_and_the_rest_is_read() {
    let folder = Folder::new();
    let mut writer = folder.writer();
    writer.append(started()).unwrap();
    whole_run()[1..5].iter().for_each(|event| writer.append(event.clone()).unwrap());
    drop(writer);
    let text = folder.events().replacen("\"seq\":1", "\"seq\":?", 1).replacen("\"seq\":3", "\"seq\":?", 1);
    fs::write(folder.run.events(), &text).unwrap();
    let warning = "line 2 of events.jsonl cannot be read and was left out; every event behind it that can be read was read";
    let view = open(&folder);
    assert_eq!(view.warnings(), [warning]);
    assert_eq!(view.manifest().stages[0].steps_done, 3, "the last step counts");
    // The next worker says it in the log, once and for all.
    for _ in 0..2 {
        let mut writer = folder.writer();
        writer.append(started()).unwrap();
        drop(writer);
        assert_eq!(open(&folder).warnings(), [warning]);
    }
    assert!(folder.events().starts_with(text.split_inclusive('\n').next().unwrap()), "nothing was removed");
}

#[test]
fn figures_that_cannot_be_are_damage() {
    let folder = Folder::new();
    let mut writer = folder.writer();
    writer.append(started()).unwrap();
    whole_run()[1..5].iter().for_each(|event| writer.append(event.clone()).unwrap());
    drop(writer);
    let text = folder.events();
    let count = text.lines().count();
    let at = "2026-01-02T03:04:05Z";
    let emissions = |seconds: &str, kwh: &str| {
        format!(
            "{{\"seq\":{count},\"at\":\"{at}\",\"kind\":\"emissions\",\"stage\":1,\"duration_seconds\":{seconds},\
             \"energy_kwh\":{kwh},\"emissions_kg_co2\":0.1,\"power_w\":40.0,\"basis\":\"modelled\"}}\n"
        )
    };
    let energy = |line: &str| {
        let warning = format!(
            "{{\"seq\":{},\"at\":\"{at}\",\"kind\":\"warning\",\"code\":\"a\",\"message\":\"b\"}}\n",
            count + 1
        );
        fs::write(folder.run.events(), format!("{text}{line}{warning}")).unwrap();
        let view = open(&folder);
        let energy = view.manifest().stages[0].emissions.as_ref().map(|emissions| emissions.energy_kwh);
        (energy, view.damage().len())
    };
    assert_eq!(energy(&emissions("60.0", "0.5")), (Some(0.5), 0));
    for (seconds, kwh) in [("60.0", "-0.5"), ("-1", "0.5"), ("60.0", "1e308"), ("60.0", "1e999")] {
        let (found, damage) = energy(&emissions(seconds, kwh));
        assert!(found != Some(0.5) && found.is_none_or(|kwh| kwh >= 0.0), "{kwh}: {found:?}");
        assert_eq!(damage, 1, "{seconds} {kwh}");
    }
    // What no run can have is damage in its manifest too.
    let manifest = fs::read_to_string(folder.run.manifest()).unwrap();
    let change = |from: &str, to: &str| {
        let changed = manifest.replacen(from, to, 1);
        assert_ne!(changed, manifest, "{from}");
        fs::write(folder.run.manifest(), changed).unwrap();
        RunView::open(folder.run.clone(), &LocalLiveness).map(drop).unwrap_err().to_string()
    };
    let batch = change("\"batch_size\": ", "\"batch_size\": 1099511627776");
    assert!(batch.contains("settings.training.stage1.batch_size is 1099511627776"), "{batch}");
    let time = change("\"steps_done\": ", "\"duration_seconds\": -1.0, \"steps_done\": ");
    assert!(time.contains("stage 1 has a time"), "{time}");
}

#[test]
fn damage_in_the_middle_of_a_log_changes_nothing_of_a_run_that_has_ended() {
    let folder = Folder::new();
    let mut writer = folder.writer();
    for event in whole_run() {
        writer.append(event).unwrap();
    }
    writer.finish(None).unwrap();
    let (whole, text) = (open(&folder), folder.events());
    assert_eq!(whole.damage(), [""; 0]);
    let lines = text.lines().count();
    for number in 0..lines {
        let damage = |from: &str, to: &str| {
            let line = text.lines().nth(number).unwrap();
            text.replacen(line, &line.replacen(from, to, 1), 1)
        };
        let seq = format!("\"seq\":{number},");
        for damaged in [damage("{", "?"), damage(&seq, &format!("\"seq\":9{number}00,"))] {
            fs::write(folder.run.events(), damaged).unwrap();
            let view = open(&folder);
            assert_eq!(view.status(), RunStatus::Completed, "line {number}");
            assert_eq!(view.manifest().stages, whole.manifest().stages, "line {number}");
            assert!((view.summary().progress_percentage - 100.0).abs() < 1e-12, "line {number}");
            let is_last = number + 1 == lines;
            assert!(
                is_last || view.damage()[0].starts_with(&format!("line {} of", number + 1)),
                "{:?}",
                view.damage()
            );
            let run = Run::read(folder.run.clone(), &LocalLiveness).unwrap();
            assert!(run.events.len() + 1 >= lines && run.damage == view.damage());
        }
    }
}

#[test]
fn a_stage_whose_end_is_damaged_in_the_log_is_not_trained_again() {
    let folder = Folder::new();
    let mut writer = folder.writer();
    let ended = whole_run().iter().position(|kind| matches!(kind, EventKind::StageFinished { .. })).unwrap();
    whole_run()[..ended + 3].iter().for_each(|event| writer.append(event.clone()).unwrap());
    drop(writer); // killed
    let text = folder.events();
    let line = text.lines().nth(ended).unwrap();
    fs::write(folder.run.events(), text.replacen(line, &line.replacen('{', "?", 1), 1)).unwrap();
    assert_eq!(open(&folder).manifest().stages[0].status, RunStatus::Completed);
    assert_eq!(folder.writer().manifest().stages[0].status, RunStatus::Completed);
}

#[test]
fn a_run_that_says_that_it_finished_with_an_untrained_stage_is_interrupted() {
    let folder = Folder::new();
    for (seq, kind) in
        [started(), stage_finished(1), EventKind::Finished { duration_seconds: 1.0 }].iter().enumerate()
    {
        let event = Event { seq: seq as u64, at: Timestamp::now(), kind: kind.clone() };
        append_line(&folder.run.events(), &event);
    }
    folder.change(|manifest| manifest["status"] = json!("running"));
    let view = open(&folder);
    assert_eq!(view.status(), RunStatus::Interrupted);
    assert_eq!(view.manifest().problem.as_ref().unwrap().code, "run.unfinished");
    // Only the first stage was asked for.
    folder.change(|manifest| manifest["requested_stages"] = json!([1]));
    assert_eq!(open(&folder).status(), RunStatus::Completed);
    folder.change(|manifest| {
        manifest["requested_stages"] = json!([2]);
        manifest["status"] = json!("completed");
    });
    assert_eq!(open(&folder).status(), RunStatus::Interrupted);
}

#[test]
fn a_run_is_called_as_its_folder_whatever_its_manifest_says() {
    let folder = Folder::new();
    folder.change(|manifest| manifest["run_id"] = json!("../../\u{1b}[31mother"));
    assert_eq!(open(&folder).manifest().run_id, folder.run.run_id());
    assert_eq!(open(&folder).summary().run_id, folder.run.run_id());
}

#[test]
fn a_log_that_is_replaced_or_shrinks_is_read_anew() {
    let folder = Folder::new();
    let mut writer = folder.writer();
    whole_run()[..5].iter().for_each(|event| writer.append(event.clone()).unwrap());
    let mut view = open(&folder);
    assert_eq!(view.manifest().stages[0].steps_done, 3);
    let text = folder.events();
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    fs::write(folder.run.events(), lines[..3].concat()).unwrap();
    view.refresh(&LocalLiveness).unwrap();
    assert_eq!((view.last_seq(), view.manifest().stages[0].steps_done), (Some(2), 1));
    let other = folder.run.folder().join("other");
    fs::write(&other, lines.concat()).unwrap();
    fs::rename(&other, folder.run.events()).unwrap();
    view.refresh(&LocalLiveness).unwrap();
    assert_eq!((view.last_seq(), view.manifest().stages[0].steps_done), (Some(4), 3));
}

#[test]
fn a_log_that_lost_its_end_does_not_undo_what_the_manifest_knows() {
    let folder = Folder::new();
    let mut writer = folder.writer();
    for event in whole_run() {
        writer.append(event).unwrap();
    }
    writer.finish(None).unwrap();
    let whole = open(&folder);
    let text = folder.events();
    let mut kept = open(&folder);
    fs::write(folder.run.events(), text.split_inclusive('\n').take(4).collect::<String>()).unwrap();
    kept.refresh(&LocalLiveness).unwrap();
    for view in [kept, open(&folder)] {
        assert_eq!(view.manifest().stages, whole.manifest().stages);
        assert_eq!(
            (view.status(), view.summary().progress_percentage.round() as u64),
            (RunStatus::Completed, 100)
        );
        assert!(view.warnings().last().unwrap().contains("is missing"), "{:?}", view.warnings());
    }
    // A number that leaves none for the next event is no event.
    let last = Event { seq: u64::MAX, at: Timestamp::UNIX_EPOCH, kind: started() };
    append_line(&folder.run.events(), &last);
    assert_eq!(open(&folder).last_seq(), Some(3));
}

#[test]
fn steps_that_are_written_otherwise_count_as_well() {
    let folder = Folder::new();
    for (seq, kind) in whole_run()[..4].iter().enumerate() {
        append_line(
            &folder.run.events(),
            &Event { seq: seq as u64, at: Timestamp::UNIX_EPOCH, kind: kind.clone() },
        );
    }
    let text = folder.events().replace("\"seq\":", " \"seq\": ").replace("\"kind\":", " \"kind\" : ");
    fs::write(folder.run.events(), text).unwrap();
    let view = open(&folder);
    assert_eq!((view.manifest().stages[0].steps_done, view.last_step().unwrap().step), (2, 2));
}

#[test]
fn the_end_of_a_worker_is_told_by_numbers_whatever_the_clock_says() {
    let folder = Folder::new();
    let mut writer = folder.writer();
    writer.append(started()).unwrap();
    drop(writer); // killed
    let broken = open(&folder);
    assert_eq!(broken.status(), RunStatus::Interrupted);
    assert!(broken.ended_at().unwrap() >= broken.started_at().unwrap());
    // Its last words stand in the log alone, with the time of a clock that was set back by a year.
    let at = Timestamp::now() - SignedDuration::from_hours(24 * 365);
    let last = [stage_finished(1), stage_finished(2), EventKind::Finished { duration_seconds: 1.0 }];
    for (seq, kind) in (1..).zip(last) {
        append_line(&folder.run.events(), &Event { seq, at, kind });
    }
    let ended = open(&folder);
    assert_eq!((ended.status(), ended.ended_at()), (RunStatus::Completed, Some(at)));
}

#[test]
fn a_run_that_was_queued_in_the_future_is_not_waited_for() {
    let folder = Folder::new();
    let pid = std::process::id();
    let queued = |at: Timestamp| {
        folder.change(|manifest| {
            manifest["status"] = json!("queued");
            manifest["pid"] = json!(pid);
            manifest["updated_at"] = json!(at.to_string());
        });
        open(&folder).status()
    };
    assert_eq!(queued(Timestamp::now()), RunStatus::Queued);
    assert_eq!(queued(Timestamp::now() + SignedDuration::from_hours(24)), RunStatus::Interrupted);
    assert_eq!(queued(Timestamp::now() - SignedDuration::from_hours(24)), RunStatus::Interrupted);
}

#[test]
fn a_remote_run_is_what_its_events_and_its_platform_say() {
    let folder = Folder::new();
    let mut remote = manifest::read(&folder.run).unwrap();
    remote.status = RunStatus::Queued;
    remote.platform = serde_json::from_value(json!({"kind": "ray", "job_id": "job-1"})).unwrap();
    manifest::write(&folder.run, &mut remote).unwrap();
    let lost = Problem::new(ProblemKind::Unavailable, "platform.unreachable", "no answer within 10 s");
    let platform = Says::new(Err(lost));
    let mut view = RunView::open(folder.run.clone(), &platform).unwrap();
    assert_eq!(view.status(), RunStatus::Queued);
    assert_eq!(view.warnings(), ["no contact with the platform ray: no answer within 10 s"]);

    let line = |seq, kind| {
        let event = Event { seq, at: Timestamp::UNIX_EPOCH, kind };
        format!("{}\n", serde_json::to_string(&event).unwrap())
    };
    let mut length = append_mirrored(&folder.run, 0, line(0, started()).as_bytes()).unwrap();
    view.refresh(&platform).unwrap();
    assert_eq!(view.status(), RunStatus::Running, "it is at work as far as is known");
    *platform.0.borrow_mut() = Ok(JobState::Running);
    let torn = format!("{}{{\"seq\":2", line(1, step(1, 1)));
    length = append_mirrored(&folder.run, length, torn.as_bytes()).unwrap();
    view.refresh(&platform).unwrap();
    assert_eq!((view.last_seq(), view.warnings().len()), (Some(1), 0));
    assert!(append_mirrored(&folder.run, length - 1, b"").is_err(), "not where the log here ends");
    *platform.0.borrow_mut() = Ok(JobState::Missing);
    view.refresh(&platform).unwrap();
    assert_eq!(view.status(), RunStatus::Interrupted);
    assert_eq!(view.manifest().problem.as_ref().unwrap().code, "platform.job_missing");
    let last = [stage_finished(1), stage_finished(2), EventKind::Finished { duration_seconds: 1.0 }];
    let last: String = (2..).zip(last).map(|(seq, kind)| line(seq, kind)).collect();
    append_mirrored(&folder.run, length, last.as_bytes()).unwrap();
    view.refresh(&platform).unwrap();
    assert_eq!((view.status(), view.has_ended_elsewhere()), (RunStatus::Completed, true));
    assert!(LocalLiveness.job_state(&folder.run, view.manifest()).is_ok());
}
