"""How to write a policy: copy this file, give the class your own name, and change ``decide``.

It need not live in this package. In ``my_policy.py``, anywhere on PYTHONPATH:

    from dataclasses import dataclass

    from echostream import policy
    from echostream.policy import Decision, PolicyContext


    @policy.register("patient")
    @dataclass(frozen=True)
    class Patient:
        '''Write nothing before ``min_ms`` of audio.'''

        min_ms: int = 1000

        def decide(self, context: PolicyContext) -> Decision:
            if context.audio_ms < self.min_ms:
                return Decision.read("too early")
            return Decision.up_to(len(context.words), "late enough")

It is then ``policy.create("my_policy:Patient", min_ms=500)``, or by its name once the module is
imported. Things to know:

- The class is shared by all streams, so it must not remember anything itself. Return what you want
  to remember as ``Decision(..., state=...)`` and find it as ``context.state``, ``None`` at first.
- ``context.words`` will not change any more. ``context.tentative_words`` may, and written words are
  never taken back, so count them only if you know why they are safe.
- Set ``needs_encoder_history = True`` on the class to get all encoder frames and not only the
  newest; a stream then needs memory in proportion to its length.
"""

from __future__ import annotations

from dataclasses import dataclass

from echostream.policy.protocol import Decision, PolicyContext, register


@register("stub")
@dataclass(frozen=True)
class Stub:
    """Write every word as soon as it is complete: the smallest useful policy."""

    def decide(self, context: PolicyContext) -> Decision:
        """Write all words that can no longer change."""
        return Decision.up_to(len(context.words), "all that is complete")
