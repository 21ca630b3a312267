//! Every setting of a project, with its default: `config/fine_tuning_config.toml` as types.
//!
//! The structs are what a run is trained with; how they are put together from layers is [`crate::resolve`].

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Declares a section: a struct whose fields have defaults, readable from partial input.
macro_rules! section {
    ($(#[$meta:meta])* $name:ident { $($(#[$fmeta:meta])* $field:ident : $ty:ty = $default:expr,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name { $($(#[$fmeta])* pub $field: $ty,)* }
        impl Default for $name {
            fn default() -> Self { Self { $($field: $default,)* } }
        }
    };
}

/// Declares a setting that takes one of a few words.
macro_rules! choice {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        pub enum $name { $($(#[$vmeta])* #[serde(rename = $word)] $variant,)* }
        impl $name {
            /// All of its values.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            /// The words that are allowed, in the order of [`ALL`](Self::ALL).
            pub const WORDS: &'static [&'static str] = &[$($word),*];
            /// The word for this value.
            pub const fn as_str(self) -> &'static str { match self { $(Self::$variant => $word,)* } }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(self.as_str()) }
        }
    };
}

section! {
    /// All settings.
    Settings {
        /// `[project]`.
        project: ProjectSettings = ProjectSettings::default(),
        /// `[base_model]`.
        base_model: BaseModelSettings = BaseModelSettings::default(),
        /// `[training]`.
        training: TrainingSettings = TrainingSettings::default(),
        /// `[lora]`.
        lora: LoraSettings = LoraSettings::default(),
        /// `[dataset]`.
        dataset: DatasetSettings = DatasetSettings::default(),
        /// `[vision]`.
        vision: VisionSettings = VisionSettings::default(),
        /// `[ast]`.
        ast: AstSettings = AstSettings::default(),
        /// `[carbon]`.
        carbon: CarbonSettings = CarbonSettings::default(),
        /// `[mlflow]`.
        mlflow: MlflowSettings = MlflowSettings::default(),
        /// `[wandb]`.
        wandb: WandbSettings = WandbSettings::default(),
        /// `[huggingface]`.
        huggingface: HuggingfaceSettings = HuggingfaceSettings::default(),
        /// `[evaluation]`.
        evaluation: EvaluationSettings = EvaluationSettings::default(),
    }
}

section! {
    /// `[project]`: what the project is called.
    ProjectSettings {
        /// Name; also the default of `carbon.project_name`.
        name: String = String::from("fine-tuning"),
        /// One line on its purpose.
        description: String = String::new(),
        /// Version of the project.
        version: String = String::from("1.0.0"),
    }
}

choice! {
    /// Family of the base model.
    ModelType {
        /// OLMo, OLMo-2, OLMo-3.
        Olmo = "olmo",
        /// Llama.
        Llama = "llama",
        /// Mistral.
        Mistral = "mistral",
        /// Any supported architecture, detected from `config.json`.
        Custom = "custom",
    }
}

choice! {
    /// How frozen weights are kept in memory.
    Quantization {
        /// As in the file.
        None = "none",
        /// 8 bits per weight.
        Q8 = "q8",
        /// 4 bits per weight.
        Q4 = "q4",
    }
}

section! {
    /// `[base_model]`: what is fine-tuned.
    BaseModelSettings {
        /// Family.
        r#type: ModelType = ModelType::Custom,
        /// Identifier on the Hugging Face Hub, such as `allenai/OLMo-2-0425-1B`; downloaded when there is no `local_path`.
        model_id: String = String::new(),
        /// Branch, tag or commit of `model_id`; in a run's manifest the commit that it stood for.
        revision: String = String::from("main"),
        /// Folder with `config.json`, `*.safetensors` and `tokenizer.json`; relative to the project.
        local_path: Option<PathBuf> = None,
        /// How frozen weights are kept in memory; they are unpacked where they are used, and computed with as f32.
        quantization: Quantization = Quantization::None,
    }
}

choice! {
    /// Device that trains.
    Device {
        /// The best that is present.
        Auto = "auto",
        /// The processor.
        Cpu = "cpu",
        /// A GPU through wgpu (Vulkan, Metal, DX12).
        Wgpu = "wgpu",
        /// An NVIDIA GPU.
        Cuda = "cuda",
        /// An Apple GPU.
        Metal = "metal",
        /// The processor through candle, to compare with.
        Candle = "candle",
    }
}

choice! {
    /// Number format of frozen weights in memory; the processor computes in f32 whatever it is.
    Precision {
        /// 32-bit floats.
        F32 = "f32",
        /// 16-bit floats.
        F16 = "f16",
        /// bfloat16.
        Bf16 = "bf16",
    }
}

choice! {
    /// Optimizer.
    OptimizerKind {
        /// AdamW: two moments for every trained value.
        AdamW = "adamw",
        /// SGD with momentum 0.9: one moment for every trained value; it needs a much higher learning rate.
        Sgd = "sgd",
    }
}

impl OptimizerKind {
    /// Names of the moments that it keeps for every trained value of a language model, as checkpoints have them.
    pub const fn moments(self) -> &'static [&'static str] {
        match self {
            Self::AdamW => &["first", "second"],
            Self::Sgd => &["velocity"],
        }
    }
}

section! {
    /// `[training]`: how it is trained.
    TrainingSettings {
        /// Stages: 1, or 2 (the second starts from the first's adapters and replays its records).
        num_stages: u8 = 2,
        /// How many times as often a record of high quality is drawn.
        quality_weight_multiplier: f64 = 2.5,
        /// Quality at or above which a record counts as high (on the scale of the data).
        quality_threshold: f64 = 0.7,
        /// Optimizer steps between checkpoints.
        save_steps: u64 = 50,
        /// Optimizer steps between evaluations on the validation records.
        eval_steps: u64 = 25,
        /// Checkpoints kept per stage.
        keep_checkpoints: u64 = 2,
        /// Keep only each layer's input and compute the layer again in the backward pass: less memory, more time.
        gradient_checkpointing: bool = false,
        /// Seed of all random choices.
        seed: u64 = 42,
        /// Tokens per record at most; longer records are truncated.
        max_seq_length: u64 = 512,
        /// Fill each batch up to `batch_size · max_seq_length` tokens with whole records, instead of `batch_size` records.
        packing: bool = false,
        /// Norm to which gradients are clipped; 0 clips nothing.
        max_grad_norm: f64 = 1.0,
        /// Optimizer.
        optimizer: OptimizerKind = OptimizerKind::AdamW,
        /// Decoupled weight decay.
        weight_decay: f64 = 0.0,
        /// Refuse to start a run that does not fit into memory.
        memory_check: bool = true,
        /// Device that trains.
        device: Device = Device::Auto,
        /// Number format of frozen weights in memory; no loss when the files have it too.
        precision: Precision = Precision::F32,
        /// `[training.stage1]`.
        stage1: StageSettings = StageSettings::default(),
        /// `[training.stage2]`.
        stage2: Stage2Settings = Stage2Settings::default(),
    }
}

impl Stage2Settings {
    /// Records of an optimizer step of a language model.
    pub fn records_per_step(&self) -> u64 {
        self.batch_size.saturating_mul(self.gradient_accumulation)
    }
}

impl TrainingSettings {
    /// The settings of `stage` (1 or 2) in one form; stage 1 replays nothing.
    pub fn stage(&self, stage: u8) -> Stage2Settings {
        if stage == 2 {
            return self.stage2.clone();
        }
        let s = &self.stage1;
        Stage2Settings {
            iterations: s.iterations,
            learning_rate: s.learning_rate,
            batch_size: s.batch_size,
            gradient_accumulation: s.gradient_accumulation,
            warmup_steps: s.warmup_steps,
            scheduler: s.scheduler,
            replay_ratio: 0.0,
        }
    }
}

choice! {
    /// Learning-rate schedule after warm-up.
    Scheduler {
        /// Down to 0 in a straight line.
        Linear = "linear",
        /// Down to 0 along half a cosine.
        Cosine = "cosine",
        /// Unchanged.
        Constant = "constant",
    }
}

section! {
    /// `[training.stage1]`.
    StageSettings {
        /// Optimizer steps.
        iterations: u64 = 100,
        /// Peak learning rate.
        learning_rate: f64 = 2e-5,
        /// Records per forward pass.
        batch_size: u64 = 4,
        /// Forward passes per optimizer step.
        gradient_accumulation: u64 = 1,
        /// Steps over which the learning rate rises from 0.
        warmup_steps: u64 = 10,
        /// Learning-rate schedule after warm-up.
        scheduler: Scheduler = Scheduler::Linear,
    }
}

section! {
    /// `[training.stage2]`.
    Stage2Settings {
        /// Optimizer steps.
        iterations: u64 = 150,
        /// Peak learning rate.
        learning_rate: f64 = 1e-6,
        /// Records per forward pass.
        batch_size: u64 = 4,
        /// Forward passes per optimizer step.
        gradient_accumulation: u64 = 1,
        /// Steps over which the learning rate rises from 0.
        warmup_steps: u64 = 10,
        /// Learning-rate schedule after warm-up.
        scheduler: Scheduler = Scheduler::Linear,
        /// Share of the drawn records that comes from stage 1, in `[0, 1)`.
        replay_ratio: f64 = 0.15,
    }
}

section! {
    /// `[lora]`: low-rank adapters (Hu et al. 2021, arXiv:2106.09685).
    LoraSettings {
        /// Rank of the update.
        rank: u64 = 8,
        /// The update is scaled by alpha / rank.
        alpha: f64 = 16.0,
        /// Share of the adapter's inputs that is zeroed in training, in `[0, 1)`.
        dropout: f64 = 0.05,
        /// Projections that get an adapter; `all-linear` stands for all of them.
        target_modules: Vec<String> = vec![String::from("q_proj"), String::from("v_proj")],
        /// Scale by alpha / √rank instead (rsLoRA, Kalajdzievski 2023, arXiv:2312.03732).
        use_rslora: bool = false,
        /// Train the magnitude of each output too (DoRA, Liu et al. 2024, arXiv:2402.09353).
        use_dora: bool = false,
        /// Learning rate of LoRA's B against that of A (LoRA+, Hayou et al. 2024, arXiv:2402.12354); at least 1.
        loraplus_lr_ratio: f64 = 1.0,
    }
}

/// What stands for all of [`LORA_TARGETS`], as in PEFT.
pub const ALL_LINEAR: &str = "all-linear";

/// What `target_modules` may name: every projection, then [`ALL_LINEAR`].
pub const LORA_WORDS: &[&str] =
    &["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", ALL_LINEAR];

/// Projections of a decoder that can get an adapter.
pub const LORA_TARGETS: &[&str] = LORA_WORDS.split_at(LORA_WORDS.len() - 1).0;

impl BaseModelSettings {
    /// The base model's id on the Hugging Face Hub. Beside a folder `model_id` is one only with an organisation: a bare
    /// word is what somebody calls the folder, and on the Hub it would be another model.
    pub fn hub_id(&self) -> Option<&str> {
        let id = Some(self.model_id.as_str()).filter(|id| crate::ids::check_model_id(id).is_ok());
        id.filter(|id| self.local_path.is_none() || id.contains('/'))
    }
}

impl LoraSettings {
    /// The projections that get an adapter, each by its name.
    pub fn targets(&self) -> Vec<String> {
        if self.target_modules.iter().any(|target| target == ALL_LINEAR) {
            return LORA_TARGETS.iter().map(|target| (*target).to_owned()).collect();
        }
        self.target_modules.clone()
    }

    /// What the adapters are, such as `DoRA of rank 8, rank-stabilised`.
    pub fn describe(&self) -> String {
        let kind = if self.use_dora { "DoRA" } else { "LoRA" };
        let scale = if self.use_rslora { ", rank-stabilised" } else { "" };
        format!("{kind} of rank {}{scale}", self.rank)
    }
}

/// What a run trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Adapters of a language model.
    LanguageModel,
    /// An image classifier.
    ImageClassification,
}

