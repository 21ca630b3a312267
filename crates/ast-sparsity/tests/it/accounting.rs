//! What is counted.

use greentune_ast_sparsity::{POLICIES, Progress, Selector, Settings};

use super::{settings, train_epoch};

#[test]
fn only_fresh_scores_are_charged() {
    for policy in POLICIES {
        let mut selector = Selector::new(&settings(policy, 500, 0.4)).unwrap();
        let mut selected = 0;
        for epoch in 0..8 {
            selected += train_epoch(&mut selector, 500, Progress { epoch, epochs: 8 }, 50).len() as u64;
        }
        let counted = selector.accounting();
        assert_eq!((counted.candidates, counted.selected), (4000, selected), "{policy}");
        let fresh = ["sundew", "quantile"].contains(&policy);
        assert_eq!(counted.scored, if fresh { 4000 } else { 0 }, "{policy}");
        assert_eq!(counted.threshold.is_some(), fresh || policy == "ast", "{policy}");
    }
}

#[test]
fn the_floor_of_sundew_is_counted() {
    // Losses below the clamp of 0.5: the floor decides everything, whatever the target.
    let mut selector =
        Selector::new(&Settings { entropy_weight: 0.0, ..settings("sundew", 500, 0.4) }).unwrap();
    for epoch in 100..102 {
        train_epoch(&mut selector, 500, Progress { epoch, epochs: 200 }, 50);
    }
    let counted = selector.accounting();
    assert_eq!(counted.forced, counted.selected);
    assert!((counted.activation_rate() - 0.1).abs() < 1e-12);
    assert!((counted.forced_share() - 1.0).abs() < 1e-12);
}
