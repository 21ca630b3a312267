//! The forward pass of a decoder over rows of tokens.

use std::sync::Arc;

use burn::tensor::{Int, Tensor, TensorData, backend::Backend};

use super::{
    adapters::Adapters,
    config::{ModelConfig, Norm, NormPlacement, QueryKeyNorm, module_path},
    parameters::Weights,
};
use crate::ops::{AttentionSpec, LoraSpec, Ops, RopeTable, Segment, Weight};

/// A decoder: its shape and its weights.
#[derive(Clone, Debug)]
pub struct Decoder<B: Backend> {
    config: Arc<ModelConfig>,
    /// Of layers that see everything, and of those that see a window.
    ropes: Arc<[RopeTable; 2]>,
    layers: Arc<[LayerNames]>,
    /// The weights by their file's names.
    pub weights: Weights<B>,
}

/// Tokens of several sequences, one after another.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The tokens of all sequences.
    pub tokens: Arc<[u32]>,
    /// Where each sequence lies.
    pub segments: Arc<[Segment]>,
}

impl Batch {
    /// A batch of whole sequences.
    pub fn of<'a>(sequences: impl IntoIterator<Item = &'a [u32]> + Clone) -> Self {
        let lengths = sequences.clone().into_iter().map(<[u32]>::len);
        Self {
            segments: Segment::whole(lengths).into(),
            tokens: sequences.into_iter().flatten().copied().collect(),
        }
    }
}

/// Keys and values of the tokens so far, by layer, for generation of sequences side by side.
#[derive(Clone, Debug)]
pub struct KeyValueCache<B: Backend> {
    /// The rows of each sequence, one sequence after another.
    layers: Vec<Option<KeysAndValues<B>>>,
    /// Tokens of each sequence.
    lengths: Vec<usize>,
}

impl<B: Backend> KeyValueCache<B> {
    /// Leaves the sequences for which `keeps` is true, in their order.
    pub fn retain(&mut self, keeps: &[bool]) {
        if keeps.iter().all(|keeps| *keeps) {
            return;
        }
        let kept = |(start, length): (usize, usize), keeps: bool| keeps.then_some((start, length));
        let ranges = starts(&self.lengths).zip(keeps).filter_map(|(range, keeps)| kept(range, *keeps));
        let ranges: Vec<_> = ranges.collect();
        let of = |rows: &Tensor<B, 2>| {
            let rows = ranges.iter().map(|(start, length)| rows.clone().narrow(0, *start, *length));
            Tensor::cat(rows.collect(), 0)
        };
        for slot in &mut self.layers {
            *slot = slot.take().filter(|_| !ranges.is_empty()).map(|(k, v)| (of(&k), of(&v)));
        }
        self.lengths = ranges.into_iter().map(|(_, length)| length).collect();
    }
}

/// Where each of sequences of these `lengths` starts, one after another, and its length.
fn starts(lengths: &[usize]) -> impl Iterator<Item = (usize, usize)> + '_ {
    lengths.iter().scan(0, |start, length| {
        let begin = *start;
        *start += length;
        Some((begin, *length))
    })
}

type KeysAndValues<B> = (Tensor<B, 2>, Tensor<B, 2>);

/// The names of one layer's weights, spelled once.
#[derive(Debug)]
struct LayerNames {
    projections: Vec<Projection>,
    q_norm: String,
    k_norm: String,
    /// Of attention and MLP.
    norms: [String; 2],
}

/// The names of one projection.
#[derive(Debug)]
struct Projection {
    module: String,
    weight: String,
    bias: Option<String>,
}

impl LayerNames {
    fn new(layer: usize, config: &ModelConfig) -> Self {
        let prefix = format!("model.layers.{layer}");
        let projection = |name: &&str| {
            let module = format!("{prefix}.{}", module_path(name));
            Projection {
                weight: format!("{module}.weight"),
                bias: config.biased.contains(name).then(|| format!("{module}.bias")),
                module,
            }
        };
        Self {
            projections: greentune_core_config::settings::LORA_TARGETS.iter().map(projection).collect(),
            q_norm: format!("{prefix}.self_attn.q_norm.weight"),
            k_norm: format!("{prefix}.self_attn.k_norm.weight"),
            norms: config.architecture.placement.names().map(|name| format!("{prefix}.{name}.weight")),
        }
    }
}

impl<B: Ops> Decoder<B> {
    /// A decoder of this shape with these weights, which must be complete.
    pub fn new(config: ModelConfig, weights: Weights<B>) -> Self {
        let rope =
            |rotary: &greentune_core_config::model::Rotary| RopeTable::new(rotary.clone(), config.head_dim);
        Self {
            layers: (0..config.num_hidden_layers).map(|layer| LayerNames::new(layer, &config)).collect(),
            ropes: Arc::new([rope(&config.rotary), rope(&config.window_rotary)]),
            config: Arc::new(config),
            weights,
        }
    }

