#!/usr/bin/env python3
"""Proves that the tests against attacks bite (docs/attacks.md).

prove.py run [NUMBER...]   makes a copy of the last commit in which every guard of guards.toml has a switch, builds its
                           tests once, and runs for each guard its tests with the guard switched off. At least one has to
                           fail, and all pass while every guard is on. What failed goes into results.json.
prove.py table             writes the table of docs/attacks.md from guards.toml and results.json.
prove.py check             whether every guard is still found where guards.toml says.

GUARDS_TREE is the copy (made with `git worktree` beside this one, and kept), CARGO_TARGET_DIR where it is built. GUARDS_BUILT
names files with what `cargo test --no-run --message-format=json` wrote there, where that was done before; guards of which no
test was built are passed over. Linux only.
"""

import json, os, pathlib, re, resource, signal, subprocess, sys, tomllib

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
TREE = pathlib.Path(os.environ.get("GUARDS_TREE", REPOSITORY.with_name(REPOSITORY.name + "-guards")))
RESULTS = HERE / "results.json"
PAGE = REPOSITORY / "docs/attacks.md"
# Workers get few variables, so that what is off stands in a file.
SWITCHES = "/tmp/greentune-guards-off"
CRATE = f"""//! Which guards are off: their numbers stand in a file.
use std::{{fs, sync::LazyLock}};
static OFF: LazyLock<Vec<u32>> = LazyLock::new(|| {{
    let text = fs::read_to_string("{SWITCHES}").unwrap_or_default();
    text.split_whitespace().filter_map(|number| number.parse().ok()).collect()
}});
pub fn off(number: u32) -> bool {{
    OFF.contains(&number)
}}
"""
MANIFEST = """[package]
name = "greentune-guards"
version = "0.1.0"
edition = "2024"
publish = false
"""
SECONDS = 120
MEMORY_BYTES = 16 << 30


def guards():
    listed = tomllib.loads((HERE / "guards.toml").read_text())
    sections = re.findall(r"^\[\[(section|guard)\]\]", (HERE / "guards.toml").read_text(), re.M)
    names, found = iter(listed["section"]), iter(listed["guard"])
    result, section = [], ""
    for kind in sections:
        if kind == "section":
            section = next(names)["name"]
        else:
            result.append(next(found) | {"number": len(result) + 1, "section": section})
    return result


def check():
    missing = []
    for guard in guards():
        if "find" in guard and (REPOSITORY / guard["file"]).read_text().count(guard["find"]) != 1:
            missing.append(f"{guard['number']} {guard['file']}: {guard['attack']}")
    return missing


def with_switches():
    """Puts the switches into the copy."""
    crates = set()
    texts = {}
    for guard in guards():
        crates.add(guard["file"].split("/")[1])
        if "find" not in guard:
            continue
        path = TREE / guard["file"]
        text = texts.get(path) or path.read_text()
        off = f"greentune_guards::off({guard['number']})"
        following = f"greentune_guards::off({guard['number'] + 1})"
        put = re.sub(r"\bOFF_NEXT\b", following, guard["put"])
        for find, put in [[guard["find"], put], *guard.get("more", [])]:
            if text.count(find) != 1:
                sys.exit(f"{guard['file']} has not once: {find}")
            text = text.replace(find, re.sub(r"\bOFF\b", off, put))
        texts[path] = text
    for path, text in texts.items():
        path.write_text(text)
    for crate in sorted(crates):
        path = TREE / "crates" / crate / "Cargo.toml"
        text = path.read_text()
        path.write_text(text.replace("[dependencies]\n", '[dependencies]\ngreentune-guards = { path = "../guards" }\n', 1))
    source = TREE / "crates/guards/src"
    source.mkdir(parents=True, exist_ok=True)
    (source / "lib.rs").write_text(CRATE)
    (source.parent / "Cargo.toml").write_text(MANIFEST)


def programs():
    """The built tests: package/target to program and folder."""
    command = ["cargo", "test", "--release", "--workspace", "--no-run", "--message-format=json"]
    if files := os.environ.get("GUARDS_BUILT"):
        output = "".join(pathlib.Path(file).read_text() for file in files.split(","))
    else:
        output = subprocess.run(command, cwd=TREE, stdout=subprocess.PIPE, check=True, text=True).stdout
    found = {}
    for line in output.splitlines():
        message = json.loads(line)
        if message.get("reason") != "compiler-artifact" or not message.get("executable"):
            continue
        if not message["profile"]["test"]:
            continue
        folder = pathlib.Path(message["manifest_path"]).parent
        kind = message["target"]["kind"][0]
        name = message["target"]["name"] if kind == "test" else {"bin": "bin"}.get(kind, "lib")
        found[f"{folder.name}/{name}"] = (message["executable"], folder)
    return found


