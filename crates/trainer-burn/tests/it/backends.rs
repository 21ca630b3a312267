//! A small training step on every backend that this build has, against the processor's fused kernels.

use std::path::PathBuf;

use burn::{
    backend::{Autodiff, Flex, flex::FlexDevice},
    tensor::backend::AutodiffBackend,
};
use greentune_text_data::Example;
use greentune_trainer_burn::{
    evaluate,
    model::{Adapters, Decoder, config, parameters::HostTensor, weights},
    ops::{Ops, Packing},
    training::{
        optimizer::{Optimizer, OptimizerSettings},
        step::{self, Activations, Trained, Weighted},
    },
};

/// What a step leaves on the host: loss before, gradients by name, loss after, greedy tokens.
struct Result {
    before: f64,
    gradients: Vec<HostTensor>,
    after: f64,
    tokens: Vec<u32>,
}

fn small_step<A>(device: A::Device, packing: Option<Packing>) -> Result
where
    A: Ops + AutodiffBackend<InnerBackend: Ops>,
{
    let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/reference");
    let folder = fixtures.join("olmo2-tiny");
    let config = config::read(&folder).unwrap();
    let weights = weights::load(&folder, &config, packing, &device).unwrap();
    let decoder = Decoder::<A::InnerBackend>::new(config, weights);
    let mut adapters =
        Adapters::<A::InnerBackend>::load(&fixtures.join("olmo2-tiny-lora"), &decoder, &device).unwrap();
    let examples: Vec<Example> = [19, 7, 11].into_iter().map(example).collect();
    let batch = vec![Weighted::whole(&examples)];
    let mut optimizer = Optimizer::new(&adapters.parameters, OptimizerSettings::default());
    let out =
        step::gradients::<A>(&decoder, &Trained::Adapters(adapters.clone()), &batch, Activations::Kept, 5);
    adapters.parameters = optimizer.update(&adapters.parameters, &out.gradients, 1e-2);
    Result {
        before: out.loss,
        gradients: out.gradients.to_host().into_values().collect(),
        after: evaluate::score(&decoder, Some(&adapters), &examples).loss,
        tokens: evaluate::generate(&decoder, Some(&adapters), &[0, 17, 42], &[], 4),
    }
}

fn example(length: u32) -> Example {
    let tokens: Vec<u32> = (0..length).map(|i| (i * i * 31 + length) % 320).collect();
    let labels = 3..tokens.len();
    Example::new(tokens, [labels])
}

#[allow(dead_code)] // used by the backends that a build has
fn agrees<A>(device: &A::Device, packing: Option<Packing>)
where
    A: Ops + AutodiffBackend<InnerBackend: Ops>,
{
    let (mine, expected) =
        (small_step::<A>(device.clone(), packing), small_step::<Autodiff<Flex>>(FlexDevice, packing));
    assert!((mine.before - expected.before).abs() < 1e-4, "{} is not {}", mine.before, expected.before);
    for (a, b) in mine.gradients.iter().zip(&expected.gradients) {
        let scale = b.values.iter().fold(1e-6f32, |largest, value| largest.max(value.abs()));
        for (a, b) in a.values.iter().zip(&b.values) {
            assert!((a - b).abs() / scale < 1e-3, "{a} is not {b}");
        }
    }
    assert!((mine.after - expected.after).abs() < 1e-3, "{} is not {}", mine.after, expected.after);
    assert_eq!(mine.tokens, expected.tokens);
}

#[test]
fn flex_learns() {
    let result = small_step::<Autodiff<Flex>>(FlexDevice, None);
    assert!(result.after < result.before);
}

#[cfg(feature = "candle")]
#[allow(deprecated)] // as in backend.rs
#[test]
fn candle_agrees_with_flex() {
    agrees::<Autodiff<burn::backend::Candle>>(&burn::backend::candle::CandleDevice::Cpu, None);
}

