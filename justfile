# Recipes for developers; `just` lists them. CI is .ci/run.

peers := env("PEERS_ROOT", home_directory() / ".cache/greentune-peers")
worker_allocator := "env MIMALLOC_PURGE_DELAY=-1 MIMALLOC_ALLOW_LARGE_OS_PAGES=1 MIMALLOC_ARENA_RESERVE=4GiB"
# In the source package llama-cpp-python 0.3.36: `pip download --no-deps --no-binary :all: llama-cpp-python==0.3.36`.
converter := peers / "work/lcpp/llama_cpp_python-0.3.36/vendor/llama.cpp/convert_hf_to_gguf.py"
target := env("CARGO_TARGET_DIR", justfile_directory() / "target")

default:
    @just --list

# Format, lints, firewall, tests: what CI runs
check:
    bash .ci/run

# The dependency firewall, licences, sources and advisories through cargo-deny (advisories need the network once)
deny:
    bash .ci/dependencies

# The bill of materials: every crate of the default binary with its licence and hash, in CycloneDX's JSON
sbom:
    bash .ci/sbom "{{target}}/sbom"

# The dashboard: types, tests, whether what is checked in is what its sources make, and its pages in Chromium where there is one
dashboard:
    bash .ci/dashboard

# The MCP bundle, which hosts such as Claude Desktop install by a click: greentune.mcpb, and server.json for the MCP registry
mcpb:
    cargo build --release
    python3 .ci/mcpb/build.py "{{target}}/release/greentune" "{{target}}/mcpb"

# What real clients see of `greentune mcp install` (`npm install @anthropic-ai/claude-code @openai/codex @google/gemini-cli @github/copilot opencode-ai` in a folder)
mcp-clients programs=(peers / "clients/node_modules/.bin"):
    cargo build --release
    python3 fixtures/interop/mcp_clients.py "{{target}}/release/greentune" "{{programs}}"

# Random inputs for one fuzz target (`ls fuzz/fuzz_targets`) for so many seconds (needs nightly Rust and cargo-fuzz)
fuzz name seconds="60":
    bash fuzz/run.sh {{name}} {{seconds}}