impl Settings {
    /// What is trained under these settings.
    pub const fn task(&self) -> Task {
        if self.vision.model.is_some() { Task::ImageClassification } else { Task::LanguageModel }
    }

    /// How frozen weights are kept in memory: `f32`, `bf16`, `f16`, `q8` or `q4`.
    pub fn frozen_weights(&self) -> &'static str {
        match self.base_model.quantization {
            Quantization::None => self.training.precision.as_str(),
            quantized => quantized.as_str(),
        }
    }
}

choice! {
    /// Format of a data set.
    DatasetFormat {
        /// By the file's extension; JSONL when that says nothing.
        Auto = "auto",
        /// One JSON object per line.
        Jsonl = "jsonl",
        /// Comma-separated values with a header.
        Csv = "csv",
        /// Apache Parquet.
        Parquet = "parquet",
    }
}

choice! {
    /// What a record of a data set looks like.
    DatasetSchema {
        /// Recognised by the fields of the first record.
        Auto = "auto",
        /// An instruction, further input and the response, in the fields that the settings name.
        Alpaca = "alpaca",
        /// A conversation: `messages` of `role` and `content`, as ChatML and OpenAI have it.
        Messages = "messages",
        /// A conversation: `conversations` of `from` and `value`.
        Sharegpt = "sharegpt",
        /// Plain `text`, or a `prompt` and its `completion`; no prompt template is applied.
        Completion = "completion",
    }
}

