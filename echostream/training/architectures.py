"""What fairseq calls the systems that EchoStream can train."""

from __future__ import annotations

ARCHITECTURES = {
    "zipformer": "echostream_zipformer",
    "chunk-conformer": "streamspeech_conformer",
}
"""``--arch`` for the ``encoder.name`` of a configuration."""
