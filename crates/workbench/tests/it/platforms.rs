//! Whole runs on a platform that is not this machine.

use std::{fs, sync::Arc, time::Duration};

use greentune_core_config::{
    ProblemKind, event::EventKind, layout::RunLayout, manifest::RunStatus, platform::PlatformKind,
    port::Platform,
};
use greentune_test_support::elsewhere::Elsewhere;
use greentune_workbench::{
    Workbench,
    operation::{
        CancelTraining, ListRuns, MonitorTraining, MonitorTrainingProgress, MonitorTrainingProgressResponse,
        ResumeTraining, StartTraining,
    },
};

use crate::sandbox::{STEPS, Sandbox, kinds, manifest, problem};

/// A sandbox, a run in it, a platform elsewhere and a workbench that knows it.
async fn elsewhere(mode: &str) -> (Sandbox, RunLayout, Arc<Elsewhere>, Workbench) {
    let sandbox = Sandbox::new("never-used").await;
    let run = sandbox.configured().await;
    let platform =
        Arc::new(Elsewhere::new(sandbox.root().join("there"), sandbox.config(mode).worker_command));
    let known: Arc<dyn Platform> = platform.clone();
    let workbench = sandbox.workbench.clone().with_platform(known);
    (sandbox, run, platform, workbench)
}

fn on_ray(run: &RunLayout, wait: bool) -> StartTraining {
    StartTraining {
        platform: Some(PlatformKind::Ray),
        async_mode: Some(!wait),
        ..StartTraining::of(run.run_id())
    }
}

async fn look(workbench: &Workbench, run: &RunLayout) -> MonitorTrainingProgressResponse {
    let request = MonitorTrainingProgress { run_id: run.run_id(), ..MonitorTrainingProgress::default() };
    workbench.monitor_training_progress(request).await.unwrap()
}

