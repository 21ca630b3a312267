#!/bin/sh
# Splits raw records for training, validation and test, with a report in data/quality_reports:
#   scripts/prepare.sh data/raw/FILE… [--seed N] [--train SHARE --validation SHARE --test SHARE] [--force]
set -eu
exec greentune --project "$(dirname "$0")/.." data prepare "$@"
