//! Whether an exported model answers as the trained one does: what a worker is asked, and what it finds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{generation::GeneratingModel, problem::Problem};

/// Have a trained model and its export read the same prompts. Nothing is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgreementTask {
    /// The base model with the trained adapters: one variant.
    pub trained: GeneratingModel,
    /// What was exported: one variant.
    pub exported: GeneratingModel,
    /// The prompts.
    pub prompts: Vec<String>,
    /// Tokens that are written behind each prompt, at most.
    pub max_tokens: u64,
}

/// What a worker finds of an [`AgreementTask`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum AgreementFindings {
    /// Both models were read.
    Compared(Agreement),
    /// They do not fit into memory.
    TooLarge {
        /// Bytes that a model needs, about.
        needed_bytes: u64,
        /// Bytes that are free.
        free_bytes: u64,
    },
    /// The trained model or the machine is the reason why nobody knows; nothing is said of the export.
    NotComparable {
        /// What the reason is.
        why: String,
    },
    /// The trained model was read, and its export cannot be.
    Unreadable {
        /// What is wrong with the export.
        problem: Problem,
    },
}

/// How far an export agrees with the trained model on fixed prompts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Agreement {
    /// Prompts that both read: those that fit into the model's context.
    pub prompts: u64,
    /// Prompts whose text, in the form of the records or the chat template, and whose tokens are the same.
    pub same_prompts: u64,
    /// Positions whose logits are compared, in the prompts that are the same.
    pub positions: u64,
    /// Largest difference between two logits.
    pub largest_difference: f64,
    /// Mean difference between logits, without signs.
    pub mean_difference: f64,
    /// Mean Kullback-Leibler divergence of the export's next-token distribution from the trained model's, in nats.
    pub kl_nats: f64,
    /// Share of the positions at which both find the same token the likeliest.
    pub top1_agreement: f64,
    /// Prompts behind which both write the same text, greedily.
    pub same_texts: u64,
    /// Prompts whose text the trained model ends by itself.
    pub ended: u64,
    /// Those of them whose text the export ends too.
    pub ended_too: u64,
    /// Those of them behind whose whole text, which it writes too, the export goes on.
    #[serde(default)]
    pub runs_on: u64,
    /// The largest lead, where the export goes on, of the stop token's logit over all other tokens' in the trained model.
    #[serde(default)]
    pub stop_lead: f64,
}
