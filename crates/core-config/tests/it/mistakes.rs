//! What is refused, where it is said to be, and that all of it is said at once.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use greentune_core_config::{
    Problem, ProblemKind,
    resolve::{Argument, ConfigText, Layers, overrides_from_text, resolve},
};
use serde_json::json;

fn project(text: &str) -> Layers {
    let path = PathBuf::from("config/fine_tuning_config.toml");
    Layers { project_file: Some(ConfigText { path, text: text.to_owned() }), ..Layers::default() }
}

fn set(assignment: &str) -> Result<(), Problem> {
    let arguments = vec![Argument::set(assignment)?];
    resolve(&Layers { arguments, ..Layers::default() }).map(|_| ())
}

#[test]
fn all_mistakes_of_all_layers_are_told_at_once() {
    let mut layers = project(
        r#"
[base_model]
type = "gpt"
local_path = 3

[training]
num_stages = 3
seed = "forty-two"
batch_size = 4
device = 2026-01-01

[training.stage1]
learning_rate = -1e-5
warmup_steps = 150

[lora]
rank = 0
rnak = 8
target_modules = ["q_proj", "c_attn"]

[loras]
token = "secret"

[dataset]
train_split = 0.9
"#,
    );
    layers.user_file =
        Some(ConfigText { path: "user.toml".into(), text: "[carbon]\npue = 0.5\n[ast\n".into() });
    layers.run_overrides = json!({
        "lora": {"dropout": 1.0}, "learning_rate": 1e-4, "training.stage1": 3, "evaluation": {"metrics": ["rouge"]}
    })
    .as_object()
    .unwrap()
    .clone();
    layers.environment = vec![
        ("GREENTUNE_TRAINING__MAX_SEQ_LENGTH".into(), "long".into()),
        ("GREENTUNE_A__B".into(), "1".into()),
        ("GREENTUNE_LORA_RANK".into(), "4".into()),
    ];
    layers.arguments = vec![Argument::new("--country", "carbon.country_iso_code", "germany")];

    let problem = resolve(&layers).unwrap_err();

    assert_eq!((problem.kind, problem.code.as_str()), (ProblemKind::InvalidInput, "config.invalid"));
    insta::assert_snapshot!(problem, @r#"
    the configuration has 22 problems
      user.toml:3: not TOML: unclosed table, expected `]`; the rest of the file was not read
      config/fine_tuning_config.toml:3: base_model.type: found "gpt"; allowed: olmo, llama, mistral or custom
      config/fine_tuning_config.toml:4: base_model.local_path: found 3; allowed: text, or empty for none
      config/fine_tuning_config.toml:7: training.num_stages: found 3; allowed: an integer from 1 to 2
      config/fine_tuning_config.toml:8: training.seed: found "forty-two"; allowed: an integer of at least 0
      config/fine_tuning_config.toml:9: training.batch_size: unknown key; did you mean training.stage1.batch_size or training.stage2.batch_size or vision.batch_size?
      config/fine_tuning_config.toml:10: training.device: found the date or time 2026-01-01; allowed: auto, cpu, wgpu, cuda, metal or candle
      config/fine_tuning_config.toml:13: training.stage1.learning_rate: found -0.00001; allowed: a number above 0 and at most 1
      config/fine_tuning_config.toml:17: lora.rank: found 0; allowed: an integer from 1 to 1024
      config/fine_tuning_config.toml:18: lora.rnak: unknown key; did you mean lora.rank?
      config/fine_tuning_config.toml:19: lora.target_modules: found ["q_proj","c_attn"]; allowed: a list of one or more of q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, all-linear, each once
      config/fine_tuning_config.toml:21: loras: unknown key; did you mean lora?
      lora.dropout: found 1.0 (run override); allowed: a number of at least 0 and below 1
      learning_rate: unknown key (run override); did you mean training.stage1.learning_rate or training.stage2.learning_rate or vision.learning_rate?
      training.stage1: found 3 (run override); allowed: settings inside it, it is a section
      evaluation.metrics: found ["rouge"] (run override); allowed: a list of perplexity, accuracy, exact_match, bleu, chrf, rouge_l or fields, each at most once
      training.max_seq_length: found "long" (GREENTUNE_TRAINING__MAX_SEQ_LENGTH); allowed: an integer from 8 to 1000000000
      a.b: unknown key (GREENTUNE_A__B); the sections are project, base_model, training, lora, dataset, vision, ast, carbon, mlflow, wandb, huggingface, evaluation
      lora.rank: unknown variable GREENTUNE_LORA_RANK; did you mean GREENTUNE_LORA__RANK?
      carbon.country_iso_code: found "germany" (--country); allowed: a country's code of three or two letters (ISO 3166-1), such as DEU or DE; did you mean DEU (Germany)?
      config/fine_tuning_config.toml:14: training.stage1.warmup_steps: found warmup_steps 150 with iterations 100; allowed: warmup_steps of 0, or fewer than iterations
      config/fine_tuning_config.toml:25: dataset.train_split: found train_split 0.9 + validation_split 0.1 + test_split 0.1 = 1.100000; allowed: shares that sum to 1
    "#);
    let codes: Vec<_> = problem.problems.iter().map(|problem| problem.code.as_str()).collect();
    insta::assert_snapshot!(codes.join(" "), @"config.syntax config.out_of_range config.wrong_type config.out_of_range config.wrong_type config.unknown_key config.wrong_type config.out_of_range config.out_of_range config.unknown_key config.out_of_range config.unknown_key config.out_of_range config.unknown_key config.wrong_type config.out_of_range config.wrong_type config.unknown_key config.unknown_key config.out_of_range config.out_of_range config.out_of_range");
}

#[test]
fn impossible_values_are_refused() {
    for assignment in [
        "training.num_stages=0",
        "training.num_stages=256",
        "training.seed=-1",
        "training.stage1.learning_rate=0",
        "training.stage2.learning_rate=1.5",
        "training.stage1.iterations=0",
        "training.stage1.warmup_steps=100",
        "training.stage2.warmup_steps=150",
        "training.stage1.batch_size=0",
        "training.stage2.gradient_accumulation=0",
        // Products of counts stay below 2^64: none is ever wrapped into a small one.
        "training.stage1.iterations=1000000001",
        "training.stage1.batch_size=18446744073709551615",
        "training.stage2.gradient_accumulation=100001",
        "training.max_seq_length=1000000001",
        "vision.batch_size=18446744073709551615",
        "vision.loader_threads=1000000",
        "training.stage2.replay_ratio=1",
        "training.quality_weight_multiplier=0.9",
        "training.save_steps=0",
        "training.eval_steps=0",
        "training.keep_checkpoints=0",
        "training.max_seq_length=7",
        "training.max_grad_norm=-0.1",
        "training.weight_decay=-0.1",
        "training.precision=f64",
        "lora.rank=0",
        "lora.rank=1025",
        "lora.alpha=0",
        "lora.dropout=1",
        "lora.dropout=-0.1",
        "lora.target_modules=",
        "lora.target_modules=all",
        "lora.target_modules=q_proj,q_proj",
        "lora.loraplus_lr_ratio=0.5",
        "dataset.train_split=1.1",
        "dataset.train_split=0.7",
        "dataset.output_field= ",
        "ast.target_activation_rate=0",
        "ast.entropy_weight=1.1",
        "carbon.country_iso_code=germany",
        "carbon.country_iso_code=XX",
        "carbon.measure_interval_seconds=0.05",
        "carbon.measure_interval_seconds=1e300",
        "carbon.pue=0.99",
        "evaluation.metrics=rouge",
        "evaluation.sequential_threshold=1.01",
    ] {
        let problem = set(assignment).unwrap_err();
        assert_eq!(problem.problems.len(), 1, "{assignment}: {problem}");
        let single = &problem.problems[0];
        assert_eq!(single.code, "config.out_of_range", "{assignment}");
        assert!(single.message.contains("found ") && single.message.contains("allowed: "), "{single}");
        let key = single.location.as_ref().and_then(|at| at.key.as_deref());
        assert_eq!(key, assignment.split('=').next(), "{assignment}");
    }
}

#[test]
fn values_at_the_edges_are_possible() {
    for assignment in [
        "training.num_stages=1",
        "training.stage1.learning_rate=1",
        "training.stage1.warmup_steps=99",
        "training.stage1.warmup_steps=0",
        "training.stage2.replay_ratio=0",
        "training.quality_threshold=-3.5",
        "training.max_seq_length=8",
        "training.stage2.iterations=1000000000",
        "training.stage2.batch_size=100000",
        "carbon.measure_interval_seconds=60",
        "training.max_grad_norm=0",
        "lora.rank=1024",
        "lora.dropout=0",
        "dataset.train_split=0.8000005",
        "ast.target_activation_rate=1",
        "carbon.pue=1",
        "evaluation.metrics=",
        "evaluation.stage1_threshold=1",
    ] {
        assert_eq!(set(assignment), Ok(()), "{assignment}");
    }
}

#[test]
fn values_of_another_type_are_refused() {
    for assignment in [
        "training.seed=1.5",
        "training.seed=",
        "training.packing=yes",
        "lora.alpha=NaN",
        "lora.alpha=inf",
        "training=3",
    ] {
        assert_eq!(set(assignment).unwrap_err().problems[0].code, "config.wrong_type", "{assignment}");
    }
    for line in [
        "lora.rank = 8.0",
        "lora.alpha = inf",
        "lora.alpha = \"16\"",
        "lora.target_modules = \"q_proj\"",
        "lora.target_modules = [1]",
        "project.name = 1",
        "lora = []",
        "[[lora]]",
        "[lora.rank]",
        "carbon.region = false",
    ] {
        let problem = resolve(&project(line)).unwrap_err();
        assert_eq!(problem.problems.len(), 1, "{line}: {problem}");
        let single = &problem.problems[0];
        assert_eq!(single.code, "config.wrong_type", "{line}");
        assert_eq!(single.location.as_ref().and_then(|at| at.line), Some(1), "{line}");
    }
}

#[test]
fn a_relation_is_placed_where_somebody_broke_it() {
    let text = "[training.stage1]\niterations = 5\nwarmup_steps = 10";
    insta::assert_snapshot!(resolve(&project(text)).unwrap_err(), @"
    the configuration has 1 problem
      config/fine_tuning_config.toml:3: training.stage1.warmup_steps: found warmup_steps 10 with iterations 5; allowed: warmup_steps of 0, or fewer than iterations
    ");
    insta::assert_snapshot!(resolve(&project("[dataset]\ntest_split = 0.3")).unwrap_err(), @"
    the configuration has 1 problem
      config/fine_tuning_config.toml:2: dataset.test_split: found train_split 0.8 + validation_split 0.1 + test_split 0.3 = 1.200000; allowed: shares that sum to 1
    ");
}

#[test]
fn a_refused_value_breaks_no_relation_on_top() {
    let problem =
        resolve(&project("[training.stage1]\nwarmup_steps = 120\niterations = \"many\"")).unwrap_err();
    assert_eq!(problem.problems.len(), 1, "{problem}");
}

#[test]
fn broken_toml_is_placed_and_its_text_is_kept_out() {
    let problem = resolve(&project("[lora]\nrank = 8\ntoken = hf_secret\n")).unwrap_err();
    insta::assert_snapshot!(problem, @"
    the configuration has 1 problem
      config/fine_tuning_config.toml:3: not TOML: string values must be quoted, expected literal string; the rest of the file was not read
    ");
    assert!(!problem.to_string().contains("secret"));
    let twice = resolve(&project("[lora]\nrank = 8\nrank = 9\n")).unwrap_err();
    insta::assert_snapshot!(twice, @"
    the configuration has 1 problem
      config/fine_tuning_config.toml:3: not TOML: duplicate key; the rest of the file was not read
    ");
}

#[test]
fn overrides_from_text_are_refused_like_settings() {
    let arguments = ["lora.rank=0", "lora.rnak=1"].map(|text| Argument::set(text).unwrap());
    let problem = overrides_from_text(&arguments).unwrap_err();
    insta::assert_snapshot!(problem, @"
    the configuration has 2 problems
      lora.rank: found 0 (--set); allowed: an integer from 1 to 1024
      lora.rnak: unknown key (--set); did you mean lora.rank?
    ");
    assert_eq!(Argument::set("lora.rank").unwrap_err().code, "config.syntax");
    assert_eq!(Argument::set("=3").unwrap_err().code, "config.syntax");
}

#[test]
fn odd_keys_are_unknown_keys() {
    for text in
        ["\"\" = 1", "[\"\"]\nlora.rank = 1", "\"lora.rank.x\" = 1", "[[runs]]\nname = 1", "\"é\" = 1"]
    {
        let problem = resolve(&project(text)).unwrap_err();
        assert_eq!(problem.problems.len(), 1, "{text}: {problem}");
        assert_eq!(problem.problems[0].code, "config.unknown_key", "{text}");
    }
    let environment = vec![(String::from("GREENTUNE___"), String::new())];
    let problem = resolve(&Layers { environment, ..Layers::default() }).unwrap_err();
    assert_eq!(problem.problems[0].code, "config.unknown_key");
}

#[test]
fn lines_count_the_same_behind_a_byte_order_mark_and_with_windows_line_ends() {
    let problem = resolve(&project("\u{feff}# é\r\n[lora]\r\nrank = 0\r\n")).unwrap_err();
    assert_eq!(problem.problems[0].location.as_ref().and_then(|at| at.line), Some(3));
}

#[test]
fn mistakes_without_end_are_counted_and_cost_no_more_time_than_their_text() {
    let many: Vec<String> = (0..50_000).map(|number| format!("learning_rate{number} = 1\n")).collect();
    let many = many.concat();
    let begun = Instant::now();
    let problem = resolve(&project(&many)).unwrap_err();
    assert_eq!(problem.message, "the configuration has 50000 problems");
    assert_eq!(problem.problems.len(), 101);
    assert_eq!(problem.problems[99].location.as_ref().and_then(|at| at.line), Some(100));
    assert_eq!(problem.problems[100].message, "and 49900 more");
    // A name that is like none costs no comparison.
    let long = resolve(&project(&format!("{} = 1\n", "learning_rate".repeat(50_000)))).unwrap_err();
    assert!(long.problems[0].message.contains("unknown key"), "{}", long.problems[0].message);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}
