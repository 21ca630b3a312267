use proptest::prelude::*;

use super::*;
use crate::machine::{Identity, Memory};

fn two_threads() -> LoadModel {
    LoadModel::new(&Identity { threads: Some(2), ..Identity::default() }, true)
}

fn modelled(first: &Readings) -> Ledger {
    Ledger::new(Source::Model(two_threads()), Some(Source::Model(10.0)), Some(8.0), first)
}

fn rapl(first: &Readings) -> Ledger {
    Ledger::new(package(0), None, None, first)
}

fn package(start_uj: u64) -> Source<LoadModel> {
    let counter = Counter::new("RAPL package-0", Some(262_143_328_850), start_uj, 0.0);
    Source::Counters { set: CounterSet::new(vec![counter]), names: vec!["package-0".into()] }
}

fn at(seconds: f64, total: u64, busy: u64) -> Readings {
    Readings { at_seconds: seconds, ticks: Some(Ticks { total, busy }), ..Readings::default() }
}

fn with_tree(readings: Readings, ticks: u64, resident_gb: f64) -> Readings {
    Readings {
        tree: Some(Tree { pids: vec![1], ticks, resident_gb }),
        memory: Some(Memory { used_gb: 4.0 }),
        ..readings
    }
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * (1.0 + a.abs().max(b.abs()))
}

#[test]
fn model_is_power_times_time() {
    let mut ledger = modelled(&at(0.0, 0, 0));
    ledger.add(&at(10.0, 2000, 1000), true);
    let totals = ledger.totals();
    // 8 W x (0.1 + 0.9 / 8) and 10 W of memory, for 10 s.
    assert!(close(totals.cpu_joules, 17.0) && close(totals.ram_joules, 100.0), "{totals:?}");
    assert!(close(totals.cpu_load_seconds, 5.0));
    let power = ledger.power();
    assert!(close(power.cpu_w, 1.7) && close(power.ram_w, 10.0) && power.gpu_w == 0.0, "{power:?}");
}

#[test]
fn a_quick_second_look_keeps_the_load() {
    let mut ledger = modelled(&at(0.0, 0, 0));
    ledger.add(&at(10.0, 2000, 2000), true);
    ledger.add(&at(10.001, 2000, 2000), true);
    assert!(close(ledger.totals().cpu_joules, 8.0 * 10.001));
    assert!(close(ledger.power().cpu_w, 8.0), "{:?}", ledger.power());
}

#[test]
fn unreadable_load_is_not_zero_power() {
    let mut ledger = modelled(&Readings::default());
    ledger.add(&Readings { at_seconds: 2.0, ..Readings::default() }, true);
    assert!(close(ledger.totals().cpu_joules, 8.0));
}

#[test]
fn time_that_goes_backwards_is_none() {
    let mut ledger = modelled(&at(0.0, 0, 0));
    ledger.add(&at(10.0, 2000, 1000), true);
    let before = ledger.totals();
    ledger.add(&at(4.0, 1000, 500), true);
    assert_eq!(ledger.totals(), before);
    ledger.add(&at(11.0, 2000, 1000), true);
    assert!(close(ledger.totals().seconds, 11.0));
}

#[test]
fn sleep_and_late_samples_are_noted_and_sleep_draws_nothing() {
    let mut ledger = modelled(&at(0.0, 0, 0));
    ledger.span.interval_seconds = 1.0;
    ledger.add(&Readings { asleep_seconds: 3600.0, ..at(1.0, 200, 100) }, true);
    assert!(close(ledger.totals().ram_joules, 10.0));
    ledger.add(&Readings { asleep_seconds: 3600.0, ..at(9.0, 1800, 900) }, true);
    let notes = ledger.notes();
    assert!(notes[0].contains("1 sample(s)") && notes[0].contains("8.0 s"), "{notes:?}");
    assert!(notes[1].contains("slept 1 time(s), 3600 s"), "{notes:?}");
}

#[test]
fn what_another_meter_counts_is_left_out() {
    let mut ledger = rapl(&Readings::default());
    let read =
        |seconds, uj| Readings { at_seconds: seconds, processor_uj: vec![Some(uj)], ..Readings::default() };
    ledger.add(&read(1.0, 100_000_000), false);
    assert_eq!(
        (ledger.totals().joules(), ledger.totals().seconds, ledger.counted_seconds()),
        (0.0, 1.0, 0.0)
    );
    ledger.add(&read(2.0, 130_000_000), true);
    assert_eq!((ledger.totals().joules(), ledger.counted_seconds()), (30.0, 1.0));
}

