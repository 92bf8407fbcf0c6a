#!/usr/bin/env bash
# Sets up what the tests need and runs them all: formatting, lints, the Rust tests, the tests against real clients, the
# Python SDK, and the dashboard in a real browser.
# Needs Rust, and root or sudo on Debian for the packages that are missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# Where a root shell may not look for what makes networks and file systems.
export PATH="$PATH:/usr/sbin:/sbin"

step() { printf '\n== %s\n' "$*"; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# With it a seed repeats a whole simulation (`cargo simulate` has a build of its own for that). It adds to tokio and changes
# nothing that is used elsewhere, so that one build serves all tests.
export RUSTFLAGS="${RUSTFLAGS:-} --cfg tokio_unstable"

step "set-up"
command -v cargo >/dev/null || { echo "test.sh: install Rust 1.88 or later first: https://rustup.rs" >&2; exit 1; }
missing=()
command -v cc >/dev/null && command -v c++ >/dev/null || missing+=(build-essential)
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3 python3-venv)
# Failing syncs and recorded writes; file systems to cut the power of.
command -v strace >/dev/null || missing+=(strace)
# A clock that is set while the coordinator runs.
ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1 || missing+=(libfaketime)
command -v mkfs.ext4 >/dev/null || missing+=(e2fsprogs)
command -v curl >/dev/null || missing+=(curl)
# The certificates of a test.
command -v openssl >/dev/null || missing+=(openssl)
command -v chromium >/dev/null || missing+=(chromium fonts-dejavu-core)
command -v losetup >/dev/null || missing+=(mount)
# A shared store, and a network of its own that can be cut.
command -v etcd >/dev/null || missing+=(etcd-server)
command -v etcdctl >/dev/null || missing+=(etcd-client)
command -v ip >/dev/null || missing+=(iproute2)
command -v iptables >/dev/null || missing+=(iptables)
if [ "${#missing[@]}" -gt 0 ]; then
  # A machine that has just started may be updating its packages.
  apt() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=600 "$@"; }
  apt update || { sleep 30 && apt update; }
  apt install -y --no-install-recommends "${missing[@]}"
  # The tests run members of their own; the one that Debian starts is not needed.
  if [[ " ${missing[*]} " == *" etcd-server "* ]] && command -v systemctl >/dev/null; then
    as_root systemctl disable --now --quiet etcd || true
  fi
fi
for component in rustfmt clippy; do
  cargo "${component/rustfmt/fmt}" --version >/dev/null 2>&1 || rustup component add "$component"
done
# The guide's library, whose executor runs our gates in a test, needs Python 3.12; without it that test is skipped.
for python in python3.{13,12} "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[23].*/bin/python python3; do
  "$python" -c 'import ensurepip, venv' 2>/dev/null && break
done
venv=target/venv
version() { "$1" -c 'import sys; print(sys.version_info[:2])' 2>/dev/null; }
[ "$(version "$venv/bin/python")" = "$(version "$python")" ] || "$python" -m venv --clear "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check \
  --requirement tests/real/requirements.txt --requirement tests/browser/requirements.txt \
  --requirement python/requirements-dev.txt ./python

step "formatting"
cargo fmt --check
cargo fmt --check --manifest-path fuzz/Cargo.toml

step "lints"
cargo clippy --all-targets -- -D warnings

step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items

step "Rust tests"
cargo test

step "the same guarantees on etcd"
GATEPOST_TEST_STORE=etcd cargo test --test contract --test deciding --test errors --test guarantees --test policy \
  --test stop --test streams --test webhooks

step "simulation, where a seed repeats a whole run"
GATEPOST_TEST_SIMULATIONS=40 GATEPOST_TEST_SIMULATIONS_ON_SLED=10 cargo test --test simulation -- --nocapture | grep -v '^$'

step "fuzzing"
# It is built with nightly Rust.
can_fuzz() {
  command -v rustup >/dev/null &&
    { cargo +nightly --version >/dev/null 2>&1 || rustup toolchain install nightly --profile minimal; } &&
    { command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz --locked; }
}
if can_fuzz; then
  for target in names records requests; do
    mkdir -p "fuzz/corpus/$target"
    seeds=("fuzz/corpus/$target" "fuzz/seeds/$target")
    [ "$target" != records ] || seeds+=(tests/golden)
    # Without sanitizers: what is tried here is safe Rust.
    cargo +nightly fuzz run --sanitizer none "$target" "${seeds[@]}" -- -max_total_time=10 -verbosity=0 -print_funcs=0 -print_final_stats=1
  done
else
  echo "SKIPPED: nightly Rust and cargo-fuzz could not be had. \`cargo test\` has tried the same properties"
fi

# Builds the tests of one name, and runs them as root: only root may mount, and make networks. What is skipped says so.
test_as_root() {
  local name=$1 built
  shift
  built=$(cargo test --test "$name" --no-run --message-format=json 2>/dev/null |
    python3 -c 'import json, sys
for line in sys.stdin:
    built = json.loads(line) if line.startswith("{") else {}
    if built.get("executable") and built["target"]["name"] == sys.argv[1]:
        print(built["executable"])' "$name")
  as_root env PATH="/usr/sbin:/sbin:$PATH" GATEPOST_TEST_KILLS=200 "$built" --nocapture "$@" | grep -v '^$'
}

step "kills, power cuts and full disks"
test_as_root durability kills:: power_cuts:: full_disk::

step "etcd: members and coordinators in network namespaces"
# With the Rust tests it has run already, if they were root's.
[ "$(id -u)" = 0 ] || test_as_root cluster

step "real grpcurl and curl"
PATH="$PWD/$venv/bin:$PATH" tests/real/readme.sh
tests/real/tls.sh

step "schemathesis on the OpenAPI document"
PATH="$PWD/$venv/bin:$PATH" tests/real/openapi.sh

step "Python SDK"
(
  cd python
  PATH="$PWD/../$venv/bin:$PATH"
  ruff check --quiet
  ruff format --check --quiet
  mypy
  GATEPOST_PROGRAM=../target/debug/gatepost python -m pytest --quiet --numprocesses auto
)

step "dashboard in Chromium"
(
  PATH="$PWD/$venv/bin:$PATH"
  ruff check --quiet --config python/pyproject.toml tests/browser
  ruff format --check --quiet --config python/pyproject.toml tests/browser
  GATEPOST_PROGRAM=target/debug/gatepost python -m pytest --quiet -p no:asyncio --numprocesses auto --timeout 120 -ra tests/browser
)

step "several coordinators as documented, with real etcd"
PATH="$PWD/$venv/bin:$PATH" tests/real/ha.sh

step "all passed"
