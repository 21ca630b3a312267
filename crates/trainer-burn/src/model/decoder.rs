//! The forward pass of a decoder over rows of tokens.

use std::sync::Arc;

use burn::tensor::{Int, Tensor, TensorData, backend::Backend};

use super::{
    adapters::Adapters,
    config::{ModelConfig, NormPlacement, module_path},
    parameters::Parameters,
};
use crate::ops::{AttentionSpec, LoraSpec, Ops, Rope, Segment};

/// A decoder: its shape and its weights.
#[derive(Clone, Debug)]
pub struct Decoder<B: Backend> {
    config: Arc<ModelConfig>,
    rope: Arc<Rope>,
    layers: Arc<[LayerNames]>,
    /// The weights by their file's names.
    pub weights: Parameters<B>,
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

/// Keys and values of the tokens so far, by layer, for generation of one sequence.
#[derive(Clone, Debug)]
pub struct KeyValueCache<B: Backend> {
    layers: Vec<Option<(Tensor<B, 2>, Tensor<B, 2>)>>,
    length: usize,
}

/// The names of one layer's weights, spelled once.
#[derive(Debug)]
struct LayerNames {
    projections: Vec<(&'static str, String)>,
    q_norm: String,
    k_norm: String,
    attention_norm: String,
    mlp_norm: String,
}

impl LayerNames {
    fn new(layer: usize) -> Self {
        let prefix = format!("model.layers.{layer}");
        Self {
            projections: greentune_core_config::settings::LORA_TARGETS
                .iter()
                .map(|name| (*name, format!("{prefix}.{}", module_path(name))))
                .collect(),
            q_norm: format!("{prefix}.self_attn.q_norm.weight"),
            k_norm: format!("{prefix}.self_attn.k_norm.weight"),
            attention_norm: format!("{prefix}.post_attention_layernorm.weight"),
            mlp_norm: format!("{prefix}.post_feedforward_layernorm.weight"),
        }
    }
}

impl<B: Ops> Decoder<B> {
    /// A decoder of this shape with these weights, which must be complete.
    pub fn new(config: ModelConfig, weights: Parameters<B>) -> Self {
        let rope = Rope::new(config.rope_theta, config.head_dim, config.max_position_embeddings);
        Self {
            layers: (0..config.num_hidden_layers).map(LayerNames::new).collect(),
            config: Arc::new(config),
            rope: Arc::new(rope),
            weights,
        }
    }

    /// The same decoder with other weights, perhaps on another backend.
    pub fn with_weights<B2: Ops>(&self, weights: Parameters<B2>) -> Decoder<B2> {
        Decoder {
            config: Arc::clone(&self.config),
            rope: Arc::clone(&self.rope),
            layers: Arc::clone(&self.layers),
            weights,
        }
    }

    /// Its shape.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The weight of the output head, `[vocabulary, hidden]`.
    pub fn head(&self) -> Tensor<B, 2> {
        let name =
            if self.config.tie_word_embeddings { "model.embed_tokens.weight" } else { "lm_head.weight" };
        self.weight(name)
    }

    /// The normalised last hidden states, `[tokens, hidden]`.
    pub fn forward(&self, batch: &Batch, adapters: Option<&Adapters<B>>) -> Tensor<B, 2> {
        self.run(&batch.tokens, &batch.segments, adapters, None)
    }

    /// Logits `[tokens, vocabulary]`.
    pub fn logits(&self, hidden: Tensor<B, 2>) -> Tensor<B, 2> {
        B::project(hidden, self.head())
    }

    /// An empty cache for [`Decoder::extend`].
    pub fn cache(&self) -> KeyValueCache<B> {
        KeyValueCache { layers: vec![None; self.config.num_hidden_layers], length: 0 }
    }

    /// The last hidden states of `tokens`, which continue the one sequence in `cache`.
    pub fn extend(
        &self,
        tokens: &[u32],
        cache: &mut KeyValueCache<B>,
        adapters: Option<&Adapters<B>>,
    ) -> Tensor<B, 2> {
        cache.length += tokens.len();
        let segment = Segment { q_start: 0, q_len: tokens.len(), k_start: 0, k_len: cache.length };
        self.run(tokens, &Arc::from([segment]), adapters, Some(cache))
    }

