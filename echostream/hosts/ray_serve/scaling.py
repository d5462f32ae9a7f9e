"""How many servers there should be.

Serve's controller takes this module along by value, so it stays without other rooms.
"""

import math
from collections.abc import Iterable
from typing import Any

USED = 0.8
"""Of what servers carry; the rest is for streams that come while another one starts."""

METRIC = "load"
"""By which a server tells :meth:`Server.load`."""


def servers_wanted(loads: Iterable[float]) -> int:
    """Servers among which the loads of those that there are, 0 to 1, come to :data:`USED` each."""
    return max(1, math.ceil(round(sum(loads) / USED, 6)))


def policy(context: Any) -> tuple[int, dict[str, Any]]:
    """The same as Serve asks for it: it keeps to its bounds and delays by itself."""
    return servers_wanted(context.aggregated_metrics.get(METRIC, {}).values()), {}
