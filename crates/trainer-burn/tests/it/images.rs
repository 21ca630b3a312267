//! The operations on images against plain burn under burn's own autodiff.

use burn::{
    backend::{Flex, flex::FlexDevice},
    tensor::Tensor,
};
use greentune_trainer_burn::ops::image::{
    Activation, Convolution, Grid, ImageOps, Norm, SgdStep, batch_norm, plain,
};

use crate::oracle::{Tracked, compare, host, values};

fn grid(images: usize, height: usize, width: usize) -> Grid {
    Grid { images, height, width }
}

/// Windows that meet every case: padding, strides that leave pixels out, taps over padding alone, no overlap.
fn windows() -> Vec<Convolution> {
    let of = |grid, size, stride, padding| Convolution { grid, size, stride, padding };
    vec![
        of(grid(2, 6, 5), 3, 1, 1),
        of(grid(3, 7, 9), 3, 2, 1),
        of(grid(2, 11, 8), 7, 2, 3),
        of(grid(5, 1, 1), 3, 1, 1),
        of(grid(3, 2, 2), 3, 2, 1),
        of(grid(2, 1, 3), 5, 1, 2),
        of(grid(2, 8, 8), 1, 1, 0),
        of(grid(2, 5, 8), 1, 2, 0),
        of(grid(2, 8, 12), 4, 4, 0),
        of(grid(2, 7, 7), 5, 2, 2),
        of(grid(2, 8, 7), 2, 3, 0),
        of(grid(1, 20, 20), 3, 1, 1),
    ]
}

#[test]
fn convolutions() {
    for at in windows() {
        for [channels, outputs] in [[3, 16], [5, 35], [16, 7]] {
            compare(
                [[at.grid.pixels(), channels], [at.size * at.size * channels, outputs]],
                |[x, weight]| Tracked::convolution(x, weight, at),
                |[x, weight]| plain::convolution(x, weight, at),
            );
        }
    }
}

/// What other backends take their gradients from.
#[test]
fn plain_gradients_to_images_are_those_of_the_kernels() {
    for at in windows() {
        let of = |seed, rows, columns| Tensor::<Flex, 2>::from_data(values(seed, rows, columns), &FlexDevice);
        let (weight, dy) = (of(1, at.size * at.size * 5, 7), of(2, at.result().pixels(), 7));
        let mine = host(Flex::convolution_dx(weight.clone(), dy.clone(), at));
        let plain = host(plain::convolution_dx(weight, dy, at));
        assert!(mine.iter().zip(&plain).all(|(a, b)| (a - b).abs() < 1e-4), "{at:?}");
        let (x, weight) = (of(3, at.grid.pixels(), 7), of(4, at.size * at.size, 7));
        let dy = of(5, at.result().pixels(), 7);
        let (mine, mine_dweight) = Flex::depthwise_backward(x.clone(), weight.clone(), dy.clone(), at);
        let (plain, dweight) = plain::depthwise_backward(x, weight, dy, at);
        for (mine, plain) in [(mine, plain), (mine_dweight, dweight)] {
            assert!(host(mine).iter().zip(host(plain)).all(|(a, b)| (a - b).abs() < 1e-3), "{at:?}");
        }
    }
}

#[test]
fn convolutions_by_channel() {
    for at in windows() {
        for channels in [1, 19] {
            compare(
                [[at.grid.pixels(), channels], [at.size * at.size, channels]],
                |[x, weight]| Tracked::depthwise(x, weight, at),
                |[x, weight]| plain::depthwise(x, weight, at),
            );
        }
    }
}

#[test]
fn pools_and_gates() {
    for at in windows().into_iter().filter(|at| 2 * at.padding <= at.size) {
        compare([[at.grid.pixels(), 7]], |[x]| Tracked::max_pool(x, at), |[x]| plain::max_pool(x, at));
    }
    let at = grid(3, 4, 5);
    compare([[at.pixels(), 7]], |[x]| Tracked::mean_pool(x, at), |[x]| plain::mean_pool(x, at));
    compare(
        [[at.pixels(), 7], [at.images, 7]],
        |[x, gate]| Tracked::gated(x, gate, at),
        |[x, gate]| plain::gated(x, gate, at),
    );
}

/// The oracle is burn's own autodiff through mean and variance.
#[test]
fn norms_with_what_follows_them() {
    let oracle = |x: Tensor<Tracked, 2>, weight, bias| {
        let (mean, variance) = plain::column_moments(x.clone());
        Norm { mean, variance, weight, bias, eps: 1e-5 }
    };
    for (rows, channels) in [(50, 7), (3000, 33)] {
        for activation in [Activation::Identity, Activation::Relu, Activation::Silu] {
            compare(
                [[rows, channels], [1, channels], [1, channels]],
                |[x, weight, bias]| batch_norm(x, weight, bias, 1e-5, None, activation).0,
                |[x, weight, bias]| plain::normalise(x.clone(), &oracle(x, weight, bias), None, activation),
            );
        }
        for activation in [Activation::Identity, Activation::Relu] {
            compare(
                [[rows, channels], [1, channels], [1, channels], [rows, channels]],
                |[x, weight, bias, residual]| batch_norm(x, weight, bias, 1e-5, Some(residual), activation).0,
                |[x, weight, bias, residual]| {
                    plain::normalise(x.clone(), &oracle(x, weight, bias), Some(residual), activation)
                },
            );
        }
    }
}

#[test]
fn biases_with_what_follows_them() {
    for activation in [Activation::Identity, Activation::Relu, Activation::Silu, Activation::Gelu] {
        compare(
            [[700, 33], [1, 33]],
            |[x, bias]| Tracked::add_bias(x, bias, activation),
            |[x, bias]| plain::activated(x + bias, activation),
        );
    }
}

#[test]
fn a_step_of_sgd() {
    let of = |seed| Tensor::<Flex, 2>::from_data(values(seed, 150, 131), &FlexDevice);
    let step = SgdStep { rate: 0.1, momentum: 0.9, decay: 0.01 };
    for velocity in [None, Some(of(3))] {
        let mine = Flex::sgd_step(of(1), of(2), velocity.clone(), step);
        let plain = plain::sgd_step(of(1), of(2), velocity, step);
        for (mine, plain) in [(mine.0, plain.0), (mine.1, plain.1)] {
            for (a, b) in host(mine).into_iter().zip(host(plain)) {
                assert!((a - b).abs() < 1e-6, "{a} is not {b}");
            }
        }
    }
}

/// Results are a function of the inputs, not of how many threads compute them.
#[test]
fn threads_change_no_bit() {
    let at = Convolution { grid: grid(7, 9, 9), size: 3, stride: 2, padding: 1 };
    let x = Tensor::<Flex, 2>::from_data(values(1, at.grid.pixels(), 20), &FlexDevice);
    let weight = Tensor::<Flex, 2>::from_data(values(2, 180, 40), &FlexDevice);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let y = Flex::convolution(x.clone(), weight.clone(), at);
            let dx = Flex::convolution_dx(weight.clone(), y.clone(), at);
            let dweight = Flex::convolution_dweight(x.clone(), y.clone(), at);
            let (mean, _) = Flex::column_moments(y.clone());
            [y, dx, dweight, mean]
                .map(|tensor| host(tensor).into_iter().map(f32::to_bits).collect::<Vec<_>>())
        })
    };
    assert_eq!(run(1), run(3));
}
