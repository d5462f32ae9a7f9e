"""The ellipse against its definition, its probability and covariances that cannot be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.errors import DataError
from eval.compare.ellipse import confidence_ellipse
from eval.compare.schema import Joint

CHI_SQUARE_95 = 5.991464547
"""Two degrees of freedom; from a table."""


def joint(xx: float, xy: float, yy: float) -> Joint:
    return Joint("LAAL", "BLEU", (1700.0, 7.0), ((xx, xy), (xy, yy)))


@settings(deadline=None, max_examples=60)
@given(st.floats(0.1, 400), st.floats(0.01, 5), st.floats(-0.99, 0.99))
def test_corners_are_at_one_distance(sd_x: float, sd_y: float, correlation: float) -> None:
    covariance = (sd_x**2, correlation * sd_x * sd_y, sd_y**2)
    offsets = np.array(confidence_ellipse(joint(*covariance))) - (1700.0, 7.0)
    inverse = np.linalg.inv([[covariance[0], covariance[1]], [covariance[1], covariance[2]]])
    distances = np.einsum("pi,ij,pj->p", offsets, inverse, offsets)
    np.testing.assert_allclose(distances, CHI_SQUARE_95, rtol=1e-6)
    np.testing.assert_allclose(offsets.mean(0), 0, atol=1e-9 * sd_x)


def test_it_reaches_the_marginal_interval() -> None:
    corners = np.array(confidence_ellipse(joint(900.0, 2.0, 0.8)))
    reach = corners.max(0) - (1700.0, 7.0)
    expected = np.sqrt(CHI_SQUARE_95 * np.array([900.0, 0.8]))
    assert (reach <= expected * (1 + 1e-9)).all() and (reach > 0.98 * expected).all()


def test_a_figure_that_does_not_vary_makes_a_line() -> None:
    corners = np.array(confidence_ellipse(joint(900.0, 0.0, 0.0)))
    assert np.ptp(corners[:, 1]) == 0
    assert np.ptp(corners[:, 0]) == pytest.approx(2 * 30 * np.sqrt(CHI_SQUARE_95), rel=0.02)


@pytest.mark.parametrize(
    "covariance",
    [
        ((1.0, 0.5), (0.4, 1.0)),
        ((1.0, 2.0), (2.0, 1.0)),
        ((0.0, 1.0), (1.0, 0.0)),
        ((-1.0, 0.0), (0.0, 1.0)),
    ],
)
def test_what_is_no_covariance(covariance: tuple[tuple[float, float], tuple[float, float]]) -> None:
    with pytest.raises(DataError, match="positive semi-definite"):
        confidence_ellipse(Joint("LAAL", "BLEU", (0.0, 0.0), covariance))