    /// The same decoder with other weights, perhaps on another backend.
    pub fn with_weights<B2: Ops>(&self, weights: Weights<B2>) -> Decoder<B2> {
        Decoder {
            config: Arc::clone(&self.config),
            ropes: Arc::clone(&self.ropes),
            layers: Arc::clone(&self.layers),
            weights,
        }
    }

    /// Its shape.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The weight of the output head, `[vocabulary, hidden]`.
    pub fn head(&self) -> Weight<B> {
        let name =
            if self.config.tie_word_embeddings { "model.embed_tokens.weight" } else { "lm_head.weight" };
        self.weights.matrix(name)
    }

    /// The normalised last hidden states, `[tokens, hidden]`.
    pub fn forward(&self, batch: &Batch, adapters: Option<&Adapters<B>>) -> Tensor<B, 2> {
        let mut x = self.embed(&batch.tokens);
        for layer in 0..self.config.num_hidden_layers {
            x = self.layer(layer, x, &batch.segments, adapters);
        }
        self.finish(x)
    }

    /// Logits `[tokens, vocabulary]`.
    pub fn logits(&self, hidden: Tensor<B, 2>) -> Tensor<B, 2> {
        B::project(hidden, &self.head())
    }

    /// The embedded tokens, `[tokens, hidden]`: what the first layer reads.
    pub fn embed(&self, tokens: &[u32]) -> Tensor<B, 2> {
        let table = self.weights.matrix("model.embed_tokens.weight");
        let ids: Vec<i32> = tokens.iter().map(|token| *token as i32).collect();
        let ids = Tensor::<B, 1, Int>::from_data(TensorData::new(ids, [tokens.len()]), &table.device());
        table.rows(ids)
    }

    /// What layer `index` makes of `x`, `[tokens, hidden]`.
    pub fn layer(
        &self,
        index: usize,
        x: Tensor<B, 2>,
        segments: &Arc<[Segment]>,
        adapters: Option<&Adapters<B>>,
    ) -> Tensor<B, 2> {
        Layer { decoder: self, index, adapters }.forward(x, segments, None)
    }

    /// The normalised output of the last layer.
    pub fn finish(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        self.norm(x, "model.norm.weight")
    }

    /// An empty cache for [`Decoder::extend`].
    pub fn cache(&self) -> KeyValueCache<B> {
        KeyValueCache { layers: vec![None; self.config.num_hidden_layers], lengths: Vec::new() }
    }

    /// The last hidden states of `tokens`, which continue the one sequence in `cache`.
    pub fn extend(
        &self,
        tokens: &[u32],
        cache: &mut KeyValueCache<B>,
        adapters: Option<&Adapters<B>>,
    ) -> Tensor<B, 2> {
        self.extend_all(&[tokens], cache, adapters)
    }

    /// The last hidden states of the tokens of several sequences, one sequence after another; each continues its sequence
    /// in `cache`, which is empty or has as many.
    pub fn extend_all(
        &self,
        sequences: &[&[u32]],
        cache: &mut KeyValueCache<B>,
        adapters: Option<&Adapters<B>>,
    ) -> Tensor<B, 2> {
        cache.lengths.resize(sequences.len(), 0);
        cache.lengths.iter_mut().zip(sequences).for_each(|(length, tokens)| *length += tokens.len());
        let new: Vec<usize> = sequences.iter().map(|tokens| tokens.len()).collect();
        let segments = starts(&new).zip(starts(&cache.lengths));
        let segments: Arc<[Segment]> = segments
            .map(|((q_start, q_len), (k_start, k_len))| Segment { q_start, q_len, k_start, k_len })
            .collect();
        let mut x = self.embed(&sequences.concat());
        for (index, slot) in cache.layers.iter_mut().enumerate() {
            x = Layer { decoder: self, index, adapters }.forward(x, &segments, Some(slot));
        }
        self.finish(x)
    }

    fn norm(&self, x: Tensor<B, 2>, weight: &str) -> Tensor<B, 2> {
        match self.config.architecture.norm {
            Norm::Rms => B::rms_norm(x, self.weights.tensor(weight), self.config.norm_eps),
            Norm::Layer => B::unweighted_layer_norm(x, self.config.norm_eps),
        }
    }
}

/// One layer of a decoder while it runs.
struct Layer<'a, B: Backend> {
    decoder: &'a Decoder<B>,
    index: usize,
    adapters: Option<&'a Adapters<B>>,
}

