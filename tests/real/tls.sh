#!/usr/bin/env bash
# Sets TLS and a token up as README says, with its own lines: the program that `cargo test` built, openssl and curl.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

here=$(mktemp -d)
program=$(realpath "${GATEPOST_PROGRAM:-target/debug/gatepost}")
trap 'kill "${server:-}" 2>/dev/null; wait "${server:-}" 2>/dev/null; rm -rf "$here"' EXIT

# The n-th block of shell in a section of README.
block() {
  awk -v heading="## $1" -v wanted="$2" '
    /^## / { below = $0 == heading }
    /^```sh$/ { inside = below && ++number == wanted; next } /^```$/ { inside = 0 } inside' README.md | grep .
}
curl() { command curl --fail-with-body --silent --show-error "$@"; }
gatepost() { "$program" "$@"; }

section='TLS and identities in five minutes'
set_up=$(block "$section" 1) pipeline=$(block "$section" 2) alice=$(block "$section" 3)
token=$(block Identities 1) shown=$(block Identities 2)
examples=$PWD/examples
cd "$here"
serve=$(tail -1 <<<"$set_up")
eval "$(head -n -1 <<<"${set_up//examples\//$examples/}")"
# Runs the line that serves, in the shell's own place, so that it can be ended.
start() {
  : >"$here/said"
  (eval "exec ${serve/gatepost/$program} --listen 127.0.0.1:0 --data-dir $here/data") >"$here/said" &
  server=$!
  until port=$(grep -oP '127\.0\.0\.1:\K[0-9]+' "$here/said"); do
    kill -0 "$server" || { echo "the coordinator did not start" >&2; exit 1; }
  done
  export GATEPOST_SERVER=https://localhost:$port GATEPOST_CACERT=certs/root.pem
}
start
wait_for=$(tail -1 <<<"$pipeline")
eval "$wait_for" >"$here/waited" 2>&1 &
worker=$!
# The gate is there once the worker has asked for it.
until gatepost get release-45/prod --cert certs/ci.pem --key certs/ci.key >/dev/null 2>&1; do
  kill -0 "$worker" || { cat "$here/waited" >&2; exit 1; }
done
# Whoever asks for a gate does not decide it.
if gatepost approve release-45/prod --cert certs/ci.pem --key certs/ci.key 2>"$here/refused"; then
  echo "the pipeline approved itself" >&2
  exit 1
fi
grep -q 'no grant' "$here/refused"
eval "${alice//7070/$port}"
wait "$worker"
grep -q 'approved by alice' "$here/waited"
if curl --cacert certs/root.pem "https://localhost:$port/healthz" 2>/dev/null; then
  echo "a client without a certificate was let in" >&2
  exit 1
fi
eval "$token"
kill "$server" && wait "$server"
start
eval "${shown//7070/$port}" >"$here/listed"
grep -q '^release-45/prod ' "$here/listed"
echo "6 passed, 0 failed"
