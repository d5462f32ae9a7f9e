"""Compiled encoders with streams at different positions: each gets what it would get alone."""

import pytest
import torch
from hypothesis import given, settings

from echostream.backend import CompiledEncoder, make_backend
from tests.encoder.small_encoder import largest_difference, small_encoder
from tests.encoder.stream_batches import (
    CHUNKING,
    FLOAT,
    STREAMS,
    WINDOW,
    check_each_is_as_if_alone,
    check_no_one_active_changes_nothing,
    check_stepping_is_pure,
    check_what_is_not_finite_stays,
    recording,
    turns,
)

from .compiled import compiled, needs_openvino


def prepared() -> CompiledEncoder:
    """With graphs for one stream and all; two and three are computed with idle ones."""
    encoder = compiled()
    for size in (1, STREAMS):
        encoder.prepare(encoder.init_state(size, **CHUNKING))
    return encoder


def test_each_stream_is_as_if_alone() -> None:
    encoder = prepared()

    @settings(deadline=None, max_examples=8, database=None)
    @given(plan=turns)
    def check(plan: list[list[tuple[bool, int, bool]]]) -> None:
        check_each_is_as_if_alone(encoder, plan)

    check()


@pytest.mark.fault("F45")
def test_what_is_not_finite_stays_with_its_stream() -> None:
    check_what_is_not_finite_stays(prepared())


def test_stepping_a_batch_is_pure() -> None:
    check_stepping_is_pure(prepared())


def test_no_one_active_changes_nothing() -> None:
    check_no_one_active_changes_nothing(prepared())


def test_no_graph_is_made_for_a_number_of_busy_streams() -> None:
    encoder = prepared()
    made = set(encoder._graphs)
    features = torch.stack([recording(row, WINDOW) for row in range(STREAMS)])
    for busy in range(STREAMS + 1):
        active = torch.arange(STREAMS) < busy
        encoder.step(features, encoder.init_state(STREAMS, **CHUNKING), active=active)
    assert set(encoder._graphs) == made


@pytest.mark.slow  # half a minute to compile the graphs for one stream and two
def test_int8_does_not_depend_on_the_others() -> None:
    """A loud stream beside a quiet one: scales for all inputs together would ruin the quiet one."""
    needs_openvino()
    encoder = make_backend(small_encoder(4, FLOAT), "openvino", precision="int8")
    features = torch.stack([recording(0, WINDOW), 50.0 * recording(1, WINDOW)])
    y, _, _ = encoder.step(features, encoder.init_state(2, **CHUNKING))
    for row in range(2):
        own, _, _ = encoder.step(features[row : row + 1], encoder.init_state(1, **CHUNKING))
        assert largest_difference(y[row], own[0]) < 1e-5