# The same for every target, one after another; all are run even when one fails
fuzz-nightly seconds="600":
    #!/usr/bin/env bash
    failed=()
    for path in fuzz/fuzz_targets/*.rs; do
        name=$(basename "$path" .rs)
        bash fuzz/run.sh "$name" {{seconds}} || failed+=("$name")
    done
    echo "failed: ${failed[*]:-none}"
    [ ${#failed[@]} -eq 0 ]

# Random calls of every tool, line by line and over HTTP: of a server in the test's process, then of the real program with real workers
fuzz-calls calls="10000" seed="1":
    cargo build --release --workspace --bins
    GREENTUNE_FUZZ_CALLS={{calls}} GREENTUNE_FUZZ_SEED={{seed}} cargo test --release -p greentune-mcp-server --test it -- tool_calls --nocapture
    GREENTUNE_FUZZ_SERVER={{target}}/release/greentune GREENTUNE_FUZZ_CALLS={{calls}} GREENTUNE_FUZZ_SEED={{seed}} cargo test --release -p greentune-mcp-server --test it -- tool_calls --nocapture

# Take each guard against attacks away in turn and see a test fail (docs/attacks.md)
prove-attacks:
    python3 .ci/attacks/prove.py run
    python3 .ci/attacks/prove.py table

# Train the bundled base model anew (about 10 minutes on 2 cores)
base-model steps="1200":
    python3 fixtures/corpus/generate.py --pretrain {{target}}/pretrain.jsonl
    cargo build --release --workspace --example pretrain
    {{target}}/release/examples/pretrain fixtures/base-model {{target}}/pretrain.jsonl {{steps}}

# Kill every operation at random instants, fill its disk, move its clocks: nothing lost, half or left (docs/benchmarks/crash.md)
crash-test kills="1000" seed="":
    cargo build --release --workspace --bins --example crash_test
    {{target}}/release/examples/crash_test --kills {{kills}} {{ if seed == "" { "" } else { "--seed " + seed } }}

# What PyTorch, transformers and PEFT compute (needs them: a virtual environment with torch, transformers, peft, sacrebleu, rouge-score)
reference python=(peers / "venvs/torch/bin/python"):
    {{python}} fixtures/reference/make_reference.py
    {{python}} fixtures/reference/make_families.py
    {{python}} fixtures/reference/make_metrics.py
    {{python}} fixtures/reference/make_choices.py
    bash fixtures/vision/peers.sh {{python}}
    {{python}} fixtures/vision/make_reference.py
    {{python}} fixtures/vision/timm_names.py
    {{peers}}/venvs/mlx/bin/python fixtures/reference/make_mlx.py

# Against the real peers: PEFT, transformers, llama.cpp, mlx-lm, the official clients of MCP and the Hub, CodeCarbon
interop:
    cargo build --release --workspace
    bash .ci/interop-light
    python3 fixtures/interop/kill_and_resume.py {{target}}/release/greentune
    bash fixtures/interop/exports.sh {{target}}/release/greentune {{peers}}/venvs/torch/bin/python
    cargo build --release --workspace --examples
    just interop-exports
    {{peers}}/venvs/torch/bin/python fixtures/interop/chat_model.py {{target}}/release/greentune {{peers}}/work/models/smollm2
    just tracking

# What exports compute and say in transformers, PEFT, llama.cpp (`pip install xllamacpp numpy tokenizers`), mlx-lm, timm, torchvision
interop-exports:
    #!/usr/bin/env bash
    set -euo pipefail
    cargo build --release --workspace --bins --examples
    work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
    greentune={{target}}/release/greentune exporter={{target}}/release/examples/export_model
    torch={{peers}}/venvs/torch/bin/python llama={{peers}}/venvs/lcpp/bin/python mlx={{peers}}/venvs/mlx/bin/python
    # Tiny models of every architecture.
    $torch fixtures/interop/peer_families.py fixtures/reference/families "$work/families"
    $llama fixtures/interop/gguf_computes.py $exporter "$work/families" "$work/gguf"
    $mlx fixtures/interop/mlx_computes.py $exporter "$work/families" "$work/mlx"
    # A real chat model, as it is, then fine-tuned in one run.
    $torch fixtures/interop/gguf_converter.py {{converter}} $exporter {{peers}}/work/models/smollm2 "$work/converted"
    $torch fixtures/interop/chat_exports.py $greentune {{peers}}/work/models/smollm2 "$work/chat"
    $llama fixtures/interop/gguf_chat.py $greentune $exporter {{peers}}/work/models/smollm2 "$work/chat"
    $mlx fixtures/interop/mlx_chat.py $greentune {{peers}}/work/models/smollm2 "$work/chat"
    $torch fixtures/interop/timm_loads.py $greentune

# Tracking against a real MLflow server and the real wandb client (virtual environments with mlflow and with wandb)
tracking:
    cargo build --release --workspace --example sync
    {{peers}}/venvs/mlflow/bin/python fixtures/interop/mlflow_tracking.py {{target}}/release/examples/sync
    {{peers}}/venvs/wandb/bin/python fixtures/interop/wandb_sync.py {{target}}/release/examples/sync

# Training beside PyTorch + transformers + PEFT: steps, memory, context, loss curve, start-up (about 20 minutes)
bench-train python=(peers / "venvs/torch/bin/python"):
    cargo build --release --workspace --examples --bins
    python3 fixtures/bench/compare.py --python {{python}} --binary {{target}}/release/examples/train_step
    {{python}} fixtures/bench/loss_curve.py --binary {{target}}/release/examples/train_step
    {{python}} fixtures/bench/startup.py --python {{python}} --binary {{target}}/release/greentune

# How far off plans are: planned and actual memory, time and energy of five runs (about 10 minutes on 2 cores)
bench-plan:
    cargo build --release
    python3 fixtures/bench/plan.py --binary {{target}}/release/greentune

# What a new project's first run reaches on text, beside tuned runs and PEFT's usual recipe (about 30 minutes on 2 cores)
bench-defaults-text python=(peers / "venvs/torch/bin/python"):
    cargo build --release --workspace --bins
    python3 fixtures/bench/defaults_text.py --binary {{target}}/release/greentune --model fixtures/base-model --train fixtures/demo/narratives_train.jsonl --validation fixtures/demo/narratives_validation.jsonl --test fixtures/demo/narratives_test.jsonl --rows first,tuned,builtin
    python3 fixtures/bench/extraction.py {{target}}/extraction
    python3 fixtures/bench/defaults_text.py --binary {{target}}/release/greentune --python {{python}} --model {{peers}}/work/models/smollm2 --train {{target}}/extraction/train.jsonl --validation {{target}}/extraction/validation.jsonl --test {{target}}/extraction/test.jsonl

# Exports beside transformers, PEFT and llama.cpp's converter; greedy generation beside transformers and llama.cpp (about 15 minutes on 2 cores)
bench-export python=(peers / "venvs/torch/bin/python") llama=(peers / "venvs/lcpp/bin/python"):
    cargo build --release --workspace --bins --examples
    {{python}} fixtures/bench/export.py --python {{python}} --exporter {{target}}/release/examples/export_model --model {{peers}}/work/models/smollm2 --converter {{converter}}
    {{python}} fixtures/bench/generation.py --python {{python}} --llama {{llama}} --greentune {{target}}/release/greentune --exporter {{target}}/release/examples/export_model --model {{peers}}/work/models/smollm2

# Looking at a run of a million steps, listing 10 000 runs (about a minute)
bench-runs:
    cargo build --release --workspace --examples
    {{target}}/release/examples/large_run
    {{target}}/release/examples/many_runs

# Calls a second of `greentune mcp --http`, times of read tools with 1 000 runs (about a minute)
bench-mcp:
    cargo build --release
    python3 fixtures/bench/mcp_http.py --binary {{target}}/release/greentune
    "{{peers}}/venvs/mcp/bin/python" fixtures/bench/mcp_startup.py {{target}}/release/greentune "{{peers}}/venvs/mcp/bin/python"

# `greentune serve` with 1 000 runs of 100 000 steps, beside the guide's handlers, and MLflow's page (about 10 minutes; wrk, Chromium,
# a virtual environment with mlflow, and puppeteer-core in a folder)
bench-http modules=(peers / "puppeteer") mlflow=(peers / "venvs/mlflow/bin/python"):
    cargo build --release
    "{{peers}}/venvs/http/bin/python" fixtures/bench/serve.py "{{target}}/release/greentune" --modules "{{modules}}" --mlflow "{{mlflow}}"

# `greentune serve` before schemathesis, Prometheus, the guide's handlers, 500 followers, and those who mean it harm
http-api parts="document,metrics,seed,follow,crowd,harm,end":
    cargo build --release
    "{{peers}}/venvs/http/bin/python" fixtures/interop/http_api.py "{{target}}/release/greentune" "{{target}}/http-api" --only {{parts}}

# The official TypeScript client of MCP makes whole runs, and the Inspector's CLI asks for what they left (Node 22 and both come from npm)
mcp-node-clients:
    cargo build --release
    python3 fixtures/interop/mcp_node_clients.py "{{target}}/release/greentune" "{{peers}}/mcp-node-clients"

# The official conformance suite of MCP: the program as far as it is asked for the protocol alone, a fixture server behind the same stack for all (Node 22 and the suite come from npm)
mcp-conformance:
    cargo build --release --workspace --bins --examples
    python3 fixtures/interop/mcp_conformance.py "{{target}}/release/greentune" "{{target}}/release/examples/conformance" "{{peers}}/mcp-conformance"

# How time and memory grow with records, turns, columns, keys, bytes, emissions, events and tensors (about 3 minutes)
bench-limits largest="1000000":
    cargo build --release --workspace --example limits
    {{target}}/release/examples/limits {{largest}}

# What metering costs beside CodeCarbon, and adding up 10 000 files beside pandas (about 6 minutes; codecarbon installed)
bench-carbon python=(peers / "venvs/cc/bin/python"):
    cargo build --release --workspace --examples
    python3 fixtures/bench/carbon_overhead.py --python {{python}} --binary {{target}}/release/examples/meter_overhead --seconds 60
    {{python}} fixtures/bench/aggregate.py {{target}}/release/examples/aggregate

# What image classifiers learn without flags, beside tuned runs and PyTorch's usual recipe (about 15 minutes on 2 cores)
bench-defaults-images mnist=(peers / "work/data/mnist10k") python=(peers / "venvs/torch/bin/python"):
    cargo build --release --workspace --bins
    python3 fixtures/bench/defaults_images.py --binary {{target}}/release/greentune --mnist {{mnist}} --python {{python}}

# Adaptive sparse training beside its controls and the upstream package, and a dense step beside torchvision's (about 35 minutes on 2 cores)
bench-ast python=(peers / "venvs/torch/bin/python"):
    cargo build --release --workspace --bins --examples
    python3 fixtures/bench/sparse_training.py --binary {{target}}/release/greentune --python {{python}}
    python3 fixtures/bench/sparse_training.py --binary {{target}}/release/greentune --records
    {{worker_allocator}} {{target}}/release/examples/vision_step resnet18 32 64
    {{worker_allocator}} {{target}}/release/examples/vision_step resnet18 224 8
    {{worker_allocator}} {{target}}/release/examples/vision_step simplecnn 32 64
    {{python}} fixtures/vision/bench_torch_step.py --threads 2
    {{target}}/release/examples/loader_speed 1
