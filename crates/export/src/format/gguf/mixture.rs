//! Which type each tensor gets: the mixtures of llama.cpp's `llama-quantize`.

use greentune_core_config::model::ModelConfig;

use super::block::TensorType;
use crate::packing::Packing;
use crate::quantization::Quantization;

/// How the tensors of one model are packed.
pub(super) struct Mixture {
    quantization: Quantization,
    layers: usize,
    /// Whether the head is the embedding, so that the embedding keeps the head's bits.
    tied: bool,
    /// Whether eight query heads share keys and values as in the Llama of 70 billion weights, whose values keep more bits.
    of_70b: bool,
}

impl Mixture {
    pub(super) fn new(quantization: Quantization, config: &ModelConfig, tied: bool) -> Self {
        let grouped = config.num_attention_heads != config.num_key_value_heads;
        let layers = config.num_hidden_layers;
        Self { quantization, layers, tied, of_70b: layers == 80 && grouped }
    }

    /// The type of the tensor `name` of this `shape`; `layer` is its layer, if it has one.
    pub(super) fn kind(&self, name: &str, shape: &[usize], layer: Option<usize>) -> TensorType {
        // Programs that read GGUF add norms and biases in F32.
        if shape.len() < 2 || !name.ends_with(".weight") || name.ends_with("_norm.weight") {
            return TensorType::F32;
        }
        fitting(self.wanted(name, layer), shape[shape.len() - 1])
    }

    fn wanted(&self, name: &str, layer: Option<usize>) -> TensorType {
        use Quantization as Q;
        let (usual, mixed) = match self.quantization {
            Q::F32 => return TensorType::F32,
            // MLX's words were refused before.
            Q::F16 | Q::Bits8 | Q::Bits4 => return TensorType::F16,
            Q::Bf16 => return TensorType::Bf16,
            Q::Q8_0 => return TensorType::Q8_0,
            Q::Q6K => return TensorType::Q6K,
            Q::Q5KM => (TensorType::Q5K, true),
            Q::Q4KM => (TensorType::Q4K, true),
            Q::Q4_0 => (TensorType::Q4_0, false),
        };
        if name == "output.weight" || (self.tied && name == "token_embd.weight") {
            return TensorType::Q6K;
        }
        let is_value = name.ends_with("attn_v.weight");
        let sensitive = is_value || name.ends_with("ffn_down.weight");
        if mixed && sensitive && layer.is_some_and(|layer| self.keeps_more_bits(layer)) {
            return TensorType::Q6K;
        }
        if is_value && self.of_70b && usual == TensorType::Q4K { TensorType::Q5K } else { usual }
    }

    /// The first and the last eighth of the layers, and every third between.
    fn keeps_more_bits(&self, layer: usize) -> bool {
        let eighth = self.layers / 8;
        layer < eighth || layer >= 7 * self.layers / 8 || (layer - eighth) % 3 == 2
    }
}

/// `kind`, or what takes its place where rows of `columns` are not whole blocks of it.
fn fitting(kind: TensorType, columns: usize) -> TensorType {
    let fits = |kind: TensorType| columns.is_multiple_of(kind.block_len());
    let instead = match kind {
        _ if fits(kind) => return kind,
        TensorType::Q4K => TensorType::Q5_0,
        TensorType::Q5K => TensorType::Q5_1,
        TensorType::Q6K => TensorType::Q8_0,
        _ => TensorType::F16,
    };
    if fits(instead) { instead } else { TensorType::F16 }
}
