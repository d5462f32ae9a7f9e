"""A server as a replica of Ray Serve: it begins, says where it is, and drains before it ends."""

import asyncio
import contextlib
import logging
import socket
from dataclasses import replace
from urllib.parse import urlsplit

import ray
from ray import serve
from ray.serve.exceptions import RayServeException

from echostream.errors import EchoStreamError
from echostream.hosts.ray_serve import front
from echostream.hosts.ray_serve.choice import Seen
from echostream.hosts.ray_serve.scaling import METRIC
from echostream.hosts.server import Server, ServerOptions
from echostream.session import SystemOptions

_log = logging.getLogger(__name__)

_BEAT_S = 0.5
"""Between two times that it says where it is."""


class Replica:
    """The server of ``echostream serve`` in this process. Clients speak to it, not by way of Serve.

    Args:
        system: what is translated with.
        options: limits, and the port; it listens on the address that the cluster has for its node.
        device: of the model.

    Raises:
        EchoStreamError: if the server cannot begin.
    """

    # Serve awaits it.
    async def __init__(  # type: ignore[misc]
        self, system: SystemOptions, options: ServerOptions, device: str
    ) -> None:
        address = ray.util.get_node_ip_address()
        options = replace(options, host=address)
        self._open = contextlib.AsyncExitStack()
        self._server = await self._open.enter_async_context(Server(system, options, device=device))
        own = urlsplit(self._server.url)
        # A certificate is for a name.
        name = own.netloc if own.scheme == "http" else f"{socket.getfqdn(address)}:{own.port}"
        self._url = f"{own.scheme.replace('http', 'ws')}://{name}/"
        self._front = serve.get_deployment_handle(front.NAME)
        self._beating = asyncio.create_task(self._beat())
        # What is opened last is closed first.
        self._open.push_async_callback(self._server.drain)
        self._open.push_async_callback(self._tell, "the server is shutting down")
        self._open.callback(self._beating.cancel)

    async def check_health(self) -> None:
        """Whether Serve should replace it, after it was told so some times."""
        if not self._server.works or self._beating.done():
            raise EchoStreamError("no process computes, or nobody is told where; expected both")

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """For :func:`policy`."""
        return {METRIC: self._server.load()}

    async def __del__(self) -> None:
        """Serve awaits it when the server has to go: its streams go on in others, or end."""
        await self._open.aclose()

    async def _beat(self) -> None:
        while True:
            await self._tell(self._server.refusal())
            await asyncio.sleep(_BEAT_S)

    async def _tell(self, refusal: str | None) -> None:
        node = ray.get_runtime_context().get_node_id()
        seen = Seen(self._url, node, self._server.load(), refusal, self._server.about)
        try:
            async with asyncio.timeout(10 * _BEAT_S):
                await self._front.note.remote(seen)
        except (ray.exceptions.RayError, RayServeException, TimeoutError) as error:
            _log.warning("the front door does not answer: %r", error)