def names_of(program, name):
    """The names of the tests that a line of `tests` means."""
    executable, folder = program
    listed = subprocess.run([executable, "--list"], cwd=folder, stdout=subprocess.PIPE, text=True, check=True).stdout
    tests = [line.removesuffix(": test") for line in listed.splitlines() if line.endswith(": test")]
    return [test for test in tests if name in test]


def limited():
    os.setsid()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def outcomes(program, tests):
    """What became of each test: ok, FAILED, or nothing where the program ended or hung before."""
    executable, folder = program
    command = [executable, "--exact", *tests, "--test-threads", "2"]
    environment = os.environ | {"CARGO_MANIFEST_DIR": str(folder)}
    process = subprocess.Popen(command, cwd=folder, env=environment, preexec_fn=limited, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    try:
        said, _ = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
    return dict(re.findall(r"^test (\S+)(?: - should panic)? \.\.\. (ok|FAILED|ignored)", said, re.M))


def failed(program, tests):
    known = outcomes(program, tests)
    rest = [test for test in tests if test not in known]
    for test in rest:
        # One that ended the program takes others with it.
        known[test] = (outcomes(program, [test]) if len(tests) > 1 else {}).get(test, "ended or hung")
    return [test for test in tests if known[test] not in ("ok", "ignored")]


def run(numbers):
    if not TREE.exists():
        subprocess.run(["git", "worktree", "add", "--detach", str(TREE)], cwd=REPOSITORY, check=True)
    if not (TREE / "crates/guards").exists():
        with_switches()
    built = programs()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    pathlib.Path(SWITCHES).write_text("")
    passing = {}
    for guard in guards():
        if numbers and guard["number"] not in numbers:
            continue
        caught = []
        lines = [line for line in guard["tests"] if line.split(" ")[0] in built]
        if not lines:
            continue
        for line in lines:
            target, _, name = line.partition(" ")
            if line not in passing:
                pathlib.Path(SWITCHES).write_text("")
                tests = names_of(built[target], name)
                broken = failed(built[target], tests)
                passing[line] = [test for test in tests if test not in broken]
                if broken or not tests:
                    print(f"with all guards: {line}: {broken or 'no such test'}", flush=True)
            pathlib.Path(SWITCHES).write_text(str(guard["number"]))
            caught += [f"{target} {test}" for test in failed(built[target], passing[line])]
        pathlib.Path(SWITCHES).write_text("")
        results[guard["attack"]] = caught
        print(f"{guard['number']:3} {len(caught):2} {guard['attack']}: {', '.join(caught) or 'NOTHING FAILS'}", flush=True)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    missed = [attack for attack, caught in results.items() if not caught]
    print(f"{len(results)} guards, {len(missed)} whose absence no test notices")
    return 1 if missed else 0


def table():
    results = json.loads(RESULTS.read_text())
    lines, section = [], ""
    for guard in guards():
        if guard["section"] != section:
            section = guard["section"]
            lines += ["", f"### {section}", "", "| attack | guard | tests | they fail without the guard |", "|---|---|---|---|"]
        caught = results.get(guard["attack"], [])
        tests = ", ".join(f"`{test.split('::')[-1]}` ({test.split(' ')[0]})" for test in caught[:3])
        tests += f" and {len(caught) - 3} more" if len(caught) > 3 else ""
        place = guard["file"].removeprefix("crates/").replace("/src/", "/")
        attack = guard["attack"].replace("|", "\\|")
        lines.append(f"| {attack} | `{place}` | {tests} | {'yes' if caught else 'no'} |")
    before, _, rest = PAGE.read_text().partition("<!-- table -->\n")
    _, _, after = rest.partition("<!-- end of table -->\n")
    PAGE.write_text(before + "<!-- table -->\n" + "\n".join(lines) + "\n\n<!-- end of table -->\n" + after)


if __name__ == "__main__":
    what = sys.argv[1] if len(sys.argv) > 1 else ""
    if what == "run":
        sys.exit(run({int(number) for number in sys.argv[2:]}))
    elif what == "table":
        table()
    elif what == "check":
        missing = check()
        print("\n".join(missing) or f"{len(guards())} guards are where they were")
        sys.exit(1 if missing else 0)
    else:
        sys.exit(__doc__)
