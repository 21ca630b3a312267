#!/usr/bin/env python3
"""Which crate may depend on what, checked from `cargo metadata`.

The rules of deny.toml's [bans] are for crates from elsewhere: cargo-deny says the same (`just deny`), this needs no
installation. `LAYERS` is for the crates of this workspace, and crates/README.md shows it. Development dependencies are
free. Exits 1 and names every breach.
"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PREFIX = "greentune-"

# The crates in layers, lowest first, and what each may import of the workspace. A crate imports only what stands above it
# here, so that no arrow runs upwards and no circle can arise. Not every crate of the list need exist yet.
LAYERS = {
    "core-config": [],
    "durable": [],
    "http-client": [],
    "http-server": ["core-config", "durable"],
    "ast-sparsity": [],
    "metrics": [],
    "run-folder": ["core-config", "durable"],
    "carbon": ["core-config", "durable", "http-client"],
    "tracking": ["core-config", "durable", "http-client", "run-folder"],
    "scaffold": ["core-config", "durable"],
    "platforms-kaggle-hf": ["core-config", "http-client"],
    "image-data": ["core-config"],
    "text-data": ["core-config", "durable"],
    "model-folder": ["core-config"],
    "export": ["core-config", "durable", "model-folder"],
    "reports": ["core-config", "run-folder", "carbon", "scaffold"],
    "trainer-burn": [
        "core-config",
        "durable",
        "ast-sparsity",
        "metrics",
        "carbon",
        "image-data",
        "text-data",
        "model-folder",
    ],
    "workbench": [
        "core-config",
        "durable",
        "metrics",
        "run-folder",
        "carbon",
        "tracking",
        "scaffold",
        "platforms-kaggle-hf",
        "image-data",
        "model-folder",
        "export",
        "reports",
    ],
    "mcp-server": ["core-config", "http-server", "workbench"],
    "monitor-api": ["core-config", "http-server", "workbench"],
    "cli": [
        "core-config",
        "durable",
        "http-client",
        "http-server",
        "carbon",
        "trainer-burn",
        "workbench",
        "mcp-server",
        "monitor-api",
    ],
    # For tests alone; nobody else may depend on it (deny.toml).
    "test-support": ["core-config", "run-folder", "export", "workbench"],
}


def main() -> int:
    command = ["cargo", "metadata", "--format-version", "1", "--all-features", "--locked"]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)
    bans = tomllib.loads((ROOT / "deny.toml").read_text("utf-8"))["bans"]["deny"]
    readme = (ROOT / "crates/README.md").read_text("utf-8")
    members = members_of(metadata)
    breaches = upward_layers() + bans_broken(metadata, bans) + imports_broken(members) + map_broken(members, readme)
    for breach in sorted(breaches):
        print(breach, file=sys.stderr)
    print(f"{len(bans)} rules on crates from elsewhere, {len(members)} crates in layers, {len(breaches)} breaches")
    return 1 if breaches else 0


def members_of(metadata: dict) -> dict[str, set[str]]:
    """The crates of the workspace by their folders' names, each with those that it depends on outside of tests."""
    packages = [package for package in metadata["packages"] if package["id"] in metadata["workspace_members"]]
    return {
        Path(package["manifest_path"]).parent.name: {
            Path(dependency["path"]).name
            for dependency in package["dependencies"]
            if dependency.get("path") and dependency["kind"] != "dev"
        }
        for package in packages
    }


def upward_layers() -> list[str]:
    """Breaches of the list itself: a crate that imports what does not stand above it."""
    order = list(LAYERS)
    return [
        f"LAYERS lets {crate} import {target}, which does not stand above it"
        for crate, targets in LAYERS.items()
        for target in targets
        if target not in order[: order.index(crate)]
    ]


def bans_broken(metadata: dict, bans: list[dict]) -> list[str]:
    names = {package["id"]: package["name"] for package in metadata["packages"]}
    wrappers = {ban["crate"]: set(ban["wrappers"]) for ban in bans}
    breaches = []
    for node in metadata["resolve"]["nodes"]:
        name = names[node["id"]]
        for dependency in node["deps"]:
            target = names[dependency["pkg"]]
            kinds = {kind["kind"] for kind in dependency["dep_kinds"]}
            if target in wrappers and name not in wrappers[target] and kinds - {"dev"}:
                breaches.append(f"{name} depends on {target}; allowed: {', '.join(sorted(wrappers[target]))}")
    return breaches


def imports_broken(members: dict[str, set[str]]) -> list[str]:
    breaches = [f"crates/{crate} has no layer in .ci/firewall.py" for crate in members if crate not in LAYERS]
    for crate, targets in members.items():
        allowed = LAYERS.get(crate, targets)
        breaches += [
            f"{crate} imports {target}; allowed: {', '.join(allowed) or 'nothing'}"
            for target in targets
            if target not in allowed
        ]
    return breaches


def map_broken(members: dict[str, set[str]], readme: str) -> list[str]:
    """Breaches of the map in crates/README.md: each crate has a row there, which says what LAYERS says."""
    rows = {row[1]: row[2] for row in re.finditer(r"^\| \[`(.+?)`\]\(.+?\) \| .*? \| (.*?) \|", readme, re.MULTILINE)}
    breaches = [f"crates/README.md has no row for {crate}" for crate in members if crate not in rows]
    breaches += [f"crates/README.md has a row for {crate}, which is no crate" for crate in rows if crate not in LAYERS]
    for crate, targets in LAYERS.items():
        shown = re.findall(r"`(.+?)`", rows.get(crate, ""))
        if crate in rows and shown != targets:
            breaches.append(f"crates/README.md lets {crate} import {shown}; .ci/firewall.py says {targets}")
    return breaches


if __name__ == "__main__":
    sys.exit(main())
