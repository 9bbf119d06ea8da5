#!/usr/bin/env bash
# Starts a broker with the demo pool on a free port, names it in the environment, runs a command.
#
#   tests/with_broker.sh COMMAND…
#
# TELEGATE_ADDRESS is host:port, TELEGATE_KEY a worker's key, TELEGATE_POOL the pool.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$(mktemp -d)
TELEGATE_STORE_KEYS=$(target/debug/telegate keys new-store 2>/dev/null | sed -n 's/^key *//p')
export TELEGATE_STORE_KEYS
target/debug/telegate serve --demo --listen 127.0.0.1:0 \
    --store "embedded:$folder/telegate.db" >"$folder/said" 2>"$folder/log" &
broker=$!
trap 'kill "$broker" 2>/dev/null; wait "$broker" 2>/dev/null || true; rm -rf "$folder"' EXIT

until grep -q 'listening on' "$folder/said"; do
    kill -0 "$broker" 2>/dev/null || { cat "$folder/log" >&2; exit 1; }
    sleep 0.1
done
TELEGATE_ADDRESS=$(sed -n 's/.*listening on //p' "$folder/said" | head -n 1)
TELEGATE_KEY=$(grep -o 'tg_[A-Za-z0-9_-]*' "$folder/said" | head -n 1)
export TELEGATE_ADDRESS TELEGATE_KEY TELEGATE_POOL=demo

"$@"