impl<B: Ops> Layer<'_, B> {
    fn forward(
        &self,
        x: Tensor<B, 2>,
        segments: &Arc<[Segment]>,
        cache: Option<&mut Option<KeysAndValues<B>>>,
    ) -> Tensor<B, 2> {
        let [attention_norm, mlp_norm] = &self.names().norms;
        let norm = |x, name| self.decoder.norm(x, name);
        match self.decoder.config.architecture.placement {
            NormPlacement::BlockInput => {
                let x = x.clone() + self.attention(norm(x, attention_norm), segments, cache);
                x.clone() + self.mlp(norm(x, mlp_norm))
            }
            NormPlacement::BlockOutput => {
                let x = x.clone() + norm(self.attention(x, segments, cache), attention_norm);
                x.clone() + norm(self.mlp(x), mlp_norm)
            }
        }
    }

    fn names(&self) -> &LayerNames {
        &self.decoder.layers[self.index]
    }

    fn attention(
        &self,
        x: Tensor<B, 2>,
        segments: &Arc<[Segment]>,
        cache: Option<&mut Option<KeysAndValues<B>>>,
    ) -> Tensor<B, 2> {
        let clip = self.decoder.config.clip_qkv;
        let projected = [0, 1, 2].map(|index| {
            let y = self.project(x.clone(), index);
            clip.map_or(y.clone(), |limit| y.clamp(-limit, limit))
        });
        let [q, k, mut v] = projected;
        let names = self.names();
        let (q, mut k) = (self.head_norm(q, &names.q_norm), self.head_norm(k, &names.k_norm));
        if let Some(slot) = cache {
            if let Some((old_k, old_v)) = slot.take() {
                k = appended(&old_k, &k, segments);
                v = appended(&old_v, &v, segments);
            }
            *slot = Some((k.clone(), v.clone()));
        }
        self.project(B::causal_attention(q, k, v, &self.spec(segments)), 3)
    }

    /// Queries or keys as the architecture normalises them before they are rotated.
    fn head_norm(&self, x: Tensor<B, 2>, weight: &str) -> Tensor<B, 2> {
        match self.decoder.config.architecture.query_key_norm {
            QueryKeyNorm::Absent => x,
            QueryKeyNorm::Width => self.decoder.norm(x, weight),
            QueryKeyNorm::Head => {
                let ([rows, width], head_dim) = (x.dims(), self.decoder.config.head_dim);
                let heads = x.reshape([rows * width / head_dim, head_dim]);
                self.decoder.norm(heads, weight).reshape([rows, width])
            }
        }
    }

    fn spec(&self, segments: &Arc<[Segment]>) -> AttentionSpec {
        let config = &self.decoder.config;
        let window = config.windows[self.index];
        let positions = segments.iter().map(|segment| segment.k_len).max().unwrap_or(0);
        AttentionSpec {
            heads: config.num_attention_heads,
            kv_heads: config.num_key_value_heads,
            head_dim: config.head_dim,
            segments: Arc::clone(segments),
            rope: self.decoder.ropes[usize::from(window.is_some())].covering(positions),
            window,
        }
    }

    fn mlp(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let (gate, up) = (self.project(x.clone(), 4), self.project(x, 5));
        self.project(B::swiglu(gate, up), 6)
    }

    /// Projection `index` of `LORA_TARGETS`, with its adapter when it has one.
    fn project(&self, x: Tensor<B, 2>, index: usize) -> Tensor<B, 2> {
        let names = &self.names().projections[index];
        let weight = self.decoder.weights.matrix(&names.weight);
        let y = match self.adapters.and_then(|adapters| adapters.of(&names.module)) {
            None => B::project(x, &weight),
            Some(adapter) => {
                let lora = LoraSpec { scale: adapter.scale, dropout: adapter.dropout };
                let y = B::lora_linear(x, &weight, adapter.a.clone(), adapter.b.clone(), lora).0;
                adapter.magnitude_factor(&weight).map_or(y.clone(), |factor| y * factor)
            }
        };
        match &names.bias {
            None => y,
            Some(bias) => y + self.decoder.weights.tensor(bias),
        }
    }
}

/// The rows of each sequence that are there, with its new ones behind them.
fn appended<B: Backend>(old: &Tensor<B, 2>, new: &Tensor<B, 2>, segments: &[Segment]) -> Tensor<B, 2> {
    let mut start = 0;
    let rows = segments.iter().flat_map(|segment| {
        let length = segment.k_len - segment.q_len;
        let before = old.clone().narrow(0, start, length);
        start += length;
        [before, new.clone().narrow(0, segment.q_start, segment.q_len)]
    });
    Tensor::cat(rows.collect(), 0)
}
