//! Numbers that no file should have, in every kind of file that a tool reads.
//!
//! Each number and each time of a file is replaced by hostile ones, and the tools that read the file are called. Each
//! answers within [`TIME_LIMIT`], with a problem or with figures that are finite and not below 0, and without a defect.
//! `GREENTUNE_FUZZ_CALLS` calls are made (1000), spread over all files; `GREENTUNE_FUZZ_SERVER` names a program to ask
//! instead of a server in this process, whose workers then read files too. What its workers really do (plans, evaluations,
//! texts, exports) takes its time: the limit is then [`TIME_LIMIT`] and [`TIMES_AS_LONG`] what the tool took on files as
//! they should be.

use std::{
    collections::BTreeMap,
    env, fs,
    ops::Range,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    DEFECT, TIME_LIMIT,
    place::Place,
    shortened,
    wire::{Transport, Wire},
};

const NUMBERS: [&str; 11] = [
    "0",
    "-1",
    "1099511627776",        // 2^40
    "9223372036854775808",  // 2^63
    "18446744073709551615", // 2^64 - 1
    "4294967295",           // 2^32 - 1
    "1e308",
    "-1e308",
    "1e999",
    "nan",
    "\"1\"",
];
const TIMES: [&str; 4] =
    ["9999-12-30T22:00:00Z", "-009999-01-02T01:59:59Z", "0001-01-01T00:00:00Z", "9999-99-99T99:99:99Z"];
/// Times that the same name is tried in a file, such as the energy of each of many events.
const OCCURRENCES: usize = 2;
/// Places of a file that are tried. A vocabulary has thousands.
const PLACES: usize = 400;
/// What no answer may have grown the server's process to: a size of a file that was believed.
#[cfg(target_os = "linux")]
const MOST_MEMORY_BYTES: u64 = 2 << 30;
/// How long work takes at most where the files are as they should be.
const LONGEST_WORK: Duration = Duration::from_mins(5);
/// How many times as long work may take on files with a hostile number.
const TIMES_AS_LONG: u32 = 4;

/// A file with the tools that read it.
struct Target {
    path: PathBuf,
    content: Vec<u8>,
    places: Vec<Range<usize>>,
}

#[tokio::test]
async fn no_number_of_a_file_crashes_hangs_or_is_believed() {
    let calls: usize =
        env::var("GREENTUNE_FUZZ_CALLS").map_or(1000, |text| text.parse().expect("a number of calls"));
    let server = env::var_os("GREENTUNE_FUZZ_SERVER");
    let place = Place::new();
    let runs = place.set_up(&mut Wire::to(Transport::Lines, server.as_deref(), &place, "trains").await).await;
    let run = place.project().join("runs").join(&runs[0]);
    add_figures(&run);
    let mut wire = Wire::to(Transport::Lines, server.as_deref(), &place, "trains").await;
    // What can be planned is planned once, so that there is a plan to read.
    let plan = json!({ "project_path": place.project(), "run_id": runs[1] });
    call(&mut wire, "plan_training", &plan, LONGEST_WORK).await;
    let targets: Vec<Target> = files(&[place.project(), place.allowed().join("model")]);
    let cases: Vec<(usize, usize, &str)> = cases(&targets);
    let tools = tools(&place, &runs);
    let exports = place.allowed().join("exported");
    let mut limits = Vec::new();
    for (tool, arguments) in &tools {
        let asked = Instant::now();
        call(&mut wire, tool, arguments, LONGEST_WORK).await;
        let work = if server.is_some() { TIMES_AS_LONG * asked.elapsed() } else { Duration::ZERO };
        limits.push(TIME_LIMIT + work);
        let _ = fs::remove_dir_all(&exports);
    }
    let every = (cases.len() * tools.len()).div_ceil(calls).max(1);
    let mut tally = BTreeMap::<String, u64>::new();
    let mut faults = Vec::new();
    let calls_to_make = |case| tools.iter().zip(&limits).map(move |(tool, limit)| (case, tool, *limit));
    for (number, ((target, position, value), (tool, arguments), limit)) in
        cases.iter().copied().flat_map(calls_to_make).enumerate()
    {
        // Mixed (SplitMix64), so that every tool meets every file and number in time.
        if !mixed(number).is_multiple_of(every) {
            continue;
        }
        let target = &targets[target];
        target.write(&target.places[position], value);
        let asked = Instant::now();
        let answer = call(&mut wire, tool, arguments, limit).await;
        let outcome = match (&answer["error"]["code"], answer["result"]["isError"].as_bool()) {
            (code, _) if *code == DEFECT => "a defect",
            (_, Some(false)) if has_an_impossible_figure(&answer["result"]["structuredContent"]) => {
                "a figure that is none"
            }
            (_, Some(false)) => "answered",
            _ => "refused",
        };
        if outcome.starts_with('a') && outcome != "answered" {
            let name = target.path.display();
            let written = String::from_utf8_lossy(&target.around(&target.places[position])).into_owned();
            faults.push(format!(
                "{outcome}: {tool} of {name} with {value} for {written}: {}",
                shortened(&answer.to_string())
            ));
        }
        *tally.entry(format!("{tool}: {outcome}")).or_default() += 1;
        let slowest = tally.entry(String::from("slowest answer in ms")).or_default();
        *slowest = (*slowest).max(asked.elapsed().as_millis() as u64);
        fs::write(&target.path, &target.content).unwrap();
        // An export is never written over another.
        let _ = fs::remove_dir_all(&exports);
    }
    super::report(Transport::Lines, calls as u64, every as u64, &tally);
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    #[cfg(target_os = "linux")]
    assert!(peak_memory_bytes(wire.server_process()) < MOST_MEMORY_BYTES, "a size of a file was believed");
}

