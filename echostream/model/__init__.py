"""The trained part of a system: encoder, CTC heads, CMVN statistics, vocabularies, checkpoint."""

from echostream.encoder.protocol import Encoder
from echostream.encoder.state import EncoderState
from echostream.model.checkpoint import load_model, save_difference, save_model
from echostream.model.speech_model import SpeechModel

__all__ = ["Encoder", "EncoderState", "SpeechModel", "load_model", "save_difference", "save_model"]