section! {
    /// `[dataset]`: how records are read.
    DatasetSettings {
        /// Format of the files.
        format: DatasetFormat = DatasetFormat::Auto,
        /// What a record looks like; recognised by the fields of the first record when `auto`.
        schema: DatasetSchema = DatasetSchema::Auto,
        /// Field with the instruction.
        instruction_field: String = String::from("instruction"),
        /// Field with further input; may be absent in a record.
        input_field: String = String::from("input"),
        /// Field with the response, the only part on which the loss is computed.
        output_field: String = String::from("output"),
        /// Field with the quality: a number, or a word such as `high`; may be absent in a record.
        quality_field: String = String::from("quality"),
        /// Field with anything else; carried along, never trained on.
        metadata_field: String = String::from("metadata"),
        /// Share of records for training when a data set is split.
        train_split: f64 = 0.8,
        /// Share of records for validation when a data set is split.
        validation_split: f64 = 0.1,
        /// Share of records for testing when a data set is split.
        test_split: f64 = 0.1,
        /// Prompt in minijinja's syntax over `instruction` and `input`; when absent the model's chat template is used,
        /// and an instruction/response form when it has none.
        prompt_template: Option<String> = None,
    }
}

/// Architectures of image classifiers.
pub const VISION_MODELS: &[&str] = &[
    "simplecnn",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b2",
    "efficientnet_b3",
    "vit_tiny",
    "vit_small",
];

