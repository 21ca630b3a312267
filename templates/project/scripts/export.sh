#!/bin/sh
# Exports a stage of a run: scripts/export.sh RUN --stage N --format safetensors|huggingface --to DIR [--merge]
set -eu
exec greentune --project "$(dirname "$0")/.." export "$@"
