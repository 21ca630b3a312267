#!/usr/bin/env python3
"""Builds the MCP bundle of a greentune binary: `build.py BINARY FOLDER`.

FOLDER gets `greentune.mcpb`, a zip file with manifest, licences and the binary, and `server.json`, what the MCP registry
is to be told of that very bundle. The manifest is `manifest.json` beside this file, with the version, licence and address of
Cargo.toml and the tools that the binary itself lists. The same binary gives the same bytes.
"""

import hashlib
import json
import platform
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# As the manifest calls the system and as a file name does: the bundle has one binary, and runs on one system.
SYSTEMS = {"Linux": ("linux", "linux"), "Darwin": ("darwin", "macos"), "Windows": ("win32", "windows")}
# Before 1980 there is no zip.
TIMESTAMP = (1980, 1, 1, 0, 0, 0)


def main() -> int:
    binary, folder = Path(sys.argv[1]), Path(sys.argv[2])
    package = tomllib.loads((ROOT / "Cargo.toml").read_text("utf-8"))["workspace"]["package"]
    folder.mkdir(parents=True, exist_ok=True)
    bundle = folder / "greentune.mcpb"
    manifest = manifest_of(binary, package)
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_DEFLATED) as archive:
        add(archive, "manifest.json", json.dumps(manifest, indent=2).encode() + b"\n", 0o644)
        for licence in sorted(ROOT.glob("LICENSE*")):
            add(archive, licence.name, licence.read_bytes(), 0o644)
        add(archive, manifest["server"]["entry_point"], binary.read_bytes(), 0o755)
    listing = folder / "server.json"
    listing.write_text(json.dumps(registry_entry(bundle, package), indent=2) + "\n", "utf-8")
    print(f"{bundle}: {bundle.stat().st_size / 1e6:.1f} MB, {len(manifest['tools'])} tools\n{listing}")
    return 0


def manifest_of(binary: Path, package: dict) -> dict:
    manifest = json.loads((Path(__file__).parent / "manifest.json").read_text("utf-8"))
    manifest["version"] = package["version"]
    manifest["license"] = package["license"]
    manifest["author"]["url"] = manifest["repository"]["url"] = package["repository"]
    manifest["compatibility"]["platforms"] = [SYSTEMS[platform.system()][0]]
    manifest["tools"] = tools_of(binary)
    if platform.system() == "Windows":
        server = manifest["server"]
        server["entry_point"] += ".exe"
        server["mcp_config"]["command"] += ".exe"
    return manifest


def tools_of(binary: Path) -> list[dict]:
    """What the binary lists, over the protocol."""
    opening = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "bundle", "version": "1"}}
    messages = [
        {"id": 1, "method": "initialize", "params": opening},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/list", "params": {}},
    ]
    lines = "".join(json.dumps({"jsonrpc": "2.0", **message}) + "\n" for message in messages)
    command = [str(binary), "mcp", "--root", "."]
    # Without an end of its input: the server ends with it, and might do so before it has answered.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        server.stdin.write(lines)
        server.stdin.flush()
        answers = (json.loads(line) for line in server.stdout)
        listed = next(answer["result"]["tools"] for answer in answers if answer.get("id") == 2)
        server.stdin.close()
    return [{"name": tool["name"], "description": tool["description"]} for tool in listed]


def registry_entry(bundle: Path, package: dict) -> dict:
    entry = json.loads((ROOT / "server.json").read_text("utf-8"))
    system, machine = SYSTEMS[platform.system()][1], re.sub(r"\W", "_", platform.machine().lower())
    file = f"greentune-{system}-{machine}.mcpb"
    entry["packages"] = [
        {
            "registryType": "mcpb",
            "identifier": f"{package['repository']}/releases/download/v{package['version']}/{file}",
            "version": package["version"],
            "fileSha256": hashlib.sha256(bundle.read_bytes()).hexdigest(),
            "transport": {"type": "stdio"},
        }
    ]
    return entry


def add(archive: zipfile.ZipFile, name: str, content: bytes, mode: int) -> None:
    information = zipfile.ZipInfo(name, TIMESTAMP)
    information.external_attr = (0o100000 | mode) << 16
    information.compress_type = zipfile.ZIP_DEFLATED
    information.create_system = 3
    archive.writestr(information, content)


if __name__ == "__main__":
    sys.exit(main())