choice! {
    /// Course of an image model's learning rate over its epochs.
    VisionScheduler {
        /// Down to 0 along half a cosine.
        Cosine = "cosine",
        /// Up from 1/25 of the peak in the first 30 %, then down to 1/10000 of that, along half cosines (Smith & Topin
        /// 2018, arXiv:1708.07120).
        OneCycle = "one_cycle",
        /// Unchanged.
        Constant = "constant",
    }
}

choice! {
    /// What is done to training images, drawn anew in every epoch.
    Augmentation {
        /// Nothing.
        None = "none",
        /// Mirrored left to right, every other one.
        Flip = "flip",
        /// Shifted by up to an eighth of the side without mirroring: for digits and letters.
        Crop = "crop",
        /// Shifted by up to an eighth of the side, and mirrored: the recipe of CIFAR.
        CropFlip = "crop_flip",
        /// A random part, resized, and mirrored: the recipe of ImageNet.
        ResizedCrop = "resized_crop",
    }
}

section! {
    /// `[vision]`: training of an image classifier, in place of a language model.
    ///
    /// Epochs, batch, optimizer, learning rate, weight decay, schedule and augmentation that nobody set are chosen for
    /// each run by architecture and data ([`crate::image_defaults`]); the values here stand where neither is known.
    VisionSettings {
        /// Architecture, such as `simplecnn`, `resnet18`, `efficientnet_b0`, `vit_tiny`; a language model is fine-tuned
        /// when absent.
        model: Option<String> = None,
        /// Weights to start from (`*.safetensors` of torchvision or timm), relative to the project; random when absent.
        pretrained: Option<PathBuf> = None,
        /// Side of the square images that the model sees; the data's own when they are all of one size, else 224.
        image_size: Option<u64> = None,
        /// Passes over the training images, those of the warm-up included.
        epochs: u64 = 10,
        /// Images per optimizer step.
        batch_size: u64 = 64,
        /// Optimizer.
        optimizer: OptimizerKind = OptimizerKind::Sgd,
        /// Peak learning rate.
        learning_rate: f64 = 0.05,
        /// Momentum of SGD.
        momentum: f64 = 0.9,
        /// Weight decay; norms and biases are decayed too, as PyTorch's optimizers do.
        weight_decay: f64 = 5e-4,
        /// Learning-rate schedule.
        scheduler: VisionScheduler = VisionScheduler::Cosine,
        /// Share of the label that is spread over all classes (Szegedy et al. 2016, arXiv:1512.00567).
        label_smoothing: f64 = 0.0,
        /// Parameter of the Beta distribution by which two images are mixed (Zhang et al. 2018, arXiv:1710.09412); 0
        /// mixes nothing.
        mixup_alpha: f64 = 0.0,
        /// What is done to training images.
        augmentation: Augmentation = Augmentation::CropFlip,
        /// Share of the training images that is held out where a data set has no validation part.
        validation_share: f64 = 0.1,
        /// Threads that read and decode images ahead of training.
        loader_threads: u64 = 1,
    }
}

