//! Plans, and the runs that they were made for, with a real worker.

use std::{path::PathBuf, process::Command};

use serde_json::{Value, json};

use crate::sandbox::{Sandbox, ran};

/// A project over the bundled base model, with records of about `words` words.
struct Planned {
    sandbox: Sandbox,
    project: PathBuf,
}

impl Planned {
    fn new(words: usize) -> Self {
        let sandbox = Sandbox::new();
        let model = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/base-model");
        let made = sandbox.run(["new", "p", "--base-model", model]);
        assert_eq!(made.code, 0, "{made:?}");
        let project = sandbox.path("p");
        for (name, records) in [("train", 48), ("validation", 6)] {
            std::fs::write(project.join(format!("{name}.jsonl")), jsonl(name, records, words)).unwrap();
        }
        Self { sandbox, project }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.sandbox.command(arguments);
        command.current_dir(&self.project);
        command
    }

    fn json(&self, arguments: &[&str]) -> Value {
        ran(self.command(arguments).arg("--json")).json()
    }

    fn configure(&self, settings: &[&str]) -> String {
        let new =
            ["runs", "new", "--name", "small", "--train", "train.jsonl", "--validation", "validation.jsonl"];
        let fixed = [
            "training.num_stages=1",
            "training.stage1.iterations=4",
            "training.device=cpu",
            "training.eval_steps=2",
            "evaluation.generate_records=1",
        ];
        let flags = fixed.iter().chain(settings).flat_map(|setting| ["--set", setting]);
        let made = ran(self.command(&new).args(flags).arg("--json")).json();
        made["run_id"].as_str().unwrap().to_owned()
    }
}

fn jsonl(name: &str, records: usize, words: usize) -> String {
    let record = |number: usize| {
        let output = vec!["calm"; words + number % 5].join(" ");
        json!({ "instruction": format!("{name} {number}"), "output": output }).to_string() + "\n"
    };
    (0..records).map(record).collect()
}

fn quantity<'a>(answer: &'a Value, name: &str) -> &'a Value {
    let all = answer["accuracy"]["quantities"].as_array().unwrap();
    all.iter().find(|found| found["quantity"] == name).unwrap_or_else(|| panic!("{name}: {answer}"))
}

#[test]
fn memory_is_planned_within_a_quarter_and_earlier_runs_tell_the_next_ones_pace() {
    // Few tokens in a batch and few trained weights, and many of both.
    let few = ["training.stage1.batch_size=2"];
    let many = [
        "training.stage1.batch_size=16",
        "training.max_seq_length=256",
        "lora.rank=64",
        "lora.target_modules=q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj",
    ];
    let mut peaks = Vec::new();
    for (words, settings) in [(30, &few[..]), (120, &many[..])] {
        let planned = Planned::new(words);
        let first = planned.configure(settings);
        let plan = planned.json(&["runs", "plan", &first]);
        assert_eq!(plan["plan"]["basis"], "measured_steps");
        assert!(plan["plan"]["time"]["duration_seconds"].as_f64().unwrap() > 0.0, "{plan}");
        assert!(plan["plan"]["energy"]["energy_kwh"].as_f64().unwrap() > 0.0, "{plan}");
        assert_eq!(plan["plan"].get("cost"), None, "no price is known");
        planned.json(&["train", &first]);
        let done = planned.json(&["runs", "plan", &first]);
        assert_eq!(done["plan"], plan["plan"], "the plan of a completed run stands");
        let memory = quantity(&done, "peak_memory_bytes");
        let ratio = memory["ratio"].as_f64().unwrap();
        assert!((0.75..=1.25).contains(&ratio), "{memory}: {}", plan["plan"]["memory"]);
        peaks.push(memory["actual"].as_f64().unwrap());

        let second = planned.configure(&[settings, &["carbon.electricity_price_per_kwh=0.3"]].concat());
        let next = planned.json(&["runs", "plan", &second]);
        assert_eq!(
            (&next["plan"]["basis"], &next["plan"]["past_runs"]),
            (&json!("past_runs"), &json!([first]))
        );
        assert_eq!(next["last_plan"]["run_id"], json!(first));
        assert!((next["plan"]["memory"]["correction"].as_f64().unwrap() - ratio).abs() < 1e-9);
        assert!(next["plan"]["cost"]["amount"].as_f64().unwrap() > 0.0, "{next}");

        let shown = ran(&mut planned.command(&["runs", "show", &first]));
        assert!(shown.stdout.contains("actual/planned") && shown.stdout.contains("peak memory"), "{shown:?}");
        let page = ran(&mut planned.command(&["runs", "plan", &second]));
        for words in ["memory", "time", "carbon", "cost", "stage 1", "base weights", "assumptions"] {
            assert!(page.stdout.contains(words), "{words}: {page:?}");
        }
    }
    assert!(peaks[1] > 1.5 * peaks[0], "the two are different: {peaks:?}");
}

/// No machine that tests run on has the memory for the largest batch that settings allow.
#[test]
fn what_does_not_fit_is_refused_before_it_starts() {
    let planned = Planned::new(10);
    let run = planned.configure(&["training.stage1.batch_size=100000"]);
    let plan = planned.json(&["runs", "plan", &run]);
    assert_eq!((&plan["plan"]["memory"]["fits"], &plan["plan"]["basis"]), (&json!(false), &json!("formula")));
    let page = ran(&mut planned.command(&["runs", "plan", &run]));
    assert!(page.stdout.contains("training will be refused"), "{page:?}");

    let refused = ran(planned.command(&["train", &run]).arg("--json"));
    let problem = refused.problem();
    assert_eq!((refused.code, &problem["code"]), (69, &json!("memory.insufficient")));
    let hint = problem["hint"].as_str().unwrap();
    assert!(hint.contains("training.stage1.batch_size=1 ") && hint.contains("--no-memory-check"), "{hint}");
    let parts = problem["message"].as_str().unwrap();
    assert!(parts.contains("activations") && parts.contains("free"), "{parts}");
}
