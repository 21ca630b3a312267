//! Bad input: refused in words, or without effect on anything else.

use greentune_ast_sparsity::{
    Needs, Observation, POLICIES, Progress, SelectionError, Selector, Settings, policy,
};

use super::{settings, train_epoch};

const FIRST: Progress = Progress { epoch: 0, epochs: 4 };

#[test]
fn settings_out_of_range_are_refused_with_what_is_allowed() {
    let refused = |settings: Settings| Selector::new(&settings).err().unwrap().to_string();
    let base = Settings::new(10);
    for rate in [0.0, -0.1, 1.01, f64::NAN, f64::INFINITY] {
        let message = refused(Settings { target_activation_rate: rate, ..base.clone() });
        assert_eq!(
            message,
            format!("target_activation_rate is {rate}; allowed is a number above 0 and at most 1")
        );
    }
    assert!(refused(Settings { entropy_weight: 1.5, ..base.clone() }).contains("entropy_weight is 1.5"));
    assert!(
        refused(Settings { annealing_share: Some(f64::NAN), ..base.clone() }).contains("annealing_share")
    );
    assert!(refused(Settings { correction: -0.1, ..base.clone() }).contains("correction is -0.1"));
    assert!(refused(Settings { prune_probability: Some(1.0), ..base.clone() }).contains("below 1"));
    assert!(refused(Settings { max_age: 0, ..base.clone() }).contains("max_age is 0"));
    assert!(refused(Settings::new(0)).contains("samples is 0"));
    let unknown = policy(&Settings { policy: String::from("hardest"), ..base }).err().unwrap();
    assert_eq!(unknown.code(), "selection.unknown_policy");
    assert_eq!(
        unknown.to_string(),
        "no selection policy is called \"hardest\"; there are full, sundew, quantile, infobatch, random, ast"
    );
}

#[test]
fn calls_that_do_not_fit_are_refused() {
    for name in POLICIES {
        let mut selector = Selector::new(&settings(name, 10, 0.5)).unwrap();
        let mut selected = Vec::new();
        assert_eq!(selector.select(&[1], &[], &mut selected).unwrap_err().code(), "selection.epoch");
        assert!(selector.start_epoch(Progress { epoch: 4, epochs: 4 }).is_err());
        let needs = selector.start_epoch(FIRST).unwrap();
        selector.select(&[], &[], &mut selected).unwrap();
        assert!(selected.is_empty(), "{name}: nothing of nothing");
        let scores = vec![Observation { loss: 1.0, entropy: 1.0 }; usize::from(needs == Needs::Fresh)];
        assert_eq!(
            selector.select(&[10], &scores, &mut selected),
            Err(SelectionError::UnknownSample { id: 10, samples: 10 })
        );
        let wrong = vec![Observation { loss: 1.0, entropy: 1.0 }; 3];
        assert_eq!(selector.select(&[1, 2], &wrong, &mut selected).unwrap_err().code(), "selection.scores");
        assert!(selector.observe(&[1, 2], &wrong).is_err());
        assert!(selector.observe(&[11], &wrong[..1]).is_err());
        assert_eq!(selector.accounting().candidates, 0, "{name}: what was refused is not counted");
    }
}

#[test]
fn a_loss_that_is_no_number_spoils_nothing() {
    for name in POLICIES {
        let mut selector = Selector::new(&settings(name, 400, 0.4)).unwrap();
        let mut clean = Selector::new(&settings(name, 400, 0.4)).unwrap();
        for epoch in 0..4 {
            let progress = Progress { epoch, epochs: 40 };
            train_epoch(&mut selector, 400, progress, 40);
            train_epoch(&mut clean, 400, progress, 40);
            for (id, value) in [(3, f32::NAN), (5, f32::INFINITY), (7, f32::NEG_INFINITY)] {
                selector.observe(&[id], &[Observation { loss: value, entropy: value }]).unwrap();
            }
        }
        assert_eq!(selector.accounting().non_finite, 12);
        let snapshot = selector.snapshot();
        assert!(snapshot.arrays.values().flatten().all(|value| value.is_finite()), "{name}");
        let rate = train_epoch(&mut selector, 400, Progress { epoch: 4, epochs: 40 }, 40).len();
        let due = train_epoch(&mut clean, 400, Progress { epoch: 4, epochs: 40 }, 40).len();
        assert!(rate.abs_diff(due) <= 3, "{name}: {rate} instead of {due}");
    }
}

#[test]
fn fresh_scores_that_are_no_numbers_are_selected_and_leave_the_threshold_alone() {
    let mut selector = Selector::new(&settings("quantile", 100, 0.3)).unwrap();
    selector.start_epoch(FIRST).unwrap();
    let ids: Vec<usize> = (0..100).collect();
    let mut selected = Vec::new();
    let finite = vec![Observation { loss: 1.0, entropy: 0.0 }; 3];
    selector.select(&ids[..3], &finite, &mut selected).unwrap();
    selected.clear();
    selector.select(&ids[..3], &[Observation { loss: f32::NAN, entropy: 0.0 }; 3], &mut selected).unwrap();
    assert_eq!(selected.len(), 3, "a chunk of nothing but broken losses");
    for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for _ in 0..50 {
            let loss = |id: usize| if id < 5 { broken } else { id as f32 };
            let fresh: Vec<Observation> =
                ids.iter().map(|&id| Observation { loss: loss(id), entropy: 0.0 }).collect();
            selected.clear();
            selector.select(&ids, &fresh, &mut selected).unwrap();
        }
        assert!(selected[..5].iter().all(|sample| sample.id < 5 && sample.forced));
        let threshold = selector.accounting().threshold.unwrap();
        assert!((40.0..60.0).contains(&threshold), "{threshold}"); // 0.7 × 71 of 5 to 99
        assert!((selected.len() as f64 - 5.0 - 0.3 * 95.0).abs() < 3.0, "{}", selected.len());
    }
}