choice! {
    /// How samples are selected (docs/adaptive-sparse-training.md).
    AstPolicy {
        /// Remembered scores of bounded age, unbiased by rescaling.
        Ast = "ast",
        /// Samples of below-average loss are pruned at random and the rest of them rescaled (Qin et al. 2024).
        Infobatch = "infobatch",
        /// Selects the highest fresh scores by a running quantile.
        Quantile = "quantile",
        /// The rule of the package adaptive-sparse-training 1.0.1, to compare with.
        Sundew = "sundew",
        /// A random subset: the control that any selection must beat.
        Random = "random",
        /// All samples.
        Full = "full",
    }
}

choice! {
    /// What is selected.
    #[derive(Default)]
    AstUnit {
        /// Images, or the records of a language model.
        #[default]
        Sample = "sample",
        /// Labelled tokens of a language model, within all of its records.
        Token = "token",
    }
}

impl AstUnit {
    /// As a reader counts them.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Sample => "samples",
            Self::Token => "tokens",
        }
    }
}

section! {
    /// `[ast]`: adaptive sparse training.
    AstSettings {
        /// Train on selected samples only (adaptive sparse training).
        enabled: bool = false,
        /// Share of samples that is trained on, in `(0, 1]`: of the images, or of the records of a language model.
        target_activation_rate: f64 = 0.40,
        /// Weight of entropy against loss in a sample's score, in `[0, 1]`.
        entropy_weight: f64 = 0.3,
        /// How samples are selected.
        policy: AstPolicy = AstPolicy::Ast,
        /// What is selected: samples, or the tokens that a language model's loss is computed on.
        unit: AstUnit = AstUnit::Sample,
        /// Epochs on all samples first; when absent 2 for an image classifier (at most half of its epochs), none for a
        /// language model.
        warmup_epochs: Option<u64> = None,
        /// Epochs after which `ast` trains on a sample that it has passed over, whatever its score.
        max_score_age: u64 = 10,
        /// Share of the sparse phase, at its end, that trains on all samples, in `[0, 1)`; the policy's own when absent.
        annealing_share: Option<f64> = None,
    }
}

