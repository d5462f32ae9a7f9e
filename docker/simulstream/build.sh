#!/bin/sh
# Build the image, start it, and check that it says what a session says. Where there is no Docker the
# same steps are taken in a clean Debian root (needs root and debootstrap): ROOT, /tmp/echostream-root.
set -eu
cd "$(dirname "$0")/../.."
CHECK=/opt/echostream/docker/simulstream/check.py
if docker info > /dev/null 2>&1; then
  docker build -f docker/simulstream/Dockerfile -t echostream .
  container=$(docker run -d --rm -p 127.0.0.1:8080:8080 echostream)
  trap 'docker stop "$container" > /dev/null' EXIT
  inside() { docker exec "$container" "$@"; }
else
  ROOT=${ROOT:-/tmp/echostream-root}
  [ -e "$ROOT/etc/debian_version" ] || debootstrap --variant=minbase bookworm "$ROOT"
  mkdir -p "$ROOT/opt/echostream"
  git archive HEAD | tar -x -C "$ROOT/opt/echostream"
  # torch reads about the processor there.
  mount -t proc proc "$ROOT/proc"
  mount -t sysfs sysfs "$ROOT/sys"
  trap 'umount "$ROOT/proc" "$ROOT/sys"' EXIT
  inside() { chroot "$ROOT" "$@"; }
  inside sh /opt/echostream/docker/simulstream/install.sh
  chroot "$ROOT" sh /opt/echostream/docker/simulstream/serve.sh &
  server=$!
  trap 'kill $server; umount "$ROOT/proc" "$ROOT/sys"' EXIT
fi
for second in $(seq 300); do
  inside /opt/venv/bin/python -c \
    'import socket; socket.create_connection(("127.0.0.1", 8080), 1)' 2> /dev/null && break
  sleep 1
done
inside /opt/venv/bin/python "$CHECK" http://127.0.0.1:8080
