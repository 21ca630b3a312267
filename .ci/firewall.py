#!/usr/bin/env python3
"""The rules of deny.toml's [bans], checked from `cargo metadata`: which crate may depend on what directly.

cargo-deny says the same (`just deny`); this needs no installation. Exits 1 and names every breach.
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    command = ["cargo", "metadata", "--format-version", "1", "--all-features", "--locked"]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)
    names = {package["id"]: package["name"] for package in metadata["packages"]}
    bans = tomllib.loads((ROOT / "deny.toml").read_text("utf-8"))["bans"]["deny"]
    wrappers = {ban["crate"]: set(ban["wrappers"]) for ban in bans}
    breaches = []
    for node in metadata["resolve"]["nodes"]:
        name = names[node["id"]]
        for dependency in node["deps"]:
            target = names[dependency["pkg"]]
            kinds = {kind["kind"] for kind in dependency["dep_kinds"]}
            if target in wrappers and name not in wrappers[target] and kinds - {"dev"}:
                breaches.append(f"{name} depends on {target}; allowed: {', '.join(sorted(wrappers[target]))}")
    for breach in sorted(breaches):
        print(breach, file=sys.stderr)
    print(f"{len(wrappers)} rules, {len(breaches)} breaches")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
