#!/usr/bin/env bash
# Runs the grpcurl and curl lines of README, as they stand there, against a coordinator of its own: the program that `cargo test`
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

# An answer that is an error is a failure.
curl() { command curl --fail-with-body --silent --show-error "$@"; }

# The lines of README that begin with one of them, with those that a backslash continues.
lines=$(sed -nE '/^(grpcurl|curl) /{/https:/d; :next; /\\$/{N; b next}; s/\\\n *//g; p}' README.md)
[ "$(wc -l <<<"$lines")" -ge 8 ] || { echo "README has too few lines to run" >&2; exit 1; }
passed=0
while IFS= read -r line; do
  echo "\$ $line"
  eval "${line//localhost:7070/$address}" </dev/null
  passed=$((passed + 1))
done <<<"$lines"

# What they did has to be there.
for gate in release-42/prod release-42/web; do
  status=$(GATEPOST_SERVER=$address "$program" get "$gate" --output json)
  grep -q '"status":"GATE_STATUS_APPROVED"' <<<"$status" || { echo "the gate is not approved: $status" >&2; exit 1; }
done
echo "$passed passed, 0 failed"
