"""Many streams at once: which of them to compute together, and when.

Grouping only; how audio comes in and words go out is the host's.
"""

from echostream.hosts.pool.stream_pool import OverloadError, StreamPool
from echostream.hosts.pool.waiting_stream import Detached, Served

__all__ = ["Detached", "OverloadError", "Served", "StreamPool"]
