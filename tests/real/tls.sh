#!/usr/bin/env bash
# Sets TLS up as README says, with its own lines: the program that `cargo test` built, openssl and curl.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

here=$(mktemp -d)
program=$PWD/target/debug/gatepost
trap 'kill "${server:-}" 2>/dev/null; wait "${server:-}" 2>/dev/null; rm -rf "$here"' EXIT

# The lines of README between the heading and the next.
line() { sed -n '/^## TLS/,/^## [^T]/p' README.md | grep -F "$1" | head -1; }
curl() { command curl --fail-with-body --silent --show-error "$@"; }
gatepost() { "$program" "$@"; }

make=$(line examples/certificates.sh) serve=$(line 'gatepost serve') list=$(line 'gatepost list') http=$(line curl)
examples=$PWD/examples
cd "$here"
eval "${make//examples\//$examples/}"
# In the shell's own place, so that it can be ended.
(eval "exec ${serve/gatepost/$program} --listen 127.0.0.1:0 --data-dir $here/data") >"$here/said" &
server=$!
until port=$(grep -oP '127\.0\.0\.1:\K[0-9]+' "$here/said"); do
  kill -0 "$server" || { echo "the coordinator did not start" >&2; exit 1; }
done
eval "${list//7070/$port}"
eval "${http//7070/$port}"
if curl --cacert certs/root.pem "https://localhost:$port/v1/gates" 2>/dev/null; then
  echo "a client without a certificate was let in" >&2
  exit 1
fi
echo "3 passed, 0 failed"
