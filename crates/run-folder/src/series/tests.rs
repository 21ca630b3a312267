use std::{fs, io::Write as _, path::PathBuf};

use super::*;

fn step(seq: u64, stage: u8, step: u64, loss: f64) -> String {
    format!(
        "{{\"seq\":{seq},\"at\":\"2026-01-02T03:04:{:02}Z\",\"kind\":\"step\",\"stage\":{stage},\"step\":{step},\
         \"total_steps\":100,\"train_loss\":{loss:?},\"learning_rate\":0.001,\"gradient_norm\":1.0,\"tokens\":10,\
         \"tokens_per_second\":100.0}}\n",
        step % 60
    )
}

fn begun(seq: u64, stage: u8, total_steps: u64, from_step: u64) -> String {
    format!(
        "{{\"seq\":{seq},\"at\":\"2026-01-02T03:04:00Z\",\"kind\":\"stage_started\",\"stage\":{stage},\
         \"total_steps\":{total_steps},\"from_step\":{from_step},\"train_records\":9,\"trainable_parameters\":9}}\n"
    )
}

fn log(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    fs::write(&path, text).unwrap();
    (folder, path)
}

fn read(path: &Path) -> RunSeries {
    let mut series = RunSeries::new(path);
    series.refresh().unwrap();
    series
}

fn all(points: usize) -> Part {
    Part { points, ..Part::default() }
}

fn losses(series: &RunSeries, part: &Part) -> Buckets {
    series.part(part).unwrap().remove("train_loss").unwrap_or_default()
}

#[test]
fn steps_of_both_stages_follow_each_other_and_are_read_once() {
    let (_folder, path) = log(&(begun(0, 1, 100, 0) + &step(1, 1, 1, 4.0) + &step(2, 1, 2, 2.0)));
    let mut series = read(&path);
    assert_eq!(losses(&series, &all(10)).x, [1, 2]);
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all((begun(3, 2, 50, 0) + &step(4, 2, 1, 1.0)).as_bytes()).unwrap();
    series.refresh().unwrap();
    let found = losses(&series, &all(10));
    assert_eq!((found.x, found.mean, found.count), (vec![1, 2, 101], vec![4.0, 2.0, 1.0], vec![1, 1, 1]));
    assert_eq!(found.time, [1.0, 2.0, 1.0]);
    assert_eq!(series.last_seq(), Some(4));
    let new = series.after(2, &[]).unwrap();
    assert_eq!((new["train_loss"].x.clone(), new["train_loss"].mean.clone()), (vec![101], vec![1.0]));
    assert!(series.after(4, &[]).unwrap().is_empty());
}

#[test]
fn tokens_are_those_of_all_steps_and_evaluations_are_kept_one_by_one() {
    let evaluated = |seq: u64, step: u64, loss: f64| {
        format!(
            "{{\"seq\":{seq},\"at\":\"2026-01-02T03:04:09Z\",\"kind\":\"evaluated\",\"stage\":1,\"step\":{step},\
             \"validation_loss\":{loss:?},\"perplexity\":2.0,\"token_accuracy\":0.5}}\n"
        )
    };
    let first = begun(0, 1, 100, 0) + &step(1, 1, 1, 4.0) + &step(2, 1, 2, 2.0) + &evaluated(3, 2, 1.5);
    // It went on from step 1: step 2 was taken twice.
    let (_folder, path) = log(&(first + &begun(4, 1, 100, 1) + &step(5, 1, 2, 2.0) + &evaluated(6, 2, 1.25)));
    let series = read(&path);
    assert_eq!(series.tokens(), 30);
    let at = |validation_loss| EvaluatedAt { stage: 1, step: 2, validation_loss };
    assert_eq!(series.evaluations(), [at(1.5), at(1.25)]);
}

