"""Branches of new layers can be made small."""

from __future__ import annotations

import copy

import torch

from .small_conformer import small_conformer


def test_without_branches_a_layer_normalises_its_input_and_no_more() -> None:
    layer = copy.deepcopy(small_conformer().conformer_layers[0])
    x = torch.randn(2, 9, 16, dtype=torch.float64)
    state = layer.init_state(2)
    before, _ = layer(x, None, None, 4, state)
    assert not torch.allclose(before, layer.final_layer_norm(x))
    layer.shrink_branches(0.0)
    for name in ("ffn1.w_2", "ffn2.w_2", "self_attn.linear_out"):
        # Biases are the same for every frame and are left alone by design.
        torch.nn.init.zeros_(layer.get_submodule(name).bias)
    after, _ = layer(x, None, None, 4, state)
    torch.testing.assert_close(after, layer.final_layer_norm(x))
