//! Which layer wins, and that it says so.

use std::path::PathBuf;

use greentune_core_config::{
    resolve::{Argument, ConfigText, Layers, Source, overrides_from_text, registry, resolve},
    settings::{Device, LORA_TARGETS, ModelType, Precision, Scheduler, Settings},
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Settings for which every whole number from 1 to 1024 is possible.
const KEYS: [&str; 8] = [
    "training.seed",
    "training.save_steps",
    "training.stage1.batch_size",
    "training.weight_decay",
    "lora.rank",
    "lora.alpha",
    "carbon.pue",
    "carbon.alerts.high_emissions_kg",
];

fn file(name: &str, text: impl Into<String>) -> ConfigText {
    ConfigText { path: PathBuf::from(name), text: text.into() }
}

fn variable(key: &str) -> String {
    format!("GREENTUNE_{}", key.replace('.', "__").to_ascii_uppercase())
}

/// `key` in the form of a file, behind `lines` lines of comment.
fn assignment(key: &str, value: u64, lines: u64) -> String {
    format!("{}{key} = {value}\n", "# comment\n".repeat(lines as usize))
}

fn nested(key: &str, value: Value) -> Value {
    key.rsplit('.').fold(value, |value, name| json!({ name: value }))
}

fn value_of(settings: &Settings, key: &str) -> Value {
    let tree = serde_json::to_value(settings).unwrap();
    tree.pointer(&format!("/{}", key.replace('.', "/"))).unwrap().clone()
}

proptest! {
    #[test]
    fn the_last_layer_that_speaks_wins_and_the_source_says_so(
        key in prop::sample::select(&KEYS[..]),
        given in prop::array::uniform5(prop::option::of(1_u64..=1024)),
        line in 1_u64..9,
        is_nested in any::<bool>(),
    ) {
        let [user, project, overrides, environment, argument] = given;
        let override_of = |value: u64| {
            let tree = if is_nested { nested(key, value.into()) } else { json!({ key: value }) };
            tree.as_object().unwrap().clone()
        };
        let layers = Layers {
            user_file: user.map(|value| file("user.toml", assignment(key, value, line - 1))),
            project_file: project.map(|value| file("project.toml", assignment(key, value, line - 1))),
            run_overrides: overrides.map(override_of).unwrap_or_default(),
            environment: environment.map(|value| (variable(key), value.to_string())).into_iter().collect(),
            arguments: argument.map(|value| Argument::new("--set", key, value.to_string())).into_iter().collect(),
            ..Layers::default()
        };
        let sources = [
            Source::UserFile { path: "user.toml".into(), line },
            Source::ProjectFile { path: "project.toml".into(), line },
            Source::RunOverride,
            Source::Environment { variable: variable(key) },
            Source::Argument { flag: "--set".into() },
        ];

        let resolved = resolve(&layers).unwrap();

        let winner = given.into_iter().zip(sources).rev().find_map(|(value, source)| Some((value?, source)));
        let row = resolved.rows().into_iter().find(|row| row.key == key).unwrap();
        if let Some((value, source)) = winner {
            prop_assert_eq!(value_of(&resolved.settings, key).as_f64(), Some(value as f64));
            prop_assert_eq!(resolved.source(key), source.clone());
            prop_assert_eq!(resolved.sources.len(), 1);
            prop_assert_eq!((row.value.as_f64(), row.source), (Some(value as f64), source));
        } else {
            prop_assert_eq!(&resolved.settings, &Settings::default());
            prop_assert_eq!(resolved.source(key), Source::BuiltIn);
            prop_assert_eq!(resolved.sources.len(), 0);
        }
    }

    #[test]
    fn settings_written_as_toml_are_read_back_the_same(settings in settings()) {
        let text = toml_edit::ser::to_string_pretty(&settings).unwrap();
        let layers = Layers { project_file: Some(file("project.toml", text)), ..Layers::default() };
        prop_assert_eq!(resolve(&layers).unwrap().settings, settings);
    }

    #[test]
    fn settings_given_as_json_overrides_are_read_back_the_same(settings in settings()) {
        let run_overrides = serde_json::to_value(&settings).unwrap().as_object().unwrap().clone();
        let layers = Layers { run_overrides, ..Layers::default() };
        prop_assert_eq!(resolve(&layers).unwrap().settings, settings);
    }

    #[test]
    fn no_text_makes_reading_fail_otherwise_than_with_problems(text in "([a-z.]{1,9} ?=? ?[\\[\\]{}\"0-9a-z\n.é]{0,9}\n?){0,6}") {
        if let Err(problem) = resolve(&Layers { project_file: Some(file("project.toml", text)), ..Layers::default() }) {
            prop_assert_eq!(problem.code, "config.invalid");
            prop_assert!(problem.problems.iter().all(|problem| problem.code != "config.internal"));
        }
    }
}

fn settings() -> impl Strategy<Value = Settings> {
    let words = (
        "[A-Za-z0-9 é\"'\\\\#=\\[\\]\n]{1,20}",
        prop::option::of("[^\0]{1,20}"),
        prop::option::of("/[a-z]{1,9}(/[a-z]{1,9}){0,2}"),
        prop::sample::subsequence(LORA_TARGETS, 1..=LORA_TARGETS.len()),
    );
    let numbers = (0..=i64::MAX as u64, 1_u64..=1024, 1e-9..1.0, 0.0..1.0, 11_u64..1_000_000);
    let choices = (
        prop::sample::select(vec![Device::Auto, Device::Cpu, Device::Metal]),
        prop::sample::select(vec![ModelType::Olmo, ModelType::Custom]),
        prop::sample::select(vec![Precision::F32, Precision::Bf16]),
        prop::sample::select(vec![Scheduler::Cosine, Scheduler::Constant]),
        any::<bool>(),
    );
    (words, numbers, choices).prop_map(|(words, numbers, choices)| {
        let (name, prompt_template, local_path, target_modules) = words;
        let (seed, rank, learning_rate, share, iterations) = numbers;
        let (device, family, precision, scheduler, packing) = choices;
        let mut settings = Settings::default();
        settings.project.description = name;
        settings.dataset.prompt_template = prompt_template;
        settings.dataset.train_split = share;
        settings.dataset.validation_split = 1.0 - share;
        settings.dataset.test_split = 0.0;
        settings.base_model.r#type = family;
        settings.base_model.local_path = local_path.map(PathBuf::from);
        settings.lora.target_modules = target_modules.into_iter().map(str::to_owned).collect();
        settings.lora.rank = rank;
        settings.lora.dropout = share;
        settings.training.seed = seed;
        settings.training.device = device;
        settings.training.precision = precision;
        settings.training.packing = packing;
        settings.training.stage1.learning_rate = learning_rate;
        settings.training.stage1.iterations = iterations;
        settings.training.stage2.scheduler = scheduler;
        settings
    })
}

#[test]
fn every_default_can_be_given_by_a_variable() {
    let text = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let environment = registry().iter().map(|doc| (variable(&doc.key), text(&doc.default))).collect();
    let resolved = resolve(&Layers { environment, ..Layers::default() }).unwrap();
    assert_eq!(resolved.settings, Settings::default());
    for row in resolved.rows() {
        assert_eq!(row.source, Source::Environment { variable: variable(&row.key) });
    }
}

#[test]
fn texts_are_read_as_the_type_of_their_key() {
    let argument = |key, text| Argument::new("--set", key, text);
    let arguments = vec![
        argument("training.stage1.learning_rate", "1e-5"),
        argument("lora.alpha", "32"),
        argument("training.seed", "9223372036854775807"),
        argument("training.packing", "true"),
        argument("training.device", "cuda"),
        argument("project.version", "2"),
        argument("wandb.project", ""),
    ];
    let overrides = overrides_from_text(&arguments).unwrap();
    assert_eq!(
        Value::Object(overrides.clone()),
        json!({
            "lora.alpha": 32.0,
            "project.version": "2",
            "training.device": "cuda",
            "training.packing": true,
            "training.seed": i64::MAX,
            "training.stage1.learning_rate": 1e-5,
            "wandb.project": null,
        })
    );
    let by_override = resolve(&Layers { run_overrides: overrides, ..Layers::default() }).unwrap();
    let by_argument = resolve(&Layers { arguments, ..Layers::default() }).unwrap();
    assert_eq!(by_override.settings, by_argument.settings);
}

#[test]
fn lists_may_be_written_in_three_ways() {
    for text in [r#"["q_proj", "o_proj"]"#, "[q_proj,o_proj]", "q_proj, o_proj"] {
        let arguments = vec![Argument::set(&format!("lora.target_modules={text}")).unwrap()];
        let resolved = resolve(&Layers { arguments, ..Layers::default() }).unwrap();
        assert_eq!(resolved.settings.lora.target_modules, ["q_proj", "o_proj"], "{text}");
    }
}

#[test]
fn variables_that_are_no_settings_are_passed_over() {
    let names =
        ["GREENTUNE_HOME", "GREENTUNE_STATE_URL", "GREENTUNE_ARTIFACTS_URL", "GREENTUNE_LOG", "PATH", "A__B"];
    let environment = names.map(|name| (name.to_owned(), String::from("x"))).to_vec();
    let resolved = resolve(&Layers { environment, ..Layers::default() }).unwrap();
    assert!(resolved.sources.is_empty());
}

#[test]
fn sources_read_like_places() {
    let sources = [
        Source::BuiltIn,
        Source::ProjectFile { path: "config/fine_tuning_config.toml".into(), line: 12 },
        Source::RunOverride,
        Source::Environment { variable: "GREENTUNE_TRAINING__SEED".into() },
        Source::Argument { flag: "--set".into() },
    ];
    insta::assert_snapshot!(sources.map(|source| source.to_string()).join("\n"), @"
    built in
    config/fine_tuning_config.toml:12
    run override
    GREENTUNE_TRAINING__SEED
    --set
    ");
    insta::assert_json_snapshot!(sources_json(), @r#"
    [
      {
        "layer": "project_file",
        "path": "config/fine_tuning_config.toml",
        "line": 12
      },
      {
        "layer": "environment",
        "variable": "GREENTUNE_TRAINING__SEED"
      }
    ]
    "#);
}

fn sources_json() -> Value {
    json!([
        Source::ProjectFile { path: "config/fine_tuning_config.toml".into(), line: 12 },
        Source::Environment { variable: "GREENTUNE_TRAINING__SEED".into() },
    ])
}

#[test]
fn paths_start_from_home_or_the_project() {
    let local_path = |path: &str, home: Option<&str>, root: Option<&str>| {
        let layers = Layers {
            arguments: vec![Argument::new("--base-model", "base_model.local_path", path)],
            home: home.map(PathBuf::from),
            project_root: root.map(PathBuf::from),
            ..Layers::default()
        };
        resolve(&layers).map(|resolved| resolved.settings.base_model.local_path.unwrap())
    };
    assert_eq!(
        local_path("~/models/a", Some("/home/ada"), None).unwrap(),
        PathBuf::from("/home/ada/models/a")
    );
    assert_eq!(local_path("../m/./a", None, Some("/work/p")).unwrap(), PathBuf::from("/work/m/a"));
    assert_eq!(local_path("/m/a", Some("/home/ada"), Some("/p")).unwrap(), PathBuf::from("/m/a"));
    assert_eq!(local_path("models/a", None, None).unwrap(), PathBuf::from("models/a"));
    insta::assert_snapshot!(local_path("~/a", None, Some("/p")).unwrap_err(), @"
    the configuration has 1 problem
      base_model.local_path: found ~/a, but no home folder is known here; allowed: a path without `~`
    ");
}

#[test]
fn sections_may_be_written_inline_or_dotted() {
    let text = "training = { stage1 = { iterations = 30 }, seed = 7 }\nlora.rank = 4\n";
    let resolved =
        resolve(&Layers { project_file: Some(file("p.toml", text)), ..Layers::default() }).unwrap();
    assert_eq!(resolved.settings.training.stage1.iterations, 30);
    assert_eq!((resolved.settings.training.seed, resolved.settings.lora.rank), (7, 4));
    assert_eq!(resolved.source("lora.rank"), Source::ProjectFile { path: "p.toml".into(), line: 2 });
    let overrides: Map<_, _> = json!({"training.stage1": {"iterations": 30}}).as_object().unwrap().clone();
    let resolved = resolve(&Layers { run_overrides: overrides, ..Layers::default() }).unwrap();
    assert_eq!(resolved.settings.training.stage1.iterations, 30);
}

#[test]
fn a_default_warm_up_is_a_tenth_of_few_steps_and_says_so() {
    let of = |text: &str| {
        let project_file = Some(file("project.toml", text));
        resolve(&Layers { project_file, ..Layers::default() })
    };
    let lowered = of("[training]\nstage1.iterations = 39\nstage2.iterations = 9\n").unwrap();
    let training = &lowered.settings.training;
    assert_eq!((training.stage1.warmup_steps, training.stage2.warmup_steps), (3, 0));
    let source = lowered.source("training.stage1.warmup_steps").to_string();
    assert_eq!(source, "built in, lowered to fit training.stage1.iterations");
    // Where it is a tenth at most, and where somebody set it, it is left alone.
    let fits = of("[training.stage1]\niterations = 100\n").unwrap();
    assert_eq!(fits.settings.training.stage1.warmup_steps, 10);
    assert_eq!(fits.source("training.stage1.warmup_steps"), Source::BuiltIn);
    assert!(of("[training.stage1]\niterations = 5\nwarmup_steps = 10\n").is_err());
    let named = of("[training.stage1]\niterations = 20\nwarmup_steps = 10\n").unwrap();
    assert_eq!(named.settings.training.stage1.warmup_steps, 10);
}

#[test]
fn words_and_countries_mean_the_same_whatever_their_case_and_hyphens() {
    let text = "[base_model]\nquantization = \"Q8\"\n[training]\noptimizer = \"AdamW\"\n[vision]\nmodel = \"EfficientNet-B0\"\n\
                augmentation = \"crop-flip\"\n[lora]\ntarget_modules = [\"Q-Proj\"]\n[carbon]\ncountry_iso_code = \"FR\"\n";
    let layers = Layers {
        project_file: Some(file("project.toml", text)),
        environment: vec![(variable("training.device"), "CPU".into())],
        arguments: vec![Argument::new("--set", "vision.scheduler", "One-Cycle")],
        ..Layers::default()
    };
    let settings = resolve(&layers).unwrap().settings;
    let written = serde_json::to_value(&settings).unwrap();
    let word = |pointer: &str| written.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
    assert_eq!(
        ["/base_model/quantization", "/training/optimizer", "/training/device", "/vision/model"].map(word),
        ["q8", "adamw", "cpu", "efficientnet_b0"]
    );
    assert_eq!(["/vision/augmentation", "/vision/scheduler"].map(word), ["crop_flip", "one_cycle"]);
    assert_eq!(["/lora/target_modules/0", "/carbon/country_iso_code"].map(word), ["q_proj", "FRA"]);
    for (key, wrong, meant) in [
        ("training.optimizer", "adam", "did you mean adamw?"),
        ("vision.model", "resnet", "did you mean resnet18 or resnet34 or resnet50?"),
        ("carbon.country_iso_code", "France", "did you mean FRA (France)?"),
    ] {
        let arguments = vec![Argument::new("--set", key, wrong)];
        let problem = resolve(&Layers { arguments, ..Layers::default() }).unwrap_err();
        assert!(problem.problems[0].message.ends_with(meant), "{problem}");
    }
}
