//! Times a dense training step of an image classifier: `vision_step MODEL SIDE BATCH REPETITIONS`, one JSON line.
//! Forward, backward and SGD with momentum, as `fixtures/vision/bench_torch_step.py` times PyTorch.
#![allow(clippy::disallowed_methods, reason = "a program of its own")]

use std::time::Instant;

use burn::backend::{Autodiff, Flex, flex::FlexDevice};
use greentune_core_config::settings::VisionSettings;
use greentune_trainer_burn::vision::{
    model::{Architecture, Network, Shape},
    optimizer::Optimizer,
    step::{self, Batch},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[allow(clippy::print_stdout)]
fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, default: usize| {
        arguments.get(index).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let name = arguments.first().map_or("resnet18", String::as_str);
    let (side, images, repetitions) = (number(1, 32), number(2, 64), number(3, 10));
    let architecture = Architecture::named(name).expect("a model that is known");
    let shape = Shape { architecture, classes: 10, channels: 3, image_size: side };
    let mut network: Network<Flex> = shape.draw(1, &FlexDevice);
    let settings = VisionSettings::default();
    let mut optimizer = Optimizer::new(&network.weights, &settings);
    let batch = Batch {
        pixels: (0..images * side * side * 3).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect(),
        labels: (0..images as u32).map(|image| image % 10).collect(),
        weights: vec![1.0; images],
    };
    let mut seconds = Vec::new();
    for repetition in 0..repetitions + 2 {
        let begin = Instant::now();
        let out = step::gradients::<Autodiff<Flex>>(&network, batch.clone(), None, 0.0, None, &FlexDevice);
        network.weights = optimizer.update(&network.weights, &out.gradients, 0.01);
        network.note_moments(&out.moments);
        if repetition >= 2 {
            seconds.push(begin.elapsed().as_secs_f64());
        }
    }
    seconds.sort_by(f64::total_cmp);
    println!(
        "{{\"model\":\"{name}\",\"side\":{side},\"batch\":{images},\"threads\":{},\"median\":{:.4},\"min\":{:.4},\"max\":{:.4}}}",
        rayon::current_num_threads(),
        seconds[seconds.len() / 2],
        seconds[0],
        seconds[seconds.len() - 1],
    );
}
