#!/bin/sh
# Trains a run, or continues one that was interrupted: scripts/train.sh RUN [--stage 1|2] [--detach]
# Configure a run first:
#   greentune runs new --name NAME --train data/processed/train.jsonl --validation data/processed/validation.jsonl
set -eu
exec greentune --project "$(dirname "$0")/.." train "$@"
