#!/usr/bin/env bash
# Makes certificates to try TLS with, for a month: a root, one of localhost for the coordinator, one for each client named, and
# one for each machine named with its address, which serves and calls others.
# Usage: certificates.sh DIRECTORY [CLIENT...] [MACHINE=ADDRESS...]
set -euo pipefail
directory=${1:?"usage: certificates.sh DIRECTORY [CLIENT...] [MACHINE=ADDRESS...]"}
shift
umask 077
mkdir -p "$directory"
cd "$directory"

# Makes NAME.pem and NAME.key, given by the root, with these extensions.
certificate() {
  local name=$1 extensions=$2
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" -keyout "$name.key" -out "$name.csr" 2>/dev/null
  openssl x509 -req -in "$name.csr" -CA root.pem -CAkey root.key -CAcreateserial -days 30 -out "$name.pem" \
    -extfile <(printf '%b' "$extensions") 2>/dev/null
  rm "$name.csr"
}

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=gatepost test root" \
  -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign" -keyout root.key -out root.pem 2>/dev/null
local='DNS:localhost,IP:127.0.0.1'
certificate server "subjectAltName=$local\nextendedKeyUsage=serverAuth\n"
for name in "$@"; do
  case $name in
    *=*) certificate "${name%%=*}" "subjectAltName=DNS:${name%%=*},IP:${name#*=},$local\nextendedKeyUsage=serverAuth,clientAuth\n" ;;
    *) certificate "$name" 'extendedKeyUsage=clientAuth\n' ;;
  esac
done
echo "root.pem, server.pem and server.key$(printf ', %s.pem' "${@%%=*}") are in $PWD"
