//! Random calls of every tool, line by line and over HTTP: valid ones, nearly valid ones, hostile ones.
//!
//! Whatever is asked, an answer comes within [`TIME_LIMIT`], it is no defect, nothing outside of the allowed folders
//! changes, and no answer has what is written there. `GREENTUNE_FUZZ_CALLS` calls are made (300), which follow from
//! `GREENTUNE_FUZZ_SEED` (1). The server is one in this process with a worker that trains nothing, or the program that
//! `GREENTUNE_FUZZ_SERVER` names, which is not asked to train or to evaluate.

mod draw;
mod generate;
mod hostile_numbers;
mod place;
mod wire;

use std::{
    collections::BTreeMap,
    env,
    time::{Duration, Instant},
};

use greentune_mcp_server::NOT_OFFERED;
use greentune_workbench::operation::{Entry, OPERATIONS};
use serde_json::{Value, json};

use self::{
    draw::Draw,
    place::{CANARY, Place},
    wire::{Transport, Wire},
};

const TIME_LIMIT: Duration = Duration::from_secs(10);
/// The JSON-RPC code of a defect.
const DEFECT: i64 = -32603;
/// Tools that train or evaluate for as long as that takes.
const WORKING: [&str; 6] = [
    "start_training",
    "resume_training",
    "tune_training",
    "plan_training",
    "evaluate_model",
    "generate_text",
];
/// Calls after which files outside are looked at.
const LOOK_EVERY: u64 = 25;

#[tokio::test]
async fn no_call_crashes_hangs_or_reaches_outside() {
    call_at_random(Transport::Lines).await;
}

#[tokio::test]
async fn no_call_over_http_crashes_hangs_or_reaches_outside() {
    call_at_random(Transport::Http).await;
}

async fn call_at_random(transport: Transport) {
    let number = |name: &str, default: u64| {
        env::var(name).map_or(default, |text| text.parse().expect("a number in the environment"))
    };
    let (calls, seed) = (number("GREENTUNE_FUZZ_CALLS", 300), number("GREENTUNE_FUZZ_SEED", 1));
    let server = env::var_os("GREENTUNE_FUZZ_SERVER");
    let place = Place::new();
    let runs = place.set_up(&mut Wire::to(transport, server.as_deref(), &place, "trains").await).await;
    let mut wire = Wire::to(transport, server.as_deref(), &place, "dies-in-the-middle").await;
    let tools: Vec<&Entry> =
        tools().filter(|tool| server.is_none() || !WORKING.contains(&tool.name)).collect();
    let before = place.outside();
    let mut tally = BTreeMap::<String, u64>::new();
    for index in 0..calls {
        let mut draw = Draw::new(seed, index);
        let tool = tools[draw.below(tools.len())];
        let arguments = generate::arguments(&mut draw, tool, &place.words(&runs));
        if draw.one_in(40) {
            wire.send(&generate::unreadable_line(&mut draw)).await;
        }
        let context =
            || format!("seed {seed}, call {index}: {} {}", tool.name, shortened(&arguments.to_string()));
        let params = json!({ "name": tool.name, "arguments": arguments });
        let asked = Instant::now();
        let answer = tokio::time::timeout(TIME_LIMIT, wire.call("tools/call", &params)).await;
        let answer = answer.unwrap_or_else(|_| panic!("no answer for {TIME_LIMIT:?}: {}", context()));
        let answer = answer.unwrap_or_else(|| panic!("the server is gone: {}", context()));
        let text = answer.to_string();
        // The worker of these runs ends in the middle of its stage.
        let is_of_worker = server.is_none() && answer["error"]["data"]["code"] == "worker.died";
        assert!(answer["error"]["code"] != DEFECT || is_of_worker, "{}: {text}", context());
        assert!(!text.contains(CANARY), "{}: {text}", context());
        if index % LOOK_EVERY == 0 {
            assert_eq!(place.outside(), before, "{}", context());
        }
        count(&mut tally, tool.name, &answer, asked.elapsed());
    }
    assert_eq!(place.outside(), before, "seed {seed}");
    report(transport, seed, calls, &tally);
}

fn tools() -> impl Iterator<Item = &'static Entry> {
    OPERATIONS.iter().filter(|operation| NOT_OFFERED.iter().all(|(name, _)| *name != operation.name))
}

fn count(tally: &mut BTreeMap<String, u64>, tool: &str, answer: &Value, took: Duration) {
    let result = &answer["result"];
    let outcome = match (result["isError"].as_bool(), result["structuredContent"]["code"].as_str()) {
        (Some(false), _) => "done",
        (_, Some(code)) => code,
        _ => "refused by the protocol",
    };
    *tally.entry(format!("{tool}: {outcome}")).or_default() += 1;
    let slowest = tally.entry(String::from("slowest answer in ms")).or_default();
    *slowest = (*slowest).max(took.as_millis() as u64);
}

#[allow(clippy::print_stdout)] // shown with --nocapture
fn report(transport: Transport, seed: u64, calls: u64, tally: &BTreeMap<String, u64>) {
    println!("{calls} calls over {transport:?}, seed {seed}");
    for (outcome, number) in tally {
        println!("{number:7}  {outcome}");
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(4000).collect()
}
