#!/bin/sh
# Follows a run: scripts/monitor.sh RUN
set -eu
cd "$(dirname "$0")/.."
exec greentune monitor "$@" --follow