#[test]
fn many_steps_keep_their_extremes_and_their_mean_in_few_buckets() {
    let count = 100_000_u64;
    let text: String = (1..=count).map(|n| step(n, 1, n, (n % 7) as f64)).collect();
    let (_folder, path) = log(&(begun(0, 1, count, 0) + &text));
    let series = read(&path);
    let found = losses(&series, &all(500));
    assert!((250..=500).contains(&found.x.len()), "{}", found.x.len());
    assert_eq!(found.count.iter().sum::<u64>(), count);
    assert!(found.min.iter().all(|least| *least < 0.5) && found.max.iter().all(|most| *most > 5.5));
    let sum: f64 = found.mean.iter().zip(&found.count).map(|(mean, count)| mean * *count as f64).sum();
    let exact: f64 = (1..=count).map(|n| (n % 7) as f64).sum();
    assert!((sum - exact).abs() < 1e-6 * exact);
    assert_eq!(losses(&series, &all(1)).count, [count]);
}

#[test]
fn a_part_is_told_step_by_step_where_it_has_few() {
    let count = 50_000_u64;
    let text: String = (1..=count).map(|n| step(n, 1, n, n as f64)).collect();
    let (_folder, path) = log(&(begun(0, 1, count, 0) + &text));
    let series = read(&path);
    let part = Part { from: Some(31_000), to: Some(31_099), ..all(500) };
    let found = losses(&series, &part);
    assert_eq!(found.x, (31_000..=31_099).collect::<Vec<_>>());
    assert_eq!(found.mean, (31_000..=31_099).map(f64::from).collect::<Vec<_>>());
    assert_eq!(losses(&series, &Part { from: Some(60_000), ..all(9) }), Buckets::default());
}

#[test]
fn steps_that_are_trained_again_count_once() {
    let first: String = (1..=30).map(|n| step(n, 1, n, 5.0)).collect();
    let again: String = (21..=25).map(|n| step(n + 20, 1, n, 1.0)).collect();
    let (_folder, path) = log(&(begun(0, 1, 100, 0) + &first + &begun(40, 1, 100, 20) + &again));
    let series = read(&path);
    let found = losses(&series, &all(100));
    assert_eq!(found.x, (1..=25).collect::<Vec<_>>());
    assert_eq!(found.mean[19..], [5.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
    assert_eq!(series.after(10, &[]), None, "who has the first attempt has to ask for all");
    assert_eq!(series.after(43, &[]).unwrap()["train_loss"].x, [24, 25]);
}

#[test]
fn a_torn_line_waits_and_a_garbled_one_is_left_out() {
    let whole = begun(0, 1, 100, 0) + &step(1, 1, 1, 1.0) + "garbled\n" + &step(3, 1, 3, 3.0);
    let (_folder, path) = log(&(whole + "{\"seq\":4,"));
    let series = read(&path);
    assert_eq!(losses(&series, &all(10)).x, [1, 3]);
    assert_eq!(series.last_seq(), Some(3));
    let missing = RunSeries::new(Path::new("/nowhere/events.jsonl")).part(&all(10)).unwrap();
    assert!(missing.is_empty());
}

#[test]
fn a_glance_sees_the_beginning_and_the_end_of_a_long_run() {
    let count = 20_000_u64;
    let text: String = (1..=count).map(|n| step(n, 1, n, n as f64)).collect();
    let (_folder, path) = log(&(begun(0, 1, count, 0) + &text));
    let seen = sampled_losses(&path, 50).unwrap();
    assert_eq!((seen.len(), seen[0]), (50, (1, 1, 1.0)));
    assert!(seen.windows(2).all(|pair| pair[0].1 < pair[1].1) && seen[49].1 > count - 200, "{seen:?}");
    let (_folder, short) = log(&(begun(0, 1, 9, 0) + &step(1, 1, 1, 4.0) + &step(2, 1, 2, 2.0)));
    assert_eq!(sampled_losses(&short, 50).unwrap(), [(1, 1, 4.0), (1, 2, 2.0)]);
    assert_eq!(sampled_losses(Path::new("/nowhere"), 50).unwrap(), []);
}
