#!/usr/bin/env bash
# Holds a coordinator to its OpenAPI document: schemathesis sends what the document allows and what it does not, and
# checks what comes back. Needs the program that `cargo test` built, and schemathesis on the path.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
hooks=$PWD/tests/real
program=$PWD/target/debug/gatepost

home=$(mktemp -d)
"$program" serve --listen 127.0.0.1:0 --data-dir "$home/data" >"$home/said" 2>"$home/log" &
server=$!
trap 'kill "$server" 2>/dev/null; wait "$server" 2>/dev/null; rm -rf "$home"' EXIT

# It says where it listens once it serves.
until address=$(grep -oE '127\.0\.0\.1:[0-9]+' "$home/said"); do
  kill -0 "$server" || { cat "$home/log" >&2; echo "the coordinator did not start" >&2; exit 1; }
done

"$program" create open --server "http://$address"

# Where it leaves its own files.
cd "$home"
# positive_data_acceptance: what a request may say depends on the gates (one is decided already, another is not there), and
# the bounds of texts are in the descriptions. The check of the hooks stands for it: what the document allows is understood.
# ignored_auth: nobody has to say who they are yet.
PYTHONPATH=$hooks PYTHONDONTWRITEBYTECODE=1 SCHEMATHESIS_HOOKS=openapi_hooks timeout -k 5 1200 \
  st run "http://$address/openapi.json" --no-color --warnings off --seed 1 --max-examples 100 --request-timeout 10 \
  --generation-database none --exclude-checks positive_data_acceptance,ignored_auth \
  --suppress-health-check too_slow

# The calls have reached gates: everything that can happen to one has happened.
happened=$("$program" history --server "http://$address" --output json)
for kind in CREATED WAITING EVIDENCE_REPORTED RESOLVED RESET DELETED; do
  grep -q "EVENT_TYPE_$kind" <<<"$happened" || { echo "no gate was ever $kind" >&2; exit 1; }
done
