#!/bin/sh
cd /opt/echostream/docker/simulstream
exec /opt/venv/bin/python -m simulstream.server.speech_processors.remote.http_speech_processor_server \
  --server-config server.yaml --speech-processor-config processor.yaml
