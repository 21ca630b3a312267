//! Loss, gradients and scores of one optimizer step, and what a network says of images.

use burn::tensor::{
    Tensor, TensorData, activation,
    backend::{AutodiffBackend, Backend},
};

use greentune_ast_sparsity::entropy;

use super::{
    mixing::Mixing,
    model::{Mode, Network},
};
use crate::{
    model::Parameters,
    ops::{autodiff::only_graph, image::ImageOps},
};

/// Images with what they show.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Rows of pixels, `[images · height · width, channels]`.
    pub pixels: Vec<f32>,
    /// Class of each image.
    pub labels: Vec<u32>,
    /// Weight of each image's loss; 1 where nothing is selected.
    pub weights: Vec<f32>,
}

/// What a network says of one image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Negative log-likelihood of the image's class, in nats.
    pub loss: f32,
    /// Entropy of the prediction, in nats.
    pub entropy: f32,
    /// The most likely class.
    pub predicted: u32,
    /// How many classes are more likely than the image's own.
    pub rank: u32,
}

/// Loss and gradients of one optimizer step.
#[derive(Debug)]
pub struct StepOutput<B: Backend> {
    /// Mean of the weighted losses, in nats.
    pub loss: f64,
    /// By parameter name.
    pub gradients: Parameters<B>,
    /// The moments of the batch, by the names of the running ones.
    pub moments: Parameters<B>,
    /// One for each image.
    pub scores: Vec<Score>,
}

/// Loss and gradients of `batch`; `smoothing` is the share of a label that is spread over all classes.
pub fn gradients<A>(
    network: &Network<A::InnerBackend>,
    batch: Batch,
    mixing: Option<&Mixing>,
    smoothing: f32,
    dropout: Option<u64>,
    device: &A::Device,
) -> StepOutput<A::InnerBackend>
where
    A: ImageOps + AutodiffBackend<InnerBackend: ImageOps>,
{
    let _only = only_graph();
    let tracked = network.lift::<A>();
    let (shape, images) = (network.shape, batch.labels.len());
    let targets = targets(&batch, mixing, smoothing, shape.classes);
    let rows = batch.pixels.len() / shape.channels;
    let mut pixels = batch.pixels;
    if let Some(mixing) = mixing {
        mixing.mix(&mut pixels);
    }
    let pixels = Tensor::<A, 2>::from_data(TensorData::new(pixels, [rows, shape.channels]), device);
    let targets = Tensor::<A, 2>::from_data(TensorData::new(targets, [images, shape.classes]), device);
    let (logits, moments) = tracked.forward(pixels, Mode::Training { dropout });
    let log_p = activation::log_softmax(logits, 1);
    let loss = (log_p.clone() * targets).sum().neg() / images as f32;
    let mut grads = loss.backward();
    let mut gradients = Parameters::default();
    for (name, leaf) in tracked.weights.iter() {
        if let Some(gradient) = leaf.grad_remove(&mut grads) {
            gradients.insert(name.clone(), gradient);
        }
    }
    StepOutput {
        loss: loss.inner().into_data().iter::<f32>().map(f64::from).sum(),
        gradients,
        moments: moments.map(|_, moment| moment.clone().inner()),
        scores: scores(log_p.inner(), &batch.labels),
    }
}

/// What the network says of `batch`, with the running moments of its norms; nothing is tracked.
pub fn score<B: ImageOps>(network: &Network<B>, batch: Batch, device: &B::Device) -> Vec<Score> {
    let channels = network.shape.channels;
    let rows = batch.pixels.len() / channels;
    let pixels = Tensor::<B, 2>::from_data(TensorData::new(batch.pixels, [rows, channels]), device);
    let (logits, _) = network.forward(pixels, Mode::Evaluation);
    scores(activation::log_softmax(logits, 1), &batch.labels)
}

fn scores<B: Backend>(log_p: Tensor<B, 2>, labels: &[u32]) -> Vec<Score> {
    let [_, classes] = log_p.dims();
    let log_p: Vec<f32> = log_p.into_data().iter::<f32>().collect();
    let of_image = |(log_p, label): (&[f32], &u32)| {
        let own = log_p[*label as usize];
        let best = log_p.iter().enumerate().fold((0, f32::NEG_INFINITY), |best, (class, value)| {
            if *value > best.1 { (class, *value) } else { best }
        });
        Score {
            loss: -own,
            entropy: entropy(log_p),
            predicted: best.0 as u32,
            rank: log_p.iter().filter(|value| **value > own).count() as u32,
        }
    };
    log_p.chunks(classes).zip(labels).map(of_image).collect()
}

/// The share of each class in each image's loss, times the image's weight.
fn targets(batch: &Batch, mixing: Option<&Mixing>, smoothing: f32, classes: usize) -> Vec<f32> {
    let mut targets = vec![smoothing / classes as f32; batch.labels.len() * classes];
    for (image, (targets, label)) in targets.chunks_mut(classes).zip(&batch.labels).enumerate() {
        let share = mixing.map_or(1.0, |mixing| mixing.share);
        targets[*label as usize] += (1.0 - smoothing) * share;
        if let Some(mixing) = mixing {
            targets[batch.labels[mixing.with[image]] as usize] += (1.0 - smoothing) * (1.0 - share);
        }
        for target in targets {
            *target *= batch.weights[image];
        }
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Batch {
        Batch {
            pixels: vec![0.0, 0.0, 8.0, 8.0, 4.0, 4.0],
            labels: vec![0, 2, 1],
            weights: vec![1.0, 0.5, 2.0],
        }
    }

    #[test]
    fn a_label_is_one_class_weighted() {
        assert_eq!(targets(&batch(), None, 0.0, 3), [1.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.0, 2.0, 0.0]);
    }

    #[test]
    fn smoothing_and_mixing_share_a_label_out_and_lose_nothing_of_it() {
        let mixing = Mixing { share: 0.75, with: vec![1, 2, 0] };
        let shares = targets(&batch(), Some(&mixing), 0.3, 3);
        for (shares, weight) in shares.chunks(3).zip([1.0, 0.5, 2.0]) {
            assert!((shares.iter().sum::<f32>() - weight).abs() < 1e-6, "{shares:?}");
        }
        // Its own class: 0.1 of smoothing and 3/4 of the rest; the other image's 1/4.
        let expected = [0.1 + 0.7 * 0.75, 0.1, 0.1 + 0.7 * 0.25];
        assert!(shares.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{shares:?}");
    }
}
