"""The baseline: ``simuleval --agent agents/streamspeech_baseline_agent.py``."""

from simuleval.utils import entrypoint

from echostream.hosts.simuleval.baseline_agent import StreamSpeechBaselineAgent


@entrypoint
class StreamSpeechBaseline(StreamSpeechBaselineAgent):
    """Speech-to-text translation with StreamSpeech's chunk-Conformer encoder."""