fn mixed(number: usize) -> usize {
    let product = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((product ^ (product >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33) as usize
}

async fn call(wire: &mut Wire, tool: &str, arguments: &Value, limit: Duration) -> Value {
    let params = json!({ "name": tool, "arguments": arguments });
    let answer = tokio::time::timeout(limit, wire.call("tools/call", &params)).await;
    let answer = answer.unwrap_or_else(|_| panic!("no answer for {limit:?}: {tool} {arguments}"));
    answer.unwrap_or_else(|| panic!("the server is gone: {tool} {arguments}"))
}

/// The tools that read files of a project, a run or a model, as they are called where the files are as they should be.
fn tools(place: &Place, runs: &[String]) -> Vec<(&'static str, Value)> {
    let project = place.project();
    let of_run = |run: &str, more: Value| {
        let mut arguments = json!({ "project_path": project, "run_id": run });
        for (key, value) in more.as_object().unwrap() {
            arguments[key] = value.clone();
        }
        arguments
    };
    let (trained, configured) = (runs[0].as_str(), runs[1].as_str());
    let export = |format: &str, merge: bool| {
        let path = place.allowed().join("exported").join(format);
        let more = json!({
            "stage": 1, "export_format": format, "export_path": path, "merge_adapters": merge,
        });
        of_run(trained, more)
    };
    let dataset = place.allowed().join("few.jsonl");
    let configure = json!({
        "project_path": project, "run_name": "another",
        "training_data": { "train_dataset": dataset, "validation_dataset": dataset },
    });
    vec![
        ("monitor_training_progress", of_run(trained, json!({ "include_emissions": true }))),
        ("monitor_training", json!({ "project_path": project, "job_id": trained })),
        ("list_runs", json!({ "project_path": project })),
        ("get_emissions_summary", of_run(trained, json!({}))),
        ("get_aggregate_emissions", json!({ "project_path": project })),
        (
            "compare_runs",
            json!({ "project_path": project, "ast_run_id": trained, "baseline_run_id": configured }),
        ),
        ("create_model_card", of_run(trained, json!({}))),
        ("export_model", export("huggingface", false)),
        ("export_model", export("safetensors", true)),
        ("export_model", export("gguf", true)),
        ("plan_training", of_run(configured, json!({}))),
        ("plan_training", of_run(trained, json!({}))),
        ("evaluate_model", of_run(trained, json!({ "test_dataset": dataset, "stage": 1 }))),
        ("generate_text", of_run(trained, json!({ "prompts": ["a"], "max_tokens": 2 }))),
        (
            "generate_text",
            json!({ "model_path": place.allowed().join("model"), "prompts": ["a"], "max_tokens": 2 }),
        ),
        ("cancel_training", of_run(configured, json!({ "wait_seconds": 0 }))),
        ("configure_training_run", configure),
    ]
}

/// What a fake worker does not write: figures of energy.
fn add_figures(run: &Path) {
    let events = run.join("events.jsonl");
    let written = fs::read_to_string(&events).unwrap();
    if written.contains("energy_kwh") {
        return;
    }
    let emissions = "\"kind\":\"emissions\",\"stage\":1,\"duration_seconds\":1.5,\"energy_kwh\":0.25,\
                     \"emissions_kg_co2\":0.125,\"power_w\":40.5,\"basis\":\"modelled\"";
    let last = written.lines().count();
    fs::write(&events, format!("{written}{{\"seq\":{last},\"at\":\"2026-01-02T03:04:05Z\",{emissions}}}\n"))
        .unwrap();
    let rows = "timestamp,run_id,duration,emissions,energy_consumed,cpu_power,cpu_energy,country_iso_code,pue\n\
                2026-01-02T03:04:05,a,5400.5,0.125,0.25,40.5,0.25,DEU,1.5\n\
                2026-01-02T05:04:05,b,5400.5,0.125,0.25,40.5,0.25,FRA,1.5\n";
    let folder = run.ancestors().nth(2).unwrap().join("emissions");
    fs::create_dir_all(&folder).unwrap();
    let name = run.file_name().unwrap().to_string_lossy();
    fs::write(folder.join(format!("{name}_stage1_emissions.csv")), rows).unwrap();
}

fn files(folders: &[PathBuf]) -> Vec<Target> {
    let mut found = Vec::new();
    for folder in folders {
        walk(folder, &mut found);
    }
    found
}

fn walk(folder: &Path, found: &mut Vec<Target>) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            walk(&path, found);
            continue;
        }
        let extension = path.extension().unwrap_or_default().to_string_lossy().into_owned();
        let is_read = ["json", "jsonl", "csv", "toml", "safetensors"].contains(&extension.as_str());
        if is_read {
            let content = fs::read(&path).unwrap();
            let end = if extension == "safetensors" { header_end(&content) } else { content.len() };
            let places = places(&content[..end]);
            found.push(Target { path, content, places });
        }
    }
}

