#!/bin/sh
# Follows a run: scripts/monitor.sh RUN
set -eu
exec greentune --project "$(dirname "$0")/.." monitor "$@" --follow
