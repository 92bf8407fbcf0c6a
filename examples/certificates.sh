#!/usr/bin/env bash
# Makes certificates to try TLS with, for a month: a root, one of localhost for the coordinator, and one for each client named.
# Usage: certificates.sh DIRECTORY [CLIENT...]
set -euo pipefail
directory=${1:?"usage: certificates.sh DIRECTORY [CLIENT...]"}
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
certificate server 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n'
for client in "$@"; do
  certificate "$client" 'extendedKeyUsage=clientAuth\n'
done
echo "root.pem, server.pem and server.key$(printf ', %s.pem' "$@") are in $PWD"