choice! {
    /// Whose energy is counted.
    TrackingMode {
        /// The whole machine.
        Machine = "machine",
        /// This process and its descendants: their estimated share.
        Process = "process",
    }
}

choice! {
    /// A cloud whose regions have figures of carbon intensity.
    CloudProvider {
        /// Amazon Web Services.
        Aws = "aws",
        /// Microsoft Azure.
        Azure = "azure",
        /// Google Cloud.
        Gcp = "gcp",
    }
}

section! {
    /// `[carbon]`: metering.
    CarbonSettings {
        /// Meter each stage.
        enabled: bool = true,
        /// Name in the emissions files; the project's name when absent.
        project_name: Option<String> = None,
        /// Country whose grid is used, ISO 3166-1 alpha-3.
        country_iso_code: String = String::from("USA"),
        /// State, province or zone in that country.
        region: Option<String> = None,
        /// Never ask a service for live carbon intensity.
        offline_mode: bool = false,
        /// Service for live carbon intensity.
        emissions_endpoint: Option<String> = None,
        /// Seconds between samples.
        measure_interval_seconds: f64 = 5.0,
        /// Cloud in whose data centre it trains; the grid of `cloud_region` is used then.
        cloud_provider: Option<CloudProvider> = None,
        /// Region of the cloud, such as europe-west1.
        cloud_region: Option<String> = None,
        /// Power usage effectiveness of the data centre; at least 1.
        pue: f64 = 1.0,
        /// Price of a kWh of electricity, for the cost in a plan; no cost is named when absent.
        electricity_price_per_kwh: Option<f64> = None,
        /// Currency of that price (ISO 4217), such as EUR.
        electricity_currency: Option<String> = None,
        /// Whose energy is counted.
        tracking_mode: TrackingMode = TrackingMode::Machine,
        /// File that says how a wall meter compares to this machine's counters, as `calibrate_meter` writes it.
        calibration_file: Option<PathBuf> = None,
        /// File with your own factors for the everyday equivalents, instead of the built-in ones.
        equivalences_file: Option<PathBuf> = None,
        /// Emissions after which a run stops at the next step, with a checkpoint, in kg CO2-equivalent.
        budget_kg: Option<f64> = None,
        /// Energy after which a run stops at the next step, with a checkpoint, in kWh.
        budget_kwh: Option<f64> = None,
        /// `[carbon.alerts]`.
        alerts: CarbonAlerts = CarbonAlerts::default(),
    }
}

section! {
    /// `[carbon.alerts]`: when to warn.
    CarbonAlerts {
        /// Emissions of a run above which it warns, in kg CO2-equivalent.
        high_emissions_kg: f64 = 10.0,
        /// Emissions per hour above which it warns, in kg CO2-equivalent.
        high_emissions_per_hour_kg: f64 = 2.0,
    }
}

section! {
    /// `[mlflow]`: experiment tracking.
    MlflowSettings {
        /// Log runs to MLflow.
        enabled: bool = false,
        /// Address of the tracking server, without credentials.
        tracking_uri: String = String::from("http://localhost:5000"),
        /// Experiment; `{project}-training` when absent.
        experiment_name: Option<String> = None,
        /// Log emissions too.
        log_emissions: bool = true,
    }
}

