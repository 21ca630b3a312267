# Recipes for developers; `just` lists them. CI is .ci/run.

peers := env("PEERS_ROOT", home_directory() / ".cache/greentune-peers")
target := env("CARGO_TARGET_DIR", justfile_directory() / "target")

default:
    @just --list

# Format, lints, firewall, tests: what CI runs
check:
    bash .ci/run

# The dependency firewall and licences through cargo-deny
deny:
    cargo deny check bans licenses

# Train the bundled base model anew (about 10 minutes on 2 cores)
base-model steps="1200":
    python3 fixtures/corpus/generate.py --pretrain {{target}}/pretrain.jsonl
    cargo build --release --workspace --example pretrain
    {{target}}/release/examples/pretrain fixtures/base-model {{target}}/pretrain.jsonl {{steps}}

# What PyTorch, transformers and PEFT compute (needs them: a virtual environment with torch, transformers, peft)
reference python=(peers / "venvs/torch/bin/python"):
    {{python}} fixtures/reference/make_reference.py

# Against the real peers: PEFT, transformers, the official clients of MCP and the Hub, CodeCarbon
interop:
    cargo build --release -p greentune-cli -p greentune-test-support
    bash .ci/interop-light
    bash fixtures/interop/exports.sh {{target}}/release/greentune {{peers}}/venvs/torch/bin/python

# A training step beside PyTorch + transformers + PEFT, in one run
bench-train python=(peers / "venvs/torch/bin/python"):
    cargo build --release --workspace --example train_step
    python3 fixtures/bench/compare.py --python {{python}} --binary {{target}}/release/examples/train_step

# How far off plans are: planned and actual memory, time and energy of five runs (about 10 minutes on 2 cores)
bench-plan:
    cargo build --release
    python3 fixtures/bench/plan.py --binary {{target}}/release/greentune
