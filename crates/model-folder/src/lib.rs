//! A model's folder as Hugging Face lays it out: `config.json` and safetensors, in one file or in shards behind an
//! index. Everything that trains, exports or checks a base model reads its folder here, so that all of them mean the
//! same files, the same tensors and the same head.
//!
//! As transformers 5.23 does, the single file goes before an index, and a head that is stored with other values than
//! the embedding is not tied to it, whatever `tie_word_embeddings` says.

mod error;
mod float;
mod folder;
mod timm;
mod weights;

pub use error::ModelFolderError;
pub use float::FloatType;
pub use folder::{ModelFolder, read_config};
pub use timm::efficientnet_name_in_timm;
pub use weights::{INDEX_FILE, ModelWeights, SINGLE_FILE, Tensor, WeightsFile, encode_header, read_json};
