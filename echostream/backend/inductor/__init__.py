"""What torch's own compiler, Inductor, needs: graphs that call the kernel's operations."""

from echostream.backend.inductor.engine import Inductor

__all__ = ["Inductor"]
