//! The publications behind what a run used.

use greentune_core_config::settings::{AstPolicy, OptimizerKind, Settings, VisionScheduler};

/// Whether a run of these settings used it, and its entry.
type Reference = (fn(&Settings) -> bool, &'static str);

const REFERENCES: &[Reference] = &[
    (
        |settings| selects(settings, &[AstPolicy::Infobatch]),
        "@inproceedings{qin2024infobatch,\n  title = {{InfoBatch}: Lossless Training Speed Up by Unbiased Dynamic Data Pruning},\n  author = {Qin, Ziheng and others},\n  booktitle = {ICLR},\n  year = {2024},\n  eprint = {2303.04947},\n  archivePrefix = {arXiv}\n}",
    ),
    (
        |settings| selects(settings, &[AstPolicy::Random]),
        "@inproceedings{okanovic2024repeated,\n  title = {Repeated Random Sampling for Minimizing the Time-to-Accuracy of Learning},\n  author = {Okanovic, Patrik and others},\n  booktitle = {ICLR},\n  year = {2024},\n  eprint = {2305.18424},\n  archivePrefix = {arXiv}\n}",
    ),
    (
        |settings| selects(settings, &[AstPolicy::Ast]),
        "@article{horvitz1952generalization,\n  title = {A Generalization of Sampling Without Replacement from a Finite Universe},\n  author = {Horvitz, D. G. and Thompson, D. J.},\n  journal = {Journal of the American Statistical Association},\n  volume = {47},\n  year = {1952}\n}",
    ),
    (
        |settings| selects(settings, &[AstPolicy::Ast]),
        "@article{madow1949theory,\n  title = {On the Theory of Systematic Sampling, {II}},\n  author = {Madow, William G.},\n  journal = {The Annals of Mathematical Statistics},\n  volume = {20},\n  year = {1949}\n}",
    ),
    (
        |settings| is_model(settings, "resnet"),
        "@inproceedings{he2016deep,\n  title = {Deep Residual Learning for Image Recognition},\n  author = {He, Kaiming and Zhang, Xiangyu and Ren, Shaoqing and Sun, Jian},\n  booktitle = {CVPR},\n  year = {2016},\n  eprint = {1512.03385},\n  archivePrefix = {arXiv}\n}",
    ),
    (
        |settings| is_model(settings, "efficientnet"),
        "@inproceedings{tan2019efficientnet,\n  title = {{EfficientNet}: Rethinking Model Scaling for Convolutional Neural Networks},\n  author = {Tan, Mingxing and Le, Quoc V.},\n  booktitle = {ICML},\n  year = {2019},\n  eprint = {1905.11946},\n  archivePrefix = {arXiv}\n}",
    ),
    (
        |settings| is_model(settings, "vit"),
        "@inproceedings{dosovitskiy2021image,\n  title = {An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale},\n  author = {Dosovitskiy, Alexey and others},\n  booktitle = {ICLR},\n  year = {2021},\n  eprint = {2010.11929},\n  archivePrefix = {arXiv}\n}",
    ),
    (
        |settings| is_model(settings, "") && settings.vision.scheduler == VisionScheduler::OneCycle,
        "@article{smith2018super,\n  title = {Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates},\n  author = {Smith, Leslie N. and Topin, Nicholay},\n  year = {2018},\n  eprint = {1708.07120},\n  archivePrefix = {arXiv}\n}",
    ),
    (
        |settings| is_model(settings, "") && settings.vision.label_smoothing > 0.0,
        "@inproceedings{szegedy2016rethinking,\n  title = {Rethinking the Inception Architecture for Computer Vision},\n  author = {Szegedy, Christian and others},\n  booktitle = {CVPR},\n  year = {2016},\n  eprint = {1512.00567},\n  archivePrefix = {arXiv}\n}",
    ),
    (
        |settings| is_model(settings, "") && settings.vision.mixup_alpha > 0.0,
        "@inproceedings{zhang2018mixup,\n  title = {mixup: Beyond Empirical Risk Minimization},\n  author = {Zhang, Hongyi and others},\n  booktitle = {ICLR},\n  year = {2018},\n  eprint = {1710.09412},\n  archivePrefix = {arXiv}\n}",
    ),
    (
        is_language_model,
        "@inproceedings{hu2022lora,\n  title = {{LoRA}: Low-Rank Adaptation of Large Language Models},\n  author = {Hu, Edward J. and others},\n  booktitle = {ICLR},\n  year = {2022},\n  eprint = {2106.09685},\n  archivePrefix = {arXiv}\n}",
    ),
    (
        |settings| is_language_model(settings) && settings.lora.use_rslora,
        "@article{kalajdzievski2023rank,\n  title = {A Rank Stabilization Scaling Factor for Fine-Tuning with {LoRA}},\n  author = {Kalajdzievski, Damjan},\n  year = {2023},\n  eprint = {2312.03732},\n  archivePrefix = {arXiv}\n}",
    ),
    (
        |settings| is_language_model(settings) && settings.lora.use_dora,
        "@inproceedings{liu2024dora,\n  title = {{DoRA}: Weight-Decomposed Low-Rank Adaptation},\n  author = {Liu, Shih-Yang and others},\n  booktitle = {ICML},\n  year = {2024},\n  eprint = {2402.09353},\n  archivePrefix = {arXiv}\n}",
    ),
    (
        |settings| is_language_model(settings) && settings.lora.loraplus_lr_ratio > 1.0,
        "@inproceedings{hayou2024lora,\n  title = {{LoRA+}: Efficient Low Rank Adaptation of Large Models},\n  author = {Hayou, Soufiane and Ghosh, Nikhil and Yu, Bin},\n  booktitle = {ICML},\n  year = {2024},\n  eprint = {2402.12354},\n  archivePrefix = {arXiv}\n}",
    ),
    (
        |settings| optimizer(settings) == OptimizerKind::AdamW,
        "@inproceedings{loshchilov2019decoupled,\n  title = {Decoupled Weight Decay Regularization},\n  author = {Loshchilov, Ilya and Hutter, Frank},\n  booktitle = {ICLR},\n  year = {2019},\n  eprint = {1711.05101},\n  archivePrefix = {arXiv}\n}",
    ),
];

/// BibTeX of what a run of `settings` used.
pub(super) fn references(settings: &Settings) -> String {
    let used = REFERENCES.iter().filter(|(is_used, _)| is_used(settings));
    used.map(|(_, entry)| *entry).collect::<Vec<_>>().join("\n\n")
}

fn selects(settings: &Settings, policies: &[AstPolicy]) -> bool {
    settings.ast.enabled && policies.contains(&settings.ast.policy)
}

fn is_model(settings: &Settings, family: &str) -> bool {
    settings.vision.model.as_ref().is_some_and(|model| model.starts_with(family))
}

fn is_language_model(settings: &Settings) -> bool {
    settings.vision.model.is_none()
}

fn optimizer(settings: &Settings) -> OptimizerKind {
    if is_language_model(settings) { settings.training.optimizer } else { settings.vision.optimizer }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_used_is_cited() {
        let mut settings = Settings::default();
        settings.vision.model = Some("resnet18".into());
        assert!(references(&settings).starts_with("@inproceedings{he2016deep"));
        assert_eq!(references(&settings).matches('@').count(), 1);
        settings.ast.policy = AstPolicy::Infobatch;
        assert!(!references(&settings).contains("qin2024"), "selection was off");
        settings.ast.enabled = true;
        assert!(references(&settings).contains("qin2024"));
        assert!(!references(&Settings::default()).contains("he2016"));
    }
}
