#!/usr/bin/env bash
# run.sh TARGET SECONDS: feeds inputs to a fuzz target. Needs a nightly toolchain and cargo-fuzz.
# Without a sanitizer: the workspace forbids unsafe code, so that panics, aborts, time and memory are what is looked for.
# New inputs go to fuzz/found/TARGET, one that fails to fuzz/artifacts/TARGET.
set -euo pipefail
cd "$(dirname "$0")"
name=$1 seconds=$2
scratch=$(mktemp -d "$([ -d /dev/shm ] && echo /dev/shm || echo /tmp)/greentune-fuzz-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
mkdir -p "found/$name"
dictionary=()
[ -e "dictionaries/$name" ] && dictionary=("-dict=dictionaries/$name")
TMPDIR="$scratch" cargo +nightly fuzz run --fuzz-dir . --sanitizer none --codegen-units 16 ${FUZZ_TARGET_DIR:+--target-dir "$FUZZ_TARGET_DIR"} \
  "$name" "found/$name" "corpus/$name" -- \
  "-max_total_time=$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 "${dictionary[@]}"
