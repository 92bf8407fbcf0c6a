#!/usr/bin/env bash
# Sets one coordinator and several up as README and docs/operations.md say, with their own lines, the commands of the units and
# those of the compose files: the program that `cargo test` built, etcd, etcdctl, openssl, curl and PyYAML. All machines are
# addresses of this one. systemd and containers themselves are not run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
for needed in etcd etcdctl openssl curl; do
  command -v "$needed" >/dev/null || { echo "SKIPPED, because there is no $needed here"; exit 0; }
done

here=$(mktemp -d)
sources=$PWD
program=$(realpath "${GATEPOST_PROGRAM:-target/debug/gatepost}")
# A network of this machine that nobody else uses, nearly always.
net=127.$((RANDOM % 200 + 20)).$((RANDOM % 250 + 1))
# The processes by their names.
declare -A processes
# Quietly: bash tells of each process that is killed.
trap 'exec 2>/dev/null; jobs -p | xargs --no-run-if-empty kill -9; wait; rm -rf "$here"' EXIT
for variable in "${!GATEPOST_@}" "${!ETCD_@}" "${!ETCDCTL_@}"; do unset "$variable"; done
export ETCDCTL_API=3 ETCDCTL_COMMAND_TIMEOUT=60s

fail() {
  echo "FAILED: $*" >&2
  tail -n 5 "$here"/*.log >&2 2>/dev/null || true
  exit 1
}
passed=0
pass() {
  echo "passed: $*"
  passed=$((passed + 1))
}
# Tries a command until it succeeds, for a minute: far longer than it takes on a busy machine.
eventually() {
  local end=$((SECONDS + 60))
  until "$@" >"$here/tried" 2>&1; do
    [ "$SECONDS" -lt "$end" ] || fail "$* does not succeed: $(cat "$here/tried")"
  done
}
not() { ! "$@"; }
gatepost() { "$program" "$@"; }
curl() { command curl --fail --silent --show-error --max-time 10 "$@"; }

# The n-th block of shell below a heading of a document, up to the next heading of its level or above.
block() {
  awk -v heading="$2" -v wanted="$3" '
    $0 == heading { below = 1; level = length($1); next }
    /^```$/ { inside = 0 }
    below && !inside && /^#+ / && length($1) <= level { exit }
    inside && number == wanted
    below && /^```sh$/ { inside = 1; number++ }' "$1" | grep . || fail "$1 has no block $3 below $2"
}
# Kills processes as a lost machine does.
lose() {
  for name in "$@"; do
    { kill -9 "${processes[$name]}"; wait "${processes[$name]}"; } 2>/dev/null || true
  done
}
# A gate is waited on, something happens, and it is approved: as ever. The flags of the two callers are in $worker and $approver.
# shellcheck disable=SC2086
outlive() {
  local gate=$1 happens=$2
  # The program itself, so that it ends with this script.
  "$program" wait "$gate" --timeout 5m $worker >"$here/waited" 2>&1 &
  local waiting=$!
  is_waited_on() { gatepost get "$gate" --output json $approver | grep '"status":"GATE_STATUS_WAITING"'; }
  eventually is_waited_on
  "$happens"
  # As one call, however often it is repeated.
  eventually gatepost approve "$gate" --comment "as ever" --request-id "approve-${gate//\//-}" $approver
  wait "$waiting" || fail "the wait ended with $?: $(cat "$here/waited")"
  local history
  history=$(gatepost history "$gate" $approver)
  grep -q 'approved by .*: as ever' <<<"$history" || fail "the history does not show it"
}

#-- Every variable that is set is one that is known: others would be ignored without a word.

known=$(gatepost serve --help | tr -s ' \n' ' ' | grep -oP '\[env: \K\w+')
known+=$'\n'$(etcd --help 2>&1 | grep -oP '^  --\K[a-z0-9-]+' | sed 's/-/_/g; s/.*/ETCD_\U&/')
for variable in $(grep -rohP '\b(GATEPOST|ETCD)_\w+' deploy | sort -u); do
  [ "$variable" = GATEPOST_SERVER ] || grep -qx "$variable" <<<"$known" || fail "deploy sets $variable, which nobody reads"
done
pass "variables in deploy"

#-- README: one member of etcd and two coordinators

at=$net.1
on_readme_address() {
  sed "s#127\.0\.0\.1#$at#g; s#^gatepost #$program #
    s#^etcd #&--listen-client-urls http://$at:2379 --advertise-client-urls http://$at:2379 --listen-peer-urls http://$at:2380 \
--initial-advertise-peer-urls http://$at:2380 --initial-cluster default=http://$at:2380 #"
}
readme=() heading='## Several coordinators'
for number in 1 2 3; do readme+=("$(block README.md "$heading" "$number" | on_readme_address)"); done
mkdir "$here/readme"
pushd "$here/readme" >/dev/null
export ETCDCTL_ENDPOINTS=$at:2379
eval "${readme[0]}" >"$here/readme.log" 2>&1
is_served() { [ "$(grep -c 'gatepost listens on' "$here/readme.log")" = 2 ]; }
eventually is_served
(eval "${readme[1]}") >"$here/waited" 2>&1 &
waiting=$!
is_waited_on() { gatepost list --server "$at:7072" --status waiting --output json | grep 'release-44/prod'; }
eventually is_waited_on
eval "${readme[2]}" >"$here/decided" 2>"$here/readme.said"
wait "$waiting" || fail "the wait ended with $?: $(cat "$here/waited")"
grep -q deploying "$here/waited" || fail "nothing was deployed: $(cat "$here/waited")"
grep -q 'approved by anonymous' "$here/decided" || fail "the history does not show it: $(cat "$here/decided")"
popd >/dev/null
unset GATEPOST_SERVER ETCDCTL_ENDPOINTS
{ jobs -p | xargs kill -9; wait; } 2>/dev/null || true
pass "README: a coordinator is killed while a worker waits"

#-- docs/operations.md: one machine, and three, with the units

# What is written for a machine, on its place here.
placed() {
  sed "s#/etc/#$here/$1/etc/#g; s#/usr/local/bin#$here/$1/bin#g; s#/var/lib/private#$here/$1/var#g; s#/usr/bin/etcd#$(command -v etcd)#g
    s#target/release/gatepost#$program#g; s#0\.0\.0\.0#$net.11#g; s#10\.0\.0\.#$net.#g; s#gates-\([123]\):7070#$net.1\1:7070#g"
}
# Runs a block of the section on a machine.
on() {
  local machine=$1
  eval "$(block docs/operations.md "$2" "$3" | placed "$1")" >"$here/$1.said" 2>&1 || fail "block $3 of $2: $(cat "$here/$1.said")"
}
# What a block has of it, on the machine that the block is run on: VERB [OPTION...] UNIT.
systemctl() {
  local unit=${*: -1}@$machine
  case $1 in stop | restart) kill "${processes[$unit]}" && { wait "${processes[$unit]}" || true; } ;; esac
  case $1 in start | restart | enable) start_units "$unit" ;; esac
}
# Does with UNIT@MACHINE what systemd does: joins lines, reads variables, hands out credentials, runs the command.
start_units() {
  local name unit
  for name in "$@"; do
    unit=$here/${name#*@}/etc/systemd/system/${name%@*}.service
    # With its drop-ins behind it.
    unit=$(find "$unit"* -type f -exec sed ':next; /\\$/{N; b next}; s/\\\n *//g' {} + | placed "${name#*@}")
    of() { sed -n "s/^$1=//p" <<<"$unit"; }
    last() { of "$1" | tail -n 1; }
    (
      set -a
      STATE_DIRECTORY=$here/${name#*@}/var/$(last StateDirectory) CREDENTIALS_DIRECTORY=$here/${name#*@}/run/${name%@*}
      . "$(last EnvironmentFile | grep . || echo /dev/null)"
      mkdir -p "$STATE_DIRECTORY" "$CREDENTIALS_DIRECTORY"
      for credential in $(of LoadCredential); do install -m 0400 "${credential#*:}" "$CREDENTIALS_DIRECTORY/${credential%%:*}"; done
      # Both expand ${NAME}.
      eval "exec $(last ExecStart)"
    ) >>"$here/$name.log" 2>&1 &
    processes[$name]=$!
  done
}
ask() { curl --cacert certs/root.pem --cert certs/prometheus.pem --key certs/prometheus.key "https://$net.1${1#gates-}:7070$2"; }
is_ready() { ask "$1" /readyz; }
# Without a quorum a coordinator ends, and systemd starts it again.
is_ready_again() { is_ready "$1" || { kill -0 "${processes[gatepost@$1]}" || start_units "gatepost@$1"; false; }; }
all_ready() { for machine in gates-{1,2,3}; do eventually is_ready_again "$machine"; done; }

# The directories of units and data are there on a machine.
machine() { mkdir -p "$here/$1"/{bin,etc/systemd/system,var}; }
verify() {
  command -v systemd-analyze >/dev/null || { echo "SKIPPED: systemd-analyze is not here"; return; }
  local file found
  cp -r "$here/$1/etc/systemd/system" "$here/$1/units"
  find "$here/$1/units" -type f | while read -r file; do placed "$1" <"$file" >"$here/placed" && cp "$here/placed" "$file"; done
  found=$(systemd-analyze verify --man=no "$here/$1"/units/*.service 2>&1) || fail "systemd-analyze: $found"
  # Of other units of this machine it may say what it likes.
  found=$(grep -F -e "$here" -e gatepost <<<"$found" || true)
  [ -z "$found" ] || fail "systemd-analyze: $found"
  pass "systemd-analyze verify, on $1"
}

section='## One machine'
machine alone
mkdir "$here/alone/operator"
ln -s "$sources"/{deploy,docs,examples} "$here/alone/operator"
cd "$here/alone/operator"
on alone "$section" 1
verify alone
eventually is_ready gates-1
eval "$(block docs/operations.md "$section" 2 | placed alone | head -n 1)"
worker=$(block docs/operations.md "$section" 2 | grep -oP '^gatepost wait .*?\K--cert.*')
approver=${worker//ci./alice.}
upgrade() { on alone "$section" 4; }
outlive release-1/prod upgrade
pass "one machine: the unit is upgraded while a worker waits"
# shellcheck disable=SC2086
gatepost create release-2/prod $worker >"$here/created"
on alone "$section" 5
eventually is_ready gates-1
# shellcheck disable=SC2086
gatepost list --prefix release-1 --status waiting --output json $approver | grep release-1/prod >/dev/null || fail "the backup is not what is there"
# shellcheck disable=SC2086
not gatepost get release-2/prod $approver 2>/dev/null || fail "what came after the backup is there"
pass "one machine: the backup is restored"
lose gatepost@alone
unset GATEPOST_SERVER GATEPOST_CACERT
cd "$sources"

section='### Three machines'
mkdir -p "$here/operator"
ln -s "$sources"/{deploy,docs,examples} "$here/operator"
cd "$here/operator"
on operator "$section" 1
for machine in gates-{1,2,3}; do
  machine "$machine"
  # Which of the names it has is its operator's to say.
  eval "$(block docs/operations.md "$section" 2 | placed "$machine" | sed "s/^name=.*/name=$machine/")"
  sed -i "s/^NAME=.*/NAME=$machine/; s/^ADDRESS=.*/ADDRESS=$net.1${machine#gates-}/; s/10\.0\.0\./$net./g" "$here/$machine/etc/gatepost/machine.env"
done
members=(gatepost-etcd@gates-{1,2,3}) coordinators=(gatepost@gates-{1,2,3})
verify gates-1

for machine in gates-{1,2,3}; do on "$machine" "$section" 3; done
# The first three lines say how etcdctl reaches the members.
eval "$(block docs/operations.md "$section" 4 | placed gates-1 | head -n 2)"
eventually etcdctl endpoint health
on gates-1 "$section" 4
not etcdctl get --prefix /gatepost/ >/dev/null 2>&1 || fail "whoever has no password reads the gates"
"$program" serve --listen "$net.2:7070" --data-dir gatepost-data >"$here/embedded.log" 2>&1 &
processes[embedded]=$!
eventually gatepost create release-0/prod --server "$net.2:7070"
lose embedded
on gates-1 "$section" 5
for machine in gates-{1,2,3}; do on "$machine" "$section" 6; done
all_ready
eval "$(block docs/operations.md "$section" 7 | placed gates-1 | head -n 1)"
worker=$(block docs/operations.md "$section" 7 | grep -oP '^gatepost wait .*?\K--cert.*')
approver=${worker//ci./alice.}
# shellcheck disable=SC2086
gatepost get release-0/prod $approver >/dev/null || fail "the gate of the embedded store has not moved"

lose_the_machine_of_the_wait() {
  for machine in gates-{1,2,3}; do
    if metrics=$(ask "$machine" /metrics) && grep -q '^gatepost_waiters 1$' <<<"$metrics"; then
      lose "gatepost@$machine" "gatepost-etcd@$machine"
      lost=$machine
      return
    fi
  done
  fail "nobody waits anywhere"
}
outlive release-1/prod lose_the_machine_of_the_wait
start_units "gatepost-etcd@$lost" "gatepost@$lost"
all_ready
pass "a machine is lost while a worker waits there"

has_leader() {
  leader=$(ETCDCTL_ENDPOINTS=$net.11:2379,$net.12:2379,$net.13:2379 etcdctl --user "root:$(cat etcd-password-root)" endpoint status |
    awk -F ', ' '$5 == "true" { print $1 }') && [ -n "$leader" ]
}
lose_the_leader() {
  eventually has_leader
  lost=gates-$(sed -E 's/.*\.1([123]):2379/\1/' <<<"$leader")
  lose "gatepost-etcd@$lost"
}
outlive release-2/prod lose_the_leader
start_units "gatepost-etcd@$lost"
all_ready
pass "the leader of etcd is lost while a worker waits"

lose_the_quorum() {
  lose gatepost-etcd@gates-1 gatepost-etcd@gates-2
  for machine in gates-{1,2,3}; do eventually not is_ready "$machine"; done
  # shellcheck disable=SC2086
  not gatepost approve release-3/prod $approver 2>"$here/refused" || fail "it was approved without a quorum"
  start_units gatepost-etcd@gates-{1,2}
  all_ready
}
outlive release-3/prod lose_the_quorum
pass "the quorum of etcd is lost and comes back while a worker waits"

upgrade() { for machine in gates-{1,2,3}; do on "$machine" '### Upgrades and restarts' 1; done; }
outlive release-4/prod upgrade
pass "the coordinators are upgraded while a worker waits"

lose gatepost-etcd@gates-3 gatepost@gates-3
rm -r "$here/gates-3/var/gatepost-etcd"
on operator '### Upgrades and restarts' 2
eventually eval "$(block docs/operations.md '### Upgrades and restarts' 3 | placed operator)"
on gates-3 '### Upgrades and restarts' 4
start_units gatepost-etcd@gates-3 gatepost@gates-3
all_ready
pass "a machine is replaced"

# shellcheck disable=SC2086
decided() { gatepost list --prefix release-3 --status approved --output json $approver; }
before=$(decided)
on gates-1 '### Size' 1
on gates-1 '### Size' 2
on gates-1 '### Backups' 1
# shellcheck disable=SC2086
gatepost create release-5/prod $worker >"$here/created"
lose "${members[@]}" "${coordinators[@]}"
for machine in gates-{1,2,3}; do on "$machine" '### Backups' 2; done
start_units "${members[@]}" "${coordinators[@]}"
all_ready
[ "$(decided)" = "$before" ] || fail "the backup is not what is there: $(decided)"
# shellcheck disable=SC2086
not gatepost get release-5/prod $approver 2>/dev/null || fail "what came after the backup is there"
outlive release-5/prod true
pass "a backup is restored"
lose "${members[@]}" "${coordinators[@]}"
unset GATEPOST_SERVER GATEPOST_CACERT "${!ETCDCTL_@}"
cd "$sources"

#-- The compose files

if ! python3 -c 'import yaml' 2>/dev/null; then
  echo "SKIPPED: PyYAML is not here, so the compose files are not tried"
  echo "$passed passed, 0 failed"
  exit
fi
# A line for each service: its name, where it is published, its check of health, and its command with its variables.
services=$(python3 - <<'END'
import re, shlex, yaml

# Of the image of the coordinator; etcd does not look at them.
image = re.findall(r"^ENV (\S+)$", open("deploy/Dockerfile").read(), flags=re.MULTILINE)
files = [yaml.safe_load(open(f"deploy/{name}.yaml")) for name in ("compose", "compose-etcd")]
for name, service in [each for file in files for each in file["services"].items()]:
    variables = image + [f"{key}={value}" for key, value in service["environment"].items()]
    command = shlex.join(["env", *variables, service["build"]["target"], *service.get("command", [])])
    print(name, *service.get("ports", ["nowhere"]), shlex.join(service["healthcheck"]["test"][1:]), command, sep="\t")
END
)
address() { sed -E "s#etcd-#$net.2#; s#gatepost-#$net.3#; s#^gatepost\$#$net.30#" <<<"$1"; }
field() { grep -P "^$1\t" <<<"$services" | cut -f "$2"; }
# What is written for a container, on its place here: it has an address and a program of its own.
contained() {
  sed -E "s#(0\.0\.0\.0|127\.0\.0\.1)#$(address "$1")#g; s#etcd-([123]):#$net.2\1:#g; s#/data#$here/$1#g; s# gatepost # $program #"
}
start_services() {
  for name in "$@"; do
    (cd "$here/$name" && eval "exec $(field "$name" 4 | contained "$name")") >>"$here/$name.log" 2>&1 &
    processes[$name]=$!
  done
}
is_healthy() {
  export ETCDCTL_ENDPOINTS
  ETCDCTL_ENDPOINTS=$(address "$1"):2379
  eval "$(field "$1" 3 | contained "$1")"
}

worker='' approver=''
mkdir "$here"/{etcd-{1,2,3},gatepost{,-{1,2,3}}}
start_services gatepost
eventually is_healthy gatepost
[ "$(field gatepost 2)" = 127.0.0.1:7070:7070 ] || fail "it is published at $(field gatepost 2)"
export GATEPOST_SERVER=$net.30:7070
restart_it() { lose gatepost; start_services gatepost; }
outlive release-6/prod restart_it
lose gatepost
pass "compose.yaml: the coordinator is killed while a worker waits"

start_services etcd-{1,2,3}
for name in etcd-{1,2,3}; do eventually is_healthy "$name"; done
start_services gatepost-{1,2,3}
for name in gatepost-{1,2,3}; do
  eventually is_healthy "$name"
  [ "$(field "$name" 2)" = "127.0.0.1:707${name#gatepost-}:7070" ] || fail "$name is published at $(field "$name" 2)"
done
eval "$(sed -n 's/^# *\(export GATEPOST_SERVER\)/\1/p' deploy/compose-etcd.yaml | sed "s#127\.0\.0\.1:707\([123]\)#$net.3\1:7070#g")"
lose_one_of_each() { lose gatepost-1 etcd-2; }
outlive release-7/prod lose_one_of_each
start_services gatepost-1 etcd-2
for name in gatepost-1 etcd-2; do eventually is_healthy "$name"; done
pass "compose-etcd.yaml: one of each is killed while a worker waits"

echo "$passed passed, 0 failed"
