#!/usr/bin/env bash
# Runs the grpcurl lines of README, as they stand there, against a coordinator of its own: the program that `cargo test`
# built.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

data=$(mktemp -d)
program=target/debug/gatepost
"$program" serve --listen 127.0.0.1:0 --data-dir "$data" >"$data/said" &
server=$!
trap 'kill "$server" 2>/dev/null; wait "$server" 2>/dev/null; rm -rf "$data"' EXIT

# It says where it listens once it serves.
until address=$(grep -oE '127\.0\.0\.1:[0-9]+' "$data/said"); do
  kill -0 "$server" || { echo "the coordinator did not start" >&2; exit 1; }
done

# The lines of README that begin with grpcurl, with those that a backslash continues.
lines=$(sed -n '/^grpcurl /{:next; /\\$/{N; b next}; s/\\\n *//g; p}' README.md)
[ "$(wc -l <<<"$lines")" -ge 4 ] || { echo "README has no grpcurl lines to run" >&2; exit 1; }
passed=0
while IFS= read -r line; do
  echo "\$ $line"
  eval "${line//localhost:7070/$address}" </dev/null
  passed=$((passed + 1))
done <<<"$lines"

# What they did has to be there.
status=$(GATEPOST_SERVER=$address "$program" get release-42/prod --output json)
grep -q '"status":"GATE_STATUS_APPROVED"' <<<"$status" || { echo "the gate is not approved: $status" >&2; exit 1; }
echo "$passed passed, 0 failed"
