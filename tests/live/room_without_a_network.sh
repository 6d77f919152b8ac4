#!/bin/sh
# What a participant types, in a room without a network: a network namespace of its own with nothing but loopback, and
# in it an engine of its own that has never seen an image. $1: the folder for all of it, with the bundle unpacked in
# istio-lab. $2: a Python.
set -eu
cd "$1"

ip link set lo up
test -z "$(ip route show)" || { echo "there is a route"; exit 1; }
mount -t tmpfs none /run
dockerd --data-root "$1/engine" --exec-root /run/engine --pidfile /run/engine.pid \
    --host unix:///run/docker.sock >"$1/dockerd.log" 2>&1 &
engine=$!
finish() {
    "$1/istio-lab/.venv/bin/labkit" down >/dev/null 2>&1 || true
    kill $engine
    wait $engine || true
}
trap 'finish "$1"' EXIT
until docker info >/dev/null 2>&1; do kill -0 $engine; sleep 0.2; done
test -z "$(docker image ls --quiet)"

cd istio-lab
began=$(date +%s)
make PYTHON="$2" install
echo "installed in $(($(date +%s) - began)) s"
.venv/bin/labkit up
.venv/bin/python -c 'from labkit import check; print(check("05"))'
