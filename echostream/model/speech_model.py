"""Encoder, CTC heads and text decoder under one roof, with the statistics of their training data.

Symbols: ``B`` recordings, ``T`` encoder frames, ``C`` encoder channels, ``V`` CTC vocabulary.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

import echostream.baseline  # noqa: F401 (its encoder is then in the registry)
import echostream.encoder.whisper  # noqa: F401 (likewise)
from echostream.audio import Cmvn
from echostream.config import SystemConfig, to_mapping
from echostream.decoder.ctc.ctc_head import CtcHead
from echostream.decoder.text.transformer import TransformerDecoder
from echostream.encoder import registry
from echostream.errors import ConfigError
from echostream.kernel import shared_kernel

_ONCE_ABSENT: tuple[tuple[str, object], ...] = (
    ("text_decoder", None),
    ("source_languages", []),
    ("features", "kaldi"),
    ("source_dim", 0),
)
"""Values of younger keys that mean what a configuration without the key meant."""


@contextlib.contextmanager
def float32_by_default() -> Iterator[None]:
    """What is made in here is float32, whatever a host has set for its own models."""
    hosts = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(hosts)


class SpeechModel(nn.Module):
    """A system's weights. Buffers ``cmvn_mean`` and ``cmvn_std`` [80] belong to the weights.

    ``asr_head``, ``st_head`` and ``text_decoder`` are there where the configuration has them.

    Raises:
        ConfigError: if there is no such encoder, or the text decoder is of another width.
    """

    asr_head: CtcHead
    st_head: CtcHead
    text_decoder: TransformerDecoder
    cmvn_mean: Tensor
    cmvn_std: Tensor

    def __init__(self, config: SystemConfig) -> None:
        super().__init__()
        self.config = config
        # Compiled here, if need be, and not in the first chunk of the first recording.
        shared_kernel()
        with float32_by_default():
            self.encoder = registry.create(config.encoder)
            dim = self.encoder.output_dim
            for name, size in self.vocab_sizes.items():
                self.add_module(f"{name}_head", CtcHead(dim, size))
            if config.text_decoder is not None:
                taken = config.text_decoder.source_dim or config.text_decoder.embed_dim
                if taken != dim:
                    raise ConfigError(
                        f"text_decoder takes frames of {taken} channels (source_dim, or embed_dim "
                        f"without it); expected {dim}, the channels of the encoder"
                    )
                self.text_decoder = TransformerDecoder(config.text_decoder)
            self.register_buffer("cmvn_mean", torch.zeros(self.encoder.input_dim))
            self.register_buffer("cmvn_std", torch.ones(self.encoder.input_dim))

    @property
    def heads(self) -> dict[str, CtcHead]:
        """The CTC heads by name: ``asr`` for the transcript, ``st`` for the translation."""
        return {name: cast(CtcHead, getattr(self, f"{name}_head")) for name in self.vocab_sizes}

    @property
    def vocab_sizes(self) -> dict[str, int]:
        """Units of each head that there is, without the blank."""
        sizes = {"asr": self.config.asr_vocab_size, "st": self.config.st_vocab_size}
        return {name: size for name, size in sizes.items() if size > 0}

    @property
    def cmvn(self) -> Cmvn:
        """The feature normalisation that the weights were trained with."""
        return Cmvn(self.cmvn_mean.cpu().numpy(), self.cmvn_std.cpu().numpy())

    def set_cmvn(self, cmvn: Cmvn) -> None:
        """Store the statistics of the training data."""
        self.cmvn_mean.copy_(torch.tensor(cmvn.mean))
        self.cmvn_std.copy_(torch.tensor(cmvn.std))

    def fingerprint(self) -> str:
        """SHA-256 of all weights, CTC heads and CMVN statistics included, and the configuration.

        The configured policy and decoder are left out: others can be put behind the same weights.
        """
        config = _as_always(to_mapping(self.config), "policy", "decoder")
        # Which channel of stereo is heard is the session's choice, too.
        config["audio"] = _as_always(config["audio"], "channel")
        if "text_decoder" in config:
            config["text_decoder"] = _as_always(config["text_decoder"])
        sums = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
        for name, tensor in sorted(self.state_dict().items()):
            sums.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            sums.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        return sums.hexdigest()

    @property
    def num_parameters(self) -> int:
        """Trained numbers, CMVN statistics not counted."""
        return sum(parameter.numel() for parameter in self.parameters())


def _as_always(config: dict[str, Any], *left_out: str) -> dict[str, Any]:
    """A part of the configuration as it was written before it had younger keys."""
    return {
        key: value
        for key, value in config.items()
        if key not in left_out and (key, value) not in _ONCE_ABSENT
    }
