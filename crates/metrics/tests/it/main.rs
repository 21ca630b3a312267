//! The scores beside those of sacrebleu 2.6.0 and rouge-score 0.1.2 (`fixtures/reference/make_metrics.py`).

use std::{fs, path::Path};

use greentune_metrics::{BleuCounts, ChrfCounts, bootstrap, rouge_l};
use serde::Deserialize;

#[derive(Deserialize)]
struct Reference {
    pairs: Vec<Figures>,
    corpora: Vec<Figures>,
    bootstrap: Vec<Resampled>,
}

/// Generated and expected texts, and what the peers say of them.
#[derive(Deserialize)]
struct Figures {
    texts: Vec<(String, String)>,
    bleu: f64,
    chrf: f64,
    rouge_l: f64,
}

#[derive(Deserialize)]
struct Resampled {
    values: Vec<f64>,
    interval: [f64; 2],
}

#[test]
fn pairs_and_corpora_score_as_with_the_peers() {
    let reference = reference();
    assert!(reference.pairs.len() > 400 && reference.corpora.len() > 4);
    for expected in reference.pairs.iter().chain(&reference.corpora) {
        let bleu: Vec<_> = expected.texts.iter().map(|(text, wanted)| BleuCounts::of(text, wanted)).collect();
        let chrf: Vec<_> = expected.texts.iter().map(|(text, wanted)| ChrfCounts::of(text, wanted)).collect();
        let rouge = expected.texts.iter().map(|(text, wanted)| rouge_l(text, wanted)).sum::<f64>();
        let found = [
            ("BLEU", 100.0 * bleu.iter().sum::<BleuCounts>().score(), expected.bleu),
            ("chrF", 100.0 * chrf.iter().sum::<ChrfCounts>().score(), expected.chrf),
            ("ROUGE-L", rouge / expected.texts.len() as f64, expected.rouge_l),
        ];
        for (name, found, peer) in found {
            let shown = &expected.texts[..expected.texts.len().min(3)];
            assert!((found - peer).abs() < 1e-9, "{name} {found} is not {peer} of {shown:?}");
        }
    }
}

#[test]
fn intervals_are_numpys_percentiles_of_the_same_draws() {
    for Resampled { values, interval: [low, high] } in reference().bootstrap {
        let mean = |drawn: &[&f64]| drawn.iter().copied().sum::<f64>() / drawn.len() as f64;
        let found = bootstrap(&values, mean).unwrap();
        assert!(
            (found.low - low).abs() < 1e-12 && (found.high - high).abs() < 1e-12,
            "{found:?} {low} {high}"
        );
    }
}

fn reference() -> Reference {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/reference/metrics.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}
