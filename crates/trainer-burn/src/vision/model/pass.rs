//! A forward pass: layers by name.

use std::cell::RefCell;

use burn::tensor::{Tensor, TensorData, activation, backend::Backend};

use crate::{
    model::Parameters,
    ops::{
        Dropout, Weight,
        image::{Activation, Convolution, Grid, ImageOps, Norm, batch_norm},
    },
};

/// Images, or what layers made of them.
#[derive(Clone, Debug)]
pub struct Image<B: Backend> {
    /// `[pixels, channels]`.
    pub rows: Tensor<B, 2>,
    /// Where an image ends.
    pub grid: Grid,
}

/// What a pass is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Norms use their running moments.
    Evaluation,
    /// Norms use the moments of the batch.
    Training {
        /// Seed of dropout and of the branches that are left out; nothing is dropped when absent.
        dropout: Option<u64>,
    },
}

/// A forward pass over the tensors of a network.
pub struct Pass<'a, B: ImageOps> {
    weights: &'a Parameters<B>,
    running: &'a Parameters<B>,
    mode: Mode,
    seen: RefCell<Parameters<B>>,
}

const EPS: f32 = 1e-5;

impl<'a, B: ImageOps> Pass<'a, B> {
    pub(super) fn new(weights: &'a Parameters<B>, running: &'a Parameters<B>, mode: Mode) -> Self {
        Self { weights, running, mode, seen: RefCell::default() }
    }

    /// The moments of this batch, by the names of the running ones.
    pub(super) fn into_moments(self) -> Parameters<B> {
        self.seen.into_inner()
    }

    /// The tensor `name`, which must be there.
    pub(super) fn tensor(&self, name: &str) -> Tensor<B, 2> {
        let found = self.weights.get(name).or_else(|| self.running.get(name));
        // Drawing and loading go by the same list of tensors.
        found.cloned().unwrap_or_else(|| unreachable!("tensor {name} was not loaded"))
    }

    /// A convolution without bias.
    pub(super) fn convolution(
        &self,
        x: &Image<B>,
        name: &str,
        size: usize,
        stride: usize,
        padding: usize,
    ) -> Image<B> {
        let at = Convolution { grid: x.grid, size, stride, padding };
        let weight = self.tensor(&format!("{name}.weight"));
        Image { rows: B::convolution(x.rows.clone(), weight, at), grid: at.result() }
    }

    /// A convolution of each channel by itself, with the padding that keeps the size at stride 1.
    pub(super) fn depthwise(&self, x: &Image<B>, name: &str, size: usize, stride: usize) -> Image<B> {
        let at = Convolution { grid: x.grid, size, stride, padding: size / 2 };
        let weight = self.tensor(&format!("{name}.weight"));
        Image { rows: B::depthwise(x.rows.clone(), weight, at), grid: at.result() }
    }

    /// A batch norm, what is added to it, and what follows.
    pub(super) fn norm(
        &self,
        x: Image<B>,
        name: &str,
        residual: Option<Image<B>>,
        activation: Activation,
    ) -> Image<B> {
        let [weight, bias] = ["weight", "bias"].map(|part| self.tensor(&format!("{name}.{part}")));
        let names = ["running_mean", "running_var"].map(|part| format!("{name}.{part}"));
        let residual = residual.map(|residual| residual.rows);
        let rows = if self.mode == Mode::Evaluation {
            let [mean, variance] = names.map(|name| self.tensor(&name));
            B::normalise(x.rows, &Norm { mean, variance, weight, bias, eps: EPS }, residual, activation)
        } else {
            let count = x.rows.dims()[0] as f64;
            let (y, [mean, variance]) = batch_norm(x.rows, weight, bias, EPS, residual, activation);
            // What is kept is divided by one less, as PyTorch does.
            let kept = [mean, variance * (count / (count - 1.0).max(1.0))];
            let mut seen = self.seen.borrow_mut();
            for (name, moment) in names.into_iter().zip(kept) {
                seen.insert(name, moment);
            }
            y
        };
        Image { rows, grid: x.grid }
    }

    /// A bias and what follows.
    pub(super) fn bias(&self, x: Tensor<B, 2>, name: &str, activation: Activation) -> Tensor<B, 2> {
        B::add_bias(x, self.tensor(&format!("{name}.bias")), activation)
    }

    /// A linear layer with bias and what follows.
    pub(super) fn linear(&self, x: Tensor<B, 2>, name: &str, activation: Activation) -> Tensor<B, 2> {
        let weight = Weight::Full(self.tensor(&format!("{name}.weight")));
        self.bias(B::project(x, &weight), name, activation)
    }

    /// A layer norm with factor and bias.
    pub(super) fn layer_norm(&self, x: Tensor<B, 2>, name: &str, eps: f32) -> Tensor<B, 2> {
        let normal = B::unweighted_layer_norm(x, eps) * self.tensor(&format!("{name}.weight"));
        self.bias(normal, name, Activation::Identity)
    }

    /// Attention of each token to all of its image: `qkv [images · tokens, 3 · width]`, result `[.., width]`.
    pub(super) fn attention(qkv: Tensor<B, 2>, images: usize, heads: usize) -> Tensor<B, 2> {
        let [rows, width] = qkv.dims();
        let (tokens, width) = (rows / images, width / 3);
        let head_dim = width / heads;
        let part = |index: usize| {
            let part = qkv.clone().narrow(1, index * width, width);
            part.reshape([images, tokens, heads, head_dim]).swap_dims(1, 2)
        };
        let [q, k, v] = [part(0), part(1), part(2)];
        let scores = (q / (head_dim as f32).sqrt()).matmul(k.swap_dims(2, 3));
        let mixed: Tensor<B, 4> = activation::softmax(scores, 3).matmul(v);
        mixed.swap_dims(1, 2).reshape([rows, width])
    }

    /// Elements dropped with probability `rate` in training, the others scaled up; `site` tells the layers apart.
    pub(super) fn dropout(&self, x: Tensor<B, 2>, rate: f32, site: u64) -> Tensor<B, 2> {
        let [rows, columns] = x.dims();
        self.dropped(x, rate, site, [rows, columns], 1)
    }

    /// Whole images of a branch dropped with probability `rate` in training (Huang et al. 2016, arXiv:1603.09382).
    pub(super) fn drop_path(&self, x: Image<B>, rate: f32, site: u64) -> Image<B> {
        let pixels = x.grid.pixels_per_image();
        Image { rows: self.dropped(x.rows, rate, site, [x.grid.images * pixels, 1], pixels), grid: x.grid }
    }

    fn dropped(
        &self,
        x: Tensor<B, 2>,
        rate: f32,
        site: u64,
        shape: [usize; 2],
        repeat: usize,
    ) -> Tensor<B, 2> {
        let Mode::Training { dropout: Some(seed) } = self.mode else { return x };
        if rate <= 0.0 {
            return x;
        }
        let dropout = Dropout { rate, seed: seed ^ site.wrapping_mul(0x9E37_79B9_7F4A_7C15) };
        let factors: Vec<f32> =
            (0..shape[0] * shape[1]).map(|index| dropout.factor(index / repeat)).collect();
        x.clone() * Tensor::from_data(TensorData::new(factors, shape), &x.device())
    }
}
