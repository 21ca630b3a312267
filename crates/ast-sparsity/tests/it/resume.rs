//! A restored selector goes on as if nothing had happened.

use greentune_ast_sparsity::{Needs, POLICIES, Progress, Selector, Settings, Snapshot};
use proptest::prelude::*;

use super::{settings, train_chunk};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_snapshot_at_any_point_selects_the_same_samples_with_the_same_weights(
        stop in 0..60usize, target in 0.1..0.9f64, seed in 0..100u64,
    ) {
        let samples = 300;
        for policy in POLICIES {
            let settings = Settings { seed, max_age: 3, ..settings(policy, samples, target) };
            let mut whole = Selector::new(&settings).unwrap();
            let mut parts = Selector::new(&settings).unwrap();
            for step in 0..60 {
                if step == stop {
                    let text = serde_json::to_string(&parts.snapshot()).unwrap();
                    let snapshot: Snapshot = serde_json::from_str(&text).unwrap();
                    parts = Selector::new(&settings).unwrap();
                    parts.restore(&snapshot).unwrap();
                }
                // Ten chunks of 30 in each of six epochs.
                let progress = Progress { epoch: step / 10, epochs: 6 };
                if step % 10 == 0 {
                    prop_assert_eq!(whole.start_epoch(progress).unwrap(), parts.start_epoch(progress).unwrap());
                }
                let needs: Needs = whole.needs();
                prop_assert_eq!(needs, parts.needs());
                let first = step % 10 * 30;
                let candidates: Vec<usize> = (first..first + 30).collect();
                let expected = train_chunk(&mut whole, needs, &candidates, progress.epoch);
                prop_assert_eq!(expected, train_chunk(&mut parts, needs, &candidates, progress.epoch), "{}", policy);
            }
            prop_assert_eq!(whole.accounting(), parts.accounting());
        }
    }
}

#[test]
fn seeds_and_epochs_draw_differently() {
    let first = |seed, epoch| {
        let mut selector = Selector::new(&Settings { seed, ..settings("random", 200, 0.5) }).unwrap();
        super::train_epoch(&mut selector, 200, Progress { epoch, epochs: 9 }, 200)
    };
    assert_eq!(first(1, 0), first(1, 0));
    assert_ne!(first(1, 0), first(2, 0));
    assert_ne!(first(1, 0), first(1, 1));
}

#[test]
fn a_snapshot_of_something_else_is_refused() {
    let ast = Selector::new(&settings("ast", 10, 0.5)).unwrap().snapshot();
    for other in [settings("ast", 11, 0.5), settings("random", 10, 0.5)] {
        let error = Selector::new(&other).unwrap().restore(&ast).unwrap_err();
        assert_eq!(error.code(), "selection.snapshot");
    }
    for policy in POLICIES.iter().filter(|policy| **policy != "full") {
        let mut empty = Selector::new(&settings(policy, 10, 0.5)).unwrap().snapshot();
        empty.numbers.retain(|name, _| name == "needs");
        empty.arrays.clear();
        assert!(Selector::new(&settings(policy, 10, 0.5)).unwrap().restore(&empty).is_err(), "{policy}");
        let mut damaged = Selector::new(&settings(policy, 10, 0.5)).unwrap().snapshot();
        damaged.arrays.values_mut().for_each(|values| values.push(f32::NAN));
        damaged.numbers.values_mut().for_each(|value| *value = f64::NAN);
        assert!(Selector::new(&settings(policy, 10, 0.5)).unwrap().restore(&damaged).is_err(), "{policy}");
    }
}

#[test]
fn a_level_that_is_no_share_is_refused() {
    let mut selector = Selector::new(&settings("quantile", 10, 0.5)).unwrap();
    for level in [-0.1, 5.0] {
        let mut damaged = selector.snapshot();
        damaged.put("level", level);
        let error = selector.restore(&damaged).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("the snapshot does not fit: level = {level}, where a number from 0 to 1 is needed")
        );
    }
}
