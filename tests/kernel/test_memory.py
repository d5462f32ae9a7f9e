"""No operation reads or writes beside its tensors, though vectors are wider than rows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from echostream.kernel import compile_kernel, compiler_command, has_int8_layers, has_int8_products

from .needs import needs_compiler

EVERY_OPERATION = """
import sys
from pathlib import Path
import numpy as np
import torch
from echostream.kernel import MelBank, NAMES, load_kernel, pack_weights, pack_weights_int8
torch.set_num_threads(1)
kernel, r = load_kernel(Path(sys.argv[1])), torch.randn
products, layers = (argument == "True" for argument in sys.argv[2:])
int8 = [("_int8", pack_weights_int8)] if layers else []
called = set()
def call(name, *given):
    called.add(name)
    return getattr(kernel, name)(*given)
for frames, left, width in ((1, 0, 1), (3, 2, 5), (9, 16, 17), (16, 5, 40)):
    for suffix, pack in (("", pack_weights), *int8):
        weights = pack(r(width, 7), r(width))
        y = call("packed_linear" + suffix, r(frames, 7), weights, 0, width, 1)
        call(f"packed_linear{suffix}_add", r(frames, 7), weights, 0, y)
        if suffix and not products:
            continue
        outputs = (4, 12, width)
        first, *others = ((4, 9), (12, 36), (width, 108))
        layers = [pack_weights(r(*first), r(4)), *(pack(r(n, i), r(n)) for n, i in others)]
        call("stem" + suffix, r(1, 9 + 2 * frames, width + 3), layers, outputs)
    past, chunk, total = r(2, left, 2 * width), r(2, frames, 2 * width), left + frames
    projected, positions = r(2, frames, 4 * width + 6), r(2, 3, total + frames - 1)
    mixing = call("attention_weights", projected, [past], positions, r(2, 1, frames, total), 2)
    call("attention_mix", mixing, [past], chunk, 2)
    parts = [r(2, 2, rows, width) for rows in (left, 1, frames)]
    mask = r(frames, left + 1 + frames)
    call("cached_mix", call("cached_weights", r(frames, 2 * width), parts, mask, 2), parts)
    call("depthwise_swoosh", past, chunk, r(left + 3, 2 * width), r(2 * width))
    call("gated_sigmoid", chunk, r(2, frames, 1))
    call("gated_tanh", r(2, frames, 3 * width))
    call("swoosh_r", chunk)
    called.add("log_mel")
    bank = MelBank.of(np.ones(400, np.float32), np.eye(257, 80, dtype=np.float32))
    bank.log_mel(kernel, np.zeros(400 + 160 * (frames - 1), np.float32), frames)
assert {name for name in NAMES if "int8" not in name} <= called, called
"""


@needs_compiler
@pytest.mark.slow
def test_reading_and_writing_stop_at_the_edge(tmp_path: Path) -> None:
    """With the compiler's own check of every access."""
    found = subprocess.run(
        [*compiler_command(), "-print-file-name=libasan.so"], capture_output=True, text=True
    ).stdout.strip()
    if not Path(found).is_absolute():
        pytest.skip("the compiler has no address sanitizer")
    compile_kernel(tmp_path / "kernel.so", "-fsanitize=address")
    run = subprocess.run(
        [
            *(sys.executable, "-c", EVERY_OPERATION, tmp_path / "kernel.so"),
            *(str(has_int8_products()), str(has_int8_layers())),
        ],
        env=os.environ
        | {"LD_PRELOAD": found, "ASAN_OPTIONS": "detect_leaks=0", "PYTHONMALLOC": "malloc"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-3000:]
