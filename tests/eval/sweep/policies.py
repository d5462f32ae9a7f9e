"""Policies from outside the package."""

from echostream.policy import Decision, PolicyContext


class FrameSigns:
    """Looks at the numbers in the frames, all of them since the start."""

    needs_encoder_history = True

    def decide(self, context: PolicyContext) -> Decision:
        positive = int((context.encoder_frames > 0).sum())
        assert len(context.encoder_frames) == context.num_encoder_frames
        return Decision.up_to(positive % 3, f"{positive} positive values")


class Undecided:
    """Writes nothing before the end; counts how often it was asked."""

    asked = 0

    def decide(self, context: PolicyContext) -> Decision:
        Undecided.asked += 1
        return Decision.read()
