#!/bin/sh
# What the image holds, beside the project in /opt/echostream. Runs in any Debian 12, too.
set -eu
# The compiler makes the kernel when the server starts for the first time.
apt-get update
apt-get install -y --no-install-recommends ca-certificates g++ python3-venv
python3 -m venv /opt/venv
/opt/venv/bin/pip install -c /opt/echostream/constraints.txt '/opt/echostream[server]'
# Its HTTP server needs none of what simulstream asks for beyond that.
/opt/venv/bin/pip install --no-deps simulstream==1.0.0
if grep -q whisper-base /opt/echostream/docker/simulstream/processor.yaml; then
  /opt/venv/bin/echostream fetch whisper-base
fi
