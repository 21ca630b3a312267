#!/bin/sh
# Exports a stage of a run: scripts/export.sh RUN --stage N --format safetensors|huggingface --to DIR [--merge]
set -eu
cd "$(dirname "$0")/.."
exec greentune export "$@"
