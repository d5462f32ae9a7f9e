"""Ray Serve (https://docs.ray.io) deploys ``echostream serve`` on the nodes of a cluster.

    serve run echostream.ray_serve:app replicas=2:8 streams=/srv/streams save-s=5

Serve starts servers, replaces them, and has as many as their load asks for; what stands before them
sends each stream to one of them.
"""

import argparse
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NoReturn

from echostream.commands.serve import build_parser, server_options
from echostream.commands.system import options_of
from echostream.errors import ConfigError

_MARGIN_S = 30.0
"""For a server to write its streams and to end, beyond the time that they may go on."""


def app(arguments: Mapping[str, Any]) -> Any:
    """The application.

    Args:
        arguments: options of ``echostream serve`` without their dashes, and ``replicas``, MIN:MAX.
            One that can be given several times has a list; one without a value is true.

    Raises:
        ConfigError: if an option is unknown or cannot be, or the folder for streams is missing.
    """
    from ray import serve
    from ray.serve.config import AutoscalingConfig, AutoscalingPolicy

    from echostream.hosts.ray_serve.front import NAME, Front
    from echostream.hosts.ray_serve.replica import Replica
    from echostream.hosts.ray_serve.scaling import policy

    given = dict(arguments)
    least, most = _replicas(str(given.pop("replicas", 1)))
    args = _parsed(given)
    options = server_options(args)
    # By the options alone: this is another machine than those that compute.
    alone = args.device != "cpu"
    processes = options.processes or (
        1 if alone else math.ceil(options.max_clients / options.max_batch)
    )
    options = replace(options, port=args.port or 0, processes=processes)
    servers = serve.deployment(
        Replica,
        name="server",
        ray_actor_options={"num_cpus": processes, "num_gpus": int(alone)},
        autoscaling_config=AutoscalingConfig(
            min_replicas=least,
            max_replicas=most,
            policy=AutoscalingPolicy(policy_function=policy),
        ),
        graceful_shutdown_timeout_s=options.drain_s + _MARGIN_S,
    ).bind(options_of(args), options, args.device)
    # There is one, beside Serve's own controller: the loss of another node does not touch it.
    front = serve.deployment(
        serve.ingress()(Front),
        name=NAME,
        ray_actor_options={"num_cpus": 0, "resources": {"node:__internal_head__": 0.001}},
        # Every server says twice a second that it is there.
        logging_config={"enable_access_log": False},
    )
    return front.bind(servers)


def _parsed(given: Mapping[str, Any]) -> argparse.Namespace:
    words = []
    for name, value in given.items():
        option = f"--{name}".replace("_", "-")
        each = value if isinstance(value, list) else [value]
        words += [option] if value is True else [f"{option}={one}" for one in each]
    parser = build_parser()
    parser.allow_abbrev = False

    def refuse(message: str) -> NoReturn:
        raise ConfigError(
            f"{message}; expected options of `echostream serve` as NAME=VALUE, and replicas=MIN:MAX"
        )

    parser.error = refuse  # type: ignore[method-assign]  # Its own would end the process.
    args = parser.parse_args(words)
    if args.host is not None:
        raise ConfigError(
            f"host is {args.host}; expected none: a server listens on the address of its node"
        )
    if args.streams is None or not args.streams.is_absolute():
        raise ConfigError(
            f"streams is {args.streams}; expected the absolute path of a folder that all machines "
            "share, by which streams go from one to another"
        )
    return args


def _replicas(text: str) -> tuple[int, int]:
    least, _, most = text.partition(":")
    most = most or least
    if not (least.isdecimal() and most.isdecimal() and 1 <= int(least) <= int(most)):
        raise ConfigError(f"replicas is {text!r}; expected MIN:MAX from 1 up, such as 2:8")
    return int(least), int(most)