impl Target {
    /// Writes the file with `value` in `place`. A header of safetensors gets the length that it then has; the length itself
    /// is replaced where the place is empty.
    fn write(&self, place: &Range<usize>, value: &str) {
        let mut content =
            [&self.content[..place.start], value.as_bytes(), &self.content[place.end..]].concat();
        if self.path.extension().is_some_and(|extension| extension == "safetensors") {
            let length = (header_end(&self.content) - 8 + value.len() - place.len()) as u64;
            content[..8].copy_from_slice(&length.to_le_bytes());
        }
        fs::write(&self.path, content).unwrap();
    }

    fn around(&self, place: &Range<usize>) -> Vec<u8> {
        self.content[place.start.saturating_sub(60)..place.end].to_vec()
    }
}

fn header_end(content: &[u8]) -> usize {
    8 + u64::from_le_bytes(content[..8].try_into().unwrap()) as usize
}

/// Every file, place and number, by turns: of each file a few.
fn cases(targets: &[Target]) -> Vec<(usize, usize, &'static str)> {
    let mut cases = Vec::new();
    for (index, target) in targets.iter().enumerate() {
        for (position, place) in target.places.iter().enumerate() {
            let is_time = target.content[place.start] == b'2' && place.len() >= 19;
            let values: &[&str] = if is_time { &TIMES } else { &NUMBERS };
            cases.extend(values.iter().map(|value| (index, position, *value)));
        }
    }
    cases
}

/// Where numbers and times stand, not inside of words; of the same name no more than [`OCCURRENCES`].
fn places(text: &[u8]) -> Vec<Range<usize>> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"_-+.:".contains(&byte);
    let mut found = Vec::new();
    let mut seen = BTreeMap::<Vec<u8>, usize>::new();
    let mut at = 0;
    while at < text.len() {
        let start = at;
        // The colon behind a name in quotes belongs to no word.
        if !is_part(text[at]) || text[at] == b':' {
            at += 1;
            continue;
        }
        while at < text.len() && is_part(text[at]) {
            at += 1;
        }
        let word = String::from_utf8_lossy(&text[start..at]);
        let is_time = word.len() >= 19 && word.starts_with("20") && word.as_bytes()[10] == b'T';
        if word.parse::<f64>().is_ok() && word.as_bytes()[0] != b'n' && word.as_bytes()[0] != b'i' || is_time
        {
            let name = name_before(&text[..start]);
            let times = seen.entry(name).or_default();
            *times += 1;
            if *times <= OCCURRENCES {
                found.push(start..at);
            }
        }
    }
    let step = found.len().div_ceil(PLACES).max(1);
    found.into_iter().step_by(step).collect()
}

/// The word that stands before a value (the name of its key), with the number of the column in its line.
fn name_before(text: &[u8]) -> Vec<u8> {
    let mut words = text.rsplit(|byte| !byte.is_ascii_alphabetic() && *byte != b'_');
    let word = words.find(|word| !word.is_empty()).unwrap_or_default();
    let line = text.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    let column = line.split(|byte| *byte == b',').count();
    [word, column.to_string().as_bytes()].concat()
}

/// Whether one of the figures that a tool answers is below 0 and cannot be.
fn has_an_impossible_figure(answer: &Value) -> bool {
    match answer {
        Value::Object(fields) => fields.iter().any(|(name, value)| {
            let counts =
                ["energy_kwh", "emissions_kg", "duration", "_seconds", "power_w", "carbon_emissions_kg"];
            let is_count = counts.iter().any(|count| name.contains(count));
            is_count && value.as_f64().is_some_and(|value| value < 0.0) || has_an_impossible_figure(value)
        }),
        Value::Array(values) => values.iter().any(has_an_impossible_figure),
        _ => false,
    }
}

#[cfg(target_os = "linux")]
fn peak_memory_bytes(process: Option<u32>) -> u64 {
    let process = process.map_or_else(|| String::from("self"), |id| id.to_string());
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}
