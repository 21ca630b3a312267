#!/bin/sh
# Checks the configuration and the prepared data without training anything: tests/check_project.sh
set -eu
cd "$(dirname "$0")/.."
greentune config show > /dev/null
echo "configuration: valid"
for file in data/processed/*.jsonl; do
    if [ -e "$file" ]; then
        greentune data inspect "$file" > /dev/null
        echo "$file: readable"
    fi
done