    fn run(
        &self,
        tokens: &[u32],
        segments: &Arc<[Segment]>,
        adapters: Option<&Adapters<B>>,
        mut cache: Option<&mut KeyValueCache<B>>,
    ) -> Tensor<B, 2> {
        let spec = AttentionSpec {
            heads: self.config.num_attention_heads,
            kv_heads: self.config.num_key_value_heads,
            head_dim: self.config.head_dim,
            segments: Arc::clone(segments),
            rope: Arc::clone(&self.rope),
        };
        let mut x = self.embed(tokens);
        for (index, names) in self.layers.iter().enumerate() {
            let layer = Layer { decoder: self, names, adapters };
            let slot = cache.as_mut().map(|cache| &mut cache.layers[index]);
            x = layer.forward(x, &spec, slot);
        }
        self.norm(x, "model.norm.weight")
    }

    fn embed(&self, tokens: &[u32]) -> Tensor<B, 2> {
        let table = self.weight("model.embed_tokens.weight");
        let ids: Vec<i32> = tokens.iter().map(|token| *token as i32).collect();
        let ids = Tensor::<B, 1, Int>::from_data(TensorData::new(ids, [tokens.len()]), &table.device());
        table.select(0, ids)
    }

    fn norm(&self, x: Tensor<B, 2>, name: &str) -> Tensor<B, 2> {
        B::rms_norm(x, self.weight(name), self.config.rms_norm_eps)
    }

    fn weight(&self, name: &str) -> Tensor<B, 2> {
        // Loading checks that every weight of the architecture is there.
        self.weights.get(name).cloned().unwrap_or_else(|| unreachable!("weight {name} was not loaded"))
    }
}

/// One layer of a decoder while it runs.
struct Layer<'a, B: Backend> {
    decoder: &'a Decoder<B>,
    names: &'a LayerNames,
    adapters: Option<&'a Adapters<B>>,
}

impl<B: Ops> Layer<'_, B> {
    fn forward(
        &self,
        x: Tensor<B, 2>,
        spec: &AttentionSpec,
        cache: Option<&mut Option<(Tensor<B, 2>, Tensor<B, 2>)>>,
    ) -> Tensor<B, 2> {
        match self.decoder.config.architecture.norms {
            NormPlacement::BlockOutput => {
                let attended = self.attention(x.clone(), spec, cache);
                let x = x + self.decoder.norm(attended, &self.names.attention_norm);
                let mapped = self.mlp(x.clone());
                x + self.decoder.norm(mapped, &self.names.mlp_norm)
            }
        }
    }

    fn attention(
        &self,
        x: Tensor<B, 2>,
        spec: &AttentionSpec,
        cache: Option<&mut Option<(Tensor<B, 2>, Tensor<B, 2>)>>,
    ) -> Tensor<B, 2> {
        let (mut q, mut k) = (self.project(x.clone(), 0), self.project(x.clone(), 1));
        let mut v = self.project(x, 2);
        if self.decoder.config.architecture.query_key_norm {
            q = self.decoder.norm(q, &self.names.q_norm);
            k = self.decoder.norm(k, &self.names.k_norm);
        }
        if let Some(slot) = cache {
            if let Some((old_k, old_v)) = slot.take() {
                k = Tensor::cat(vec![old_k, k], 0);
                v = Tensor::cat(vec![old_v, v], 0);
            }
            *slot = Some((k.clone(), v.clone()));
        }
        self.project(B::causal_attention(q, k, v, spec), 3)
    }

    fn mlp(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let (gate, up) = (self.project(x.clone(), 4), self.project(x, 5));
        self.project(B::swiglu(gate, up), 6)
    }

    /// Projection `index` of `LORA_TARGETS`, with its adapter when it has one.
    fn project(&self, x: Tensor<B, 2>, index: usize) -> Tensor<B, 2> {
        let (_, path) = &self.names.projections[index];
        let weight = self.decoder.weight(&format!("{path}.weight"));
        match self.adapters.and_then(|adapters| adapters.pair(path)) {
            None => B::project(x, weight),
            Some((a, b, dropout)) => {
                let scale = self.adapters.map_or(1.0, |adapters| adapters.settings.scale());
                B::lora_linear(x, weight, a, b, LoraSpec { scale, dropout }).0
            }
        }
    }
}
