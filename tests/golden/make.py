"""Writes the golden tensors: what the shipped checkpoint makes of one second of a clip.

    python -m tests.golden.make

Run it when the checkpoint or the definition of the model changes on purpose, and say so in the
changelog; the test that reads them is there to catch every other change.
"""

from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from echostream.audio import FrontEnd, read_audio
from echostream.model import load_model
from echostream.shipped import SHIPPED_CHECKPOINT

FOLDER = Path(__file__).parent
GOLDEN = FOLDER / "tiny-es-en.safetensors"
CLIP = FOLDER.parents[1] / "eval" / "clips" / "perro.ogg"


@torch.no_grad()
def compute() -> dict[str, Tensor]:
    """Features ``[100, 80]``, encoder frames ``[50, C]``, ST log-probabilities ``[50, V]``."""
    samples, rate = read_audio(CLIP)
    model = load_model(SHIPPED_CHECKPOINT)
    front_end = FrontEnd(model.cmvn, lead_in_samples=model.config.audio.lead_in_samples)
    features, _ = front_end.step(samples[:rate], rate, front_end.init_state())
    tensor = torch.from_numpy(features)
    frames, _, _ = model.encoder.step(tensor[None], model.encoder.init_state(), is_final=True)
    return {
        "features": tensor,
        "encoder_out": frames[0],
        "st_log_probs": model.st_head(frames)[0],
    }


if __name__ == "__main__":
    safetensors.torch.save_file(compute(), GOLDEN)