/// Needs a Vulkan driver; Mesa's software one (lavapipe) will do.
#[cfg(feature = "wgpu")]
#[test]
fn wgpu_agrees_with_flex() {
    let device = burn::backend::wgpu::WgpuDevice::default();
    for packing in [None, Some(Packing::Q8), Some(Packing::Q4)] {
        agrees::<Autodiff<burn::backend::Wgpu>>(&device, packing);
    }
}

/// The operations on images. candle is not asked: it has no gradient of a max pool.
#[cfg(feature = "wgpu")]
mod images {
    use burn::{
        backend::{Flex, Wgpu, flex::FlexDevice, wgpu::WgpuDevice},
        tensor::Tensor,
    };
    use greentune_trainer_burn::ops::image::{Activation, Convolution, Grid, ImageOps, Norm, batch_norm};

    use crate::oracle::{host, values};

    /// The operations on images with their gradients, on one backend.
    fn image_operations<B: ImageOps>(device: &B::Device) -> Vec<Vec<f32>> {
        let grid = Grid { images: 3, height: 7, width: 9 };
        let of = |seed, rows, columns| Tensor::<B, 2>::from_data(values(seed, rows, columns), device);
        let mut all = Vec::new();
        let mut keep = |tensors: Vec<Tensor<B, 2>>| all.extend(tensors.into_iter().map(host));
        for (size, stride, padding) in [(3, 1, 1), (3, 2, 1), (1, 2, 0), (2, 2, 0)] {
            let at = Convolution { grid, size, stride, padding };
            let (x, rows) = (of(1, grid.pixels(), 6), at.result().pixels());
            let (weight, dy) = (of(2, size * size * 6, 5), of(3, rows, 5));
            keep(vec![
                B::convolution(x.clone(), weight.clone(), at),
                B::convolution_dx(weight, dy.clone(), at),
                B::convolution_dweight(x.clone(), dy, at),
            ]);
            let (weight, dy) = (of(4, size * size, 6), of(5, rows, 6));
            let (dx, dweight) = B::depthwise_backward(x.clone(), weight.clone(), dy.clone(), at);
            keep(vec![B::depthwise(x.clone(), weight, at), dx, dweight]);
            keep(vec![B::max_pool(x.clone(), at), B::max_pool_backward(x, dy, at)]);
        }
        let (x, dy, gate) = (of(1, grid.pixels(), 6), of(3, grid.pixels(), 6), of(6, grid.images, 6));
        for activation in [Activation::Relu, Activation::Silu] {
            let (y, [mean, variance]) =
                batch_norm(x.clone(), of(7, 1, 6), of(8, 1, 6), 1e-5, None, activation);
            let norm = Norm { mean, variance, weight: of(7, 1, 6), bias: of(8, 1, 6), eps: 1e-5 };
            let found = B::normalise_backward(x.clone(), y.clone(), &norm, activation, dy.clone());
            keep(vec![y, found.dx, found.dweight, found.dbias]);
        }
        let (dx, dbias) = B::add_bias_backward(x.clone(), of(8, 1, 6), Activation::Gelu, dy.clone());
        keep(vec![B::add_bias(x.clone(), of(8, 1, 6), Activation::Gelu), dx, dbias]);
        let (dx, dgate) = B::gated_backward(x.clone(), gate.clone(), grid, dy);
        keep(vec![B::gated(x.clone(), gate.clone(), grid), dx, dgate]);
        keep(vec![B::mean_pool(x, grid), B::mean_pool_backward(gate, grid)]);
        all
    }

    fn images_agree<B: ImageOps>(device: &B::Device) {
        let (mine, expected) = (image_operations::<B>(device), image_operations::<Flex>(&FlexDevice));
        let mut wrong = Vec::new();
        for (index, (mine, expected)) in mine.iter().zip(&expected).enumerate() {
            let scale = expected.iter().fold(1e-6f32, |largest, value| largest.max(value.abs()));
            let mut pairs = mine.iter().zip(expected).filter(|(a, b)| (*a - *b).abs() / scale >= 1e-4);
            wrong.extend(pairs.next().map(|(a, b)| format!("result {index}: {a} is not {b}")));
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn wgpu_agrees_with_flex() {
        images_agree::<Wgpu>(&WgpuDevice::default());
    }
}