async fn look_until(
    workbench: &Workbench,
    run: &RunLayout,
    is_so: impl Fn(&MonitorTrainingProgressResponse) -> bool,
) -> MonitorTrainingProgressResponse {
    for _ in 0..400 {
        let now = look(workbench, run).await;
        if is_so(&now) {
            return now;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it never came: {:?}", look(workbench, run).await);
}

#[tokio::test]
async fn a_run_is_trained_elsewhere_and_what_it_made_comes_home() {
    let (_sandbox, run, platform, workbench) = elsewhere("trains").await;
    let started = workbench.start_training(on_ray(&run, true)).await.unwrap();
    assert_eq!((started.status, started.job_id.as_str()), (RunStatus::Completed, "job-1"));
    assert!(started.url.unwrap().starts_with("file://"));
    let written = manifest(&run);
    assert_eq!((written.platform.kind, written.status), (PlatformKind::Ray, RunStatus::Completed));
    assert!(written.stages.iter().all(|stage| stage.status == RunStatus::Completed));
    let there = platform.run_of(&written.platform).unwrap();
    assert_eq!(fs::read(run.events()).unwrap(), fs::read(there.events()).unwrap());
    for stage in [1, 2] {
        let file = run.adapters(stage).join("adapter_model.safetensors");
        assert!(file.is_file(), "{}", file.display());
    }
    let listed = workbench.list_runs(ListRuns::all(None)).await.unwrap().runs;
    assert_eq!((listed[0].platform, listed[0].status), (PlatformKind::Ray, RunStatus::Completed));
    // The platform's own id of the job leads to the run as well.
    let job = |platform| MonitorTraining { job_id: "job-1".into(), platform, project_path: None };
    let seen = workbench.monitor_training(job(Some(PlatformKind::Ray))).await.unwrap();
    assert_eq!((seen.status, seen.job_id), (RunStatus::Completed, run.run_id()));
    let elsewhere = problem(workbench.monitor_training(job(Some(PlatformKind::Kaggle))).await.unwrap_err());
    assert_eq!(elsewhere.code, "request.value");
    assert!(elsewhere.message.contains("ray, where the job is"), "{elsewhere}");
    let other = MonitorTraining { job_id: "job-9".into(), ..MonitorTraining::default() };
    assert_eq!(problem(workbench.monitor_training(other).await.unwrap_err()).code, "run.unknown");
    // Its manifest there says where it was, too, and names no folder of this machine's project.
    let text = fs::read_to_string(there.manifest()).unwrap();
    assert!(!text.contains(&*run.project().root().to_string_lossy()), "{text}");
}

#[tokio::test]
async fn a_run_without_contact_is_not_interrupted_and_goes_on_there() {
    let (_sandbox, run, platform, workbench) = elsewhere("slow").await;
    workbench.start_training(on_ray(&run, false)).await.unwrap();
    let before = look_until(&workbench, &run, |now| now.current_iteration > 0).await;
    assert_eq!(before.status, RunStatus::Running);
    platform.set_away(true);
    let lost = look(&workbench, &run).await;
    assert_eq!(lost.status, RunStatus::Running);
    assert!(lost.current_iteration >= before.current_iteration);
    assert!(
        lost.warnings.last().unwrap().contains("no contact with the platform ray"),
        "{:?}",
        lost.warnings
    );
    // Another process that looks at it says the same.
    let local = Workbench::new(workbench.config().clone());
    let seen = look(&local, &run).await;
    assert_eq!(seen.status, RunStatus::Running);
    let again = problem(workbench.start_training(on_ray(&run, false)).await.unwrap_err());
    assert_eq!(again.code, "run.already_running");
    platform.set_away(false);
    let after = look_until(&workbench, &run, |now| now.status == RunStatus::Completed).await;
    assert!(after.warnings.is_empty());
    assert_eq!(manifest(&run).status, RunStatus::Completed, "the manifest here knows it");
}

#[tokio::test]
async fn a_cancelled_run_goes_on_elsewhere_and_no_step_is_done_twice() {
    let (sandbox, run, _platform, workbench) = elsewhere("slow").await;
    workbench.start_training(on_ray(&run, false)).await.unwrap();
    look_until(&workbench, &run, |now| now.current_iteration > 1).await;
    let cancel = CancelTraining { run_id: run.run_id(), ..CancelTraining::default() };
    let cancelled = workbench.cancel_training(cancel).await.unwrap();
    assert_eq!((cancelled.success, cancelled.status), (true, RunStatus::Cancelled));
    let resume =
        ResumeTraining { run_id: run.run_id(), async_mode: Some(false), ..ResumeTraining::default() };
    let resumed = workbench.resume_training(resume).await.unwrap();
    assert_eq!((resumed.status, resumed.resumed), (RunStatus::Completed, true));
    assert_eq!(resumed.job_id, "job-2");
    let (events, _) = sandbox.follow(&run).await;
    let steps = events.iter().filter(|event| matches!(event.kind, EventKind::Step(_))).count();
    assert_eq!(steps as u64, 2 * STEPS);
    let ends: Vec<_> =
        kinds(&events).into_iter().filter(|kind| ["cancelled", "finished"].contains(kind)).collect();
    assert_eq!(ends, ["cancelled", "finished"]);
    let numbers: Vec<_> = events.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_job_that_disappears_leaves_a_run_that_can_go_on_here() {
    let (sandbox, run, platform, workbench) = elsewhere("slow").await;
    workbench.start_training(on_ray(&run, false)).await.unwrap();
    look_until(&workbench, &run, |now| now.current_iteration > 1).await;
    platform.forget_jobs();
    let gone = look(&workbench, &run).await;
    assert_eq!(gone.status, RunStatus::Interrupted);
    assert_eq!(gone.problem.unwrap().code, "platform.job_missing");
    let here = Workbench::new(sandbox.config("trains"));
    let request = StartTraining {
        platform: Some(PlatformKind::Local),
        async_mode: Some(false),
        ..StartTraining::of(run.run_id())
    };
    // Only who can ask the platform knows that the job is gone; without it the run stands as it was seen last.
    assert_eq!(problem(here.start_training(request.clone()).await.unwrap_err()).code, "run.already_running");
    let known: Arc<dyn Platform> = platform;
    let resumed = here.with_platform(known).start_training(request).await.unwrap();
    assert_eq!((resumed.status, resumed.platform), (RunStatus::Completed, PlatformKind::Local));
}

#[tokio::test]
async fn a_worker_that_dies_elsewhere_is_reported_with_its_last_words() {
    let (_sandbox, run, _platform, workbench) = elsewhere("dies-at-once").await;
    let error = problem(workbench.start_training(on_ray(&run, false)).await.unwrap_err());
    assert_eq!(error.code, "worker.died");
    assert!(error.message.contains("the libraries could not be loaded"), "{}", error.message);
}

#[tokio::test]
async fn a_platform_that_is_away_takes_no_run_and_leaves_it_as_it_was() {
    let (_sandbox, run, platform, workbench) = elsewhere("trains").await;
    platform.set_away(true);
    let error = problem(workbench.start_training(on_ray(&run, false)).await.unwrap_err());
    assert_eq!((error.kind, error.code.as_str()), (ProblemKind::Unavailable, "elsewhere.away"));
    let written = manifest(&run);
    assert_eq!((written.status, written.platform.kind), (RunStatus::NotStarted, PlatformKind::Local));
}
