#!/usr/bin/env bash
# Goes through README as a reader does, up to "Notifications": runs its gatepost, grpcurl and curl lines, in their order and as
# they stand there, against one coordinator: the program that `cargo test` built.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

data=$(mktemp -d)
program=${GATEPOST_PROGRAM:-target/debug/gatepost}
"$program" serve --listen 127.0.0.1:0 --data-dir "$data" >"$data/said" &
server=$!
worker=
trap 'kill "$server" ${worker:+-- "-$worker"} 2>/dev/null; wait; rm -rf "$data"' EXIT
fail() {
  echo "FAILED: $*" >&2
  exit 1
}

# It says where it listens once it serves.
until address=$(grep -oE '127\.0\.0\.1:[0-9]+' "$data/said"); do
  kill -0 "$server" || fail "the coordinator did not start"
done
export GATEPOST_SERVER=$address

# An answer that is an error is a failure.
curl() { command curl --fail-with-body --silent --show-error "$@"; }
gatepost() { "$program" "$@"; }

passed=0 refused=
while IFS= read -r line; do
  command=${line#\$ } command=${command//localhost:7070/$address}
  case $line in
    # What README shows below a command that is refused.
    'error: '*)
      [ -n "$refused" ] || fail "it is not refused: $line"
      refused=
      ;;
    '$ gatepost wait '*)
      echo "$line"
      # In a group of its own, to be ended as a whole.
      set -m
      eval "$command" >"$data/waited" 2>&1 </dev/null &
      worker=$!
      set +m
      until gatepost list --status waiting --output json | grep . >/dev/null; do
        kill -0 "$worker" || fail "nobody waits: $(cat "$data/waited")"
      done
      passed=$((passed + 1))
      ;;
    '$ gatepost '* | 'grpcurl '* | 'curl '*)
      [ -z "$refused" ] || fail "it is refused: $refused"
      echo "$line"
      eval "$command" </dev/null || refused=$line
      passed=$((passed + 1))
      ;;
  esac
done < <(sed '/^## Notifications/q; :next; /\\$/{N; b next}; s/\\\n *//g' README.md)
[ -z "$refused" ] || fail "it is refused: $refused"
[ "$passed" -ge 15 ] || fail "README has too few lines to run"

# What they did has to be there.
wait "$worker" || fail "the wait ended with $?: $(cat "$data/waited")"
grep -qx deploying "$data/waited" || fail "nothing was deployed: $(cat "$data/waited")"
for gate in release-42/prod release-42/eu release-42/web; do
  status=$(gatepost get "$gate" --output json)
  grep -q '"status":"GATE_STATUS_APPROVED"' <<<"$status" || fail "the gate is not approved: $status"
done
echo "$passed passed, 0 failed"
