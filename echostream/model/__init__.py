"""The trained part of a system: encoder, CTC heads, CMVN statistics, vocabularies, checkpoint."""

from echostream.model.checkpoint import load_model, save_model
from echostream.model.speech_model import Encoder, EncoderState, SpeechModel

__all__ = ["Encoder", "EncoderState", "SpeechModel", "load_model", "save_model"]
