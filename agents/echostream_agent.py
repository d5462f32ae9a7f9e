"""What ``simuleval --agent agents/echostream_agent.py`` loads."""

from simuleval.utils import entrypoint

from echostream.hosts.simuleval.agent import EchoStreamAgent


@entrypoint
class EchoStream(EchoStreamAgent):
    """Speech-to-text translation with the streaming Zipformer encoder."""
