"""Many streams at once: which of them to compute together, and when.

Grouping only; how audio comes in and words go out is the host's.
"""

from echostream.hosts.pool.stream_pool import OverloadError, Served, StreamPool

__all__ = ["OverloadError", "Served", "StreamPool"]