#[test]
fn a_process_has_its_share_of_every_component() {
    let first = Readings {
        gpus: vec![GpuReading { energy_uj: Some(0), ..GpuReading::default() }],
        ..with_tree(at(0.0, 0, 0), 0, 1.0)
    };
    let mut ledger = Ledger::new(package(0), Some(Source::Model(10.0)), Some(8.0), &first);
    ledger.apportioned = Apportioned { cpu: true, ram: true, gpu: true };
    let read = |seconds: u64, own_ticks, share| Readings {
        processor_uj: vec![Some(seconds * 100_000_000)],
        gpus: vec![GpuReading { energy_uj: Some(seconds * 200_000_000), ..GpuReading::default() }],
        gpu_shares: vec![share],
        ..with_tree(at(seconds as f64, seconds * 200, seconds * 100), own_ticks, 1.0)
    };
    // Idle first: nobody had the GPU, and the process ran for a quarter of the busy time.
    ledger.add(&read(1, 25, OwnShare::Idle), true);
    let totals = ledger.totals();
    assert!(close(totals.cpu_joules, 25.0) && close(totals.ram_joules, 2.5), "{totals:?}");
    assert!(close(totals.gpu_joules, 0.0));
    // Who uses it first has what it drew before, and keeps it when it idles again.
    ledger.add(&read(2, 25, OwnShare::Known(0.5)), true);
    ledger.add(&read(3, 25, OwnShare::Idle), true);
    let totals = ledger.totals();
    assert!(close(totals.cpu_joules, 25.0) && close(totals.gpu_joules, 300.0), "{totals:?}");
    // What cannot be told is counted whole, and said.
    assert_eq!(ledger.notes(), Vec::<String>::new());
    ledger.add(&read(4, 125, OwnShare::Unknown), true);
    let before = ledger.totals();
    assert!(close(before.cpu_joules, 125.0) && close(before.gpu_joules, 500.0), "{before:?}");
    assert!(ledger.notes()[0].contains("whole GPU"), "{:?}", ledger.notes());
    // A process that ended has nothing of what the others go on to use.
    ledger.add(&Readings { tree: None, ..read(5, 0, OwnShare::Known(0.0)) }, true);
    assert_eq!(ledger.totals().joules().to_bits(), before.joules().to_bits());
}

#[test]
fn energy_waits_for_a_share_to_be_known() {
    let mut ledger = Ledger::new(package(0), None, None, &with_tree(at(0.0, 0, 0), 0, 1.0));
    ledger.apportioned.cpu = true;
    let read = |seconds, uj, total, busy, own| Readings {
        processor_uj: vec![Some(uj)],
        ..with_tree(at(seconds, total, busy), own, 1.0)
    };
    ledger.add(&read(0.001, 1_000_000, 0, 0, 0), true);
    assert!(close(ledger.totals().cpu_joules, 0.0));
    ledger.add(&read(1.0, 8_000_000, 200, 100, 50), true);
    assert!(close(ledger.totals().cpu_joules, 4.0));
}

#[test]
fn gpu_load_is_the_mean_of_all_gpus() {
    let gpu = |load| GpuReading { load, ..GpuReading::default() };
    let first = Readings { gpus: vec![gpu(None), gpu(None)], ..Readings::default() };
    let mut ledger = modelled(&first);
    ledger.add(&Readings { at_seconds: 2.0, gpus: vec![gpu(Some(0.5)), gpu(Some(1.0))], ..first }, true);
    assert!(close(ledger.totals().gpu_load_seconds, 1.5));
}

/// A trace of `tests/it/traces/README.md`, replayed.
fn replay(name: &str, text: &str) {
    let lines = || text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let columns: Vec<(&str, u64)> = lines().find(|words| words.first() == Some(&"read")).unwrap()[3..]
        .iter()
        .map(|column| {
            column.split_once('/').map_or((*column, 0), |(name, range)| (name, range.parse().unwrap()))
        })
        .collect();
    let readings: Vec<Readings> = lines()
        .filter(|words| words.first().is_some_and(|word| word.parse::<f64>().is_ok()))
        .map(|words| reading(&columns, &words))
        .collect();
    let set = |kind: &str, first_uj: &[Option<u64>]| {
        let of_kind = columns.iter().filter(|(name, _)| name.starts_with(kind));
        let counters: Vec<Counter> = of_kind
            .zip(first_uj)
            .map(|((name, range), uj)| Counter::new(&format!("RAPL {name}"), Some(*range), uj.unwrap(), 0.0))
            .collect();
        Source::Counters { set: CounterSet::new(counters), names: vec![] }
    };
    let cpu = set("package", &readings[0].processor_uj);
    let ram = match set("dram", &readings[0].memory_uj) {
        Source::Counters { set, names } => Source::Counters { set, names },
        Source::Model(_) => Source::Model(0.0),
    };
    let mut ledger = Ledger::new(cpu, Some(ram), None, &readings[0]);
    for reading in &readings[1..] {
        ledger.add(reading, true);
    }
    let notes = ledger.notes();
    for words in lines() {
        match &words[..] {
            ["energy", component, uj] => {
                let found = match *component {
                    "cpu" => ledger.energy.cpu,
                    "ram" => ledger.energy.ram,
                    _ => ledger.energy.gpu,
                };
                let expected: f64 = uj.parse().unwrap();
                assert_eq!(found.to_bits(), expected.to_bits(), "{name}: {found} µJ of {component}");
            }
            ["note", words @ ..] => {
                let words = words.join(" ");
                assert!(notes.iter().any(|note| note.contains(&words)), "{name}: {words:?} in {notes:?}");
            }
            ["no", "notes"] => assert!(notes.is_empty(), "{name}: {notes:?}"),
            _ => {}
        }
    }
}

