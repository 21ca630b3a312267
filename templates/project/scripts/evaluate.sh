#!/bin/sh
# Evaluates a stage of a run and the base model beside it: scripts/evaluate.sh RUN --test FILE --stage N
set -eu
exec greentune --project "$(dirname "$0")/.." evaluate "$@"
