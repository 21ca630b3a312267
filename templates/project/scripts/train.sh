#!/bin/sh
# Trains a run, or continues one that was interrupted: scripts/train.sh RUN [--stage 1|2] [--detach]
# Configure a run first:
#   greentune runs new --name NAME --train data/processed/train.jsonl --validation data/processed/validation.jsonl
set -eu
cd "$(dirname "$0")/.."
exec greentune train "$@"