fn reading(columns: &[(&str, u64)], words: &[&str]) -> Readings {
    let mut reading = Readings {
        at_seconds: words[0].parse().unwrap(),
        asleep_seconds: words[1].parse().unwrap(),
        ..Readings::default()
    };
    for ((name, _), word) in columns.iter().zip(&words[2..]) {
        let number: Option<u64> = if *word == "-" { None } else { Some(word.parse().unwrap()) };
        match *name {
            "gpu-energy" => reading.gpus.push(GpuReading { energy_uj: number, ..GpuReading::default() }),
            "gpu-power" => {
                let power_w = number.map(|milliwatts| milliwatts as f64 / 1000.0);
                reading.gpus.push(GpuReading { power_w, ..GpuReading::default() });
            }
            name if name.starts_with("dram") => reading.memory_uj.push(number),
            _ => reading.processor_uj.push(number),
        }
    }
    reading
}

#[test]
fn replayed_traces_give_their_energy_exactly() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/traces");
    let mut replayed = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "trace") {
            replay(&path.display().to_string(), &std::fs::read_to_string(&path).unwrap());
            replayed += 1;
        }
    }
    assert!(replayed >= 10, "{replayed} traces");
}

proptest! {
    #[test]
    fn spans_add_up(
        splits in prop::collection::vec(1u64..100, 1..20),
        load in 0u64..=100,
    ) {
        let read = |seconds: u64| at(seconds as f64, seconds * 200, seconds * 2 * load);
        let (mut split, mut whole) = (modelled(&read(0)), modelled(&read(0)));
        let mut seconds = 0;
        for span in splits {
            seconds += span;
            split.add(&read(seconds), true);
        }
        whole.add(&read(seconds), true);
        prop_assert!(close(split.totals().joules(), whole.totals().joules()));
        prop_assert!(close(split.totals().seconds, whole.totals().seconds));
        prop_assert!(close(split.power().cpu_w, whole.power().cpu_w));
    }

    /// Whatever is read, a process never has more than its machine.
    #[test]
    fn a_process_never_exceeds_the_machine(
        steps in prop::collection::vec(
            (0u64..50_000_000, 0u64..300, 0u64..300, 0u64..300, 0.0f64..20.0, 0.0f64..=1.0, any::<bool>()),
            1..30,
        ),
        by_counter in any::<bool>(),
    ) {
        let gpu = |uj| vec![GpuReading { energy_uj: Some(uj), ..GpuReading::default() }];
        let first = Readings { gpus: gpu(0), ..with_tree(at(0.0, 0, 0), 0, 1.0) };
        let open = || {
            let cpu = if by_counter { package(0) } else { Source::Model(two_threads()) };
            Ledger::new(cpu, Some(Source::Model(10.0)), Some(8.0), &first)
        };
        let (mut machine, mut process) = (open(), open());
        process.apportioned = Apportioned { cpu: true, ram: true, gpu: true };
        let (mut uj, mut total, mut busy, mut own) = (0, 0, 0, 0);
        for (second, (used, idle_ticks, busy_ticks, own_ticks, gb, share, is_idle)) in steps.into_iter().enumerate() {
            uj += used;
            total += idle_ticks + busy_ticks;
            busy += busy_ticks;
            own += own_ticks;
            let readings = Readings {
                processor_uj: vec![Some(uj)],
                gpus: gpu(2 * uj),
                gpu_shares: vec![if is_idle { OwnShare::Idle } else { OwnShare::Known(share) }],
                ..with_tree(at(second as f64 + 1.0, total, busy), own, gb)
            };
            machine.add(&readings, true);
            process.add(&readings, true);
        }
        let (machine, process) = (machine.totals(), process.totals());
        let within = |part: f64, whole: f64| part <= whole * (1.0 + 1e-12) && part >= 0.0;
        prop_assert!(within(process.cpu_joules, machine.cpu_joules));
        prop_assert!(within(process.gpu_joules, machine.gpu_joules));
        prop_assert!(within(process.ram_joules, machine.ram_joules));
    }
}
