//! A small training step on every backend that this build has, against the processor's fused kernels.

use std::path::PathBuf;

use burn::{
    backend::{Autodiff, Flex, flex::FlexDevice},
    tensor::backend::AutodiffBackend,
};
use greentune_trainer_burn::{
    data::Example,
    evaluate,
    model::{Adapters, Decoder, config, parameters::HostTensor, weights},
    ops::{Ops, Packing},
    training::{
        optimizer::{Optimizer, OptimizerSettings},
        step::{self, Activations, Trained},
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
    let batch = vec![examples.iter().collect::<Vec<_>>()];
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
