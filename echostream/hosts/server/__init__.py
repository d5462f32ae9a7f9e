"""A WebSocket server over the pool: one model, many clients, simulstream's messages, and a page."""

from echostream.hosts.server.options import ServerOptions
from echostream.hosts.server.server import Server

__all__ = ["Server", "ServerOptions"]