section! {
    /// `[wandb]`: Weights & Biases.
    WandbSettings {
        /// Project there; nothing is logged when absent.
        project: Option<String> = None,
        /// User or team that the project belongs to; the account's default when absent.
        entity: Option<String> = None,
    }
}

section! {
    /// `[huggingface]`: the Hugging Face Hub.
    HuggingfaceSettings {
        /// Upload finished models.
        enabled: bool = false,
        /// User or organisation, with an optional name prefix.
        repo_prefix: Option<String> = None,
        /// Make repositories private.
        private_repos: bool = true,
    }
}

section! {
    /// `[evaluation]`: figures and the thresholds they must reach.
    EvaluationSettings {
        /// Figures that are computed. Perplexity and accuracy always are; `fields` compares JSON answers field by field.
        metrics: Vec<String> = METRICS.iter().map(|name| String::from(*name)).collect(),
        /// Token accuracy that stage 1 must reach on its validation records, in `[0, 1]`.
        stage1_threshold: f64 = 0.7,
        /// Token accuracy that stage 2 must reach on its validation records, in `[0, 1]`.
        stage2_threshold: f64 = 0.7,
        /// Token accuracy that stage 2 must keep on stage 1's validation records, in `[0, 1]`.
        sequential_threshold: f64 = 0.6,
        /// Records for which a response is generated, at most.
        generate_records: u64 = 16,
        /// `[evaluation.thresholds]`.
        thresholds: EvaluationThresholds = EvaluationThresholds::default(),
    }
}

section! {
    /// `[evaluation.thresholds]`: what further figures of an evaluated stage must reach; none is asked for by default.
    EvaluationThresholds {
        /// Perplexity that must not be exceeded.
        perplexity: Option<f64> = None,
        /// Share of responses that must equal the expected ones.
        exact_match: Option<f64> = None,
        /// BLEU that must be reached, in `[0, 1]`.
        bleu: Option<f64> = None,
        /// chrF that must be reached, in `[0, 1]`.
        chrf: Option<f64> = None,
        /// ROUGE-L that must be reached, in `[0, 1]`.
        rouge_l: Option<f64> = None,
        /// Share of responses that must be JSON.
        json_parsed: Option<f64> = None,
        /// Share of responses that must be the expected JSON object.
        json_equal: Option<f64> = None,
        /// Share of fields of JSON objects that must be right.
        field_accuracy: Option<f64> = None,
        /// Mean score of the user's command that must be reached.
        custom: Option<f64> = None,
    }
}

/// Words of `evaluation.metrics`.
pub const METRICS: &[&str] = &["perplexity", "accuracy", "exact_match", "bleu", "chrf", "rouge_l", "fields"];

impl EvaluationSettings {
    /// Whether `evaluation.metrics` asks for `name`.
    pub fn computes(&self, name: &str) -> bool {
        self.metrics.iter().any(|metric| metric == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_no_repository() {
        let hub_id = |id: &str, folder: Option<&str>| {
            let base = BaseModelSettings {
                model_id: id.to_owned(),
                local_path: folder.map(PathBuf::from),
                ..BaseModelSettings::default()
            };
            base.hub_id().map(str::to_owned)
        };
        assert_eq!(hub_id("allenai/OLMo-2-0425-1B", None).as_deref(), Some("allenai/OLMo-2-0425-1B"));
        assert_eq!(hub_id("gpt2", None).as_deref(), Some("gpt2"));
        assert_eq!(
            hub_id("allenai/OLMo-2-0425-1B", Some("/models/olmo")).as_deref(),
            Some("allenai/OLMo-2-0425-1B")
        );
        for (id, folder) in
            [("hf", "/models/hf"), ("My Base (v2)", "/models/My Base (v2)"), ("", "/models/hf")]
        {
            assert_eq!(hub_id(id, Some(folder)), None);
        }
        assert_eq!(hub_id("", None), None);
    }
}
