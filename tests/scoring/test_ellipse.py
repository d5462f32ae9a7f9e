"""Ellipses of covariances whose axes are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from echostream.errors import DataError
from echostream.scoring.significance import JointDistribution


@pytest.mark.parametrize(
    ("covariance", "semi_axes", "angle"),
    [
        (((4.0, 0.0), (0.0, 1.0)), (2, 1), 0),
        (((1.0, 0.0), (0.0, 4.0)), (2, 1), 90),
        (((2.5, 1.5), (1.5, 2.5)), (2, 1), 45),
        (((2.5, -1.5), (-1.5, 2.5)), (2, 1), -45),
        (((1.0, 1.0), (1.0, 1.0)), (math.sqrt(2), 0), 45),
    ],
)
def test_ellipse(
    covariance: tuple[tuple[float, float], tuple[float, float]],
    semi_axes: tuple[float, float],
    angle: float,
) -> None:
    joint = JointDistribution((10.0, 20.0), (11.0, 19.0), covariance)
    ellipse = joint.ellipse()
    # square root of the 95 % quantile of chi squared with 2 degrees of freedom, from a table: 5.991
    assert ellipse.semi_major == pytest.approx(semi_axes[0] * math.sqrt(5.991465), rel=1e-6)
    assert ellipse.semi_minor == pytest.approx(semi_axes[1] * math.sqrt(5.991465), abs=1e-6)
    assert ellipse.angle == pytest.approx(angle)
    assert ellipse.centre == (10, 20)
    assert joint.ellipse(0.5).semi_major == pytest.approx(semi_axes[0] * math.sqrt(1.386294))


def test_outline_is_at_the_mahalanobis_distance() -> None:
    covariance = ((9.0, -2.0), (-2.0, 1.0))
    joint = JointDistribution((100.0, 30.0), (100.0, 30.0), covariance)
    points = np.array(joint.ellipse().outline(36)) - (100, 30)
    assert points.shape == (36, 2)
    distances = np.einsum("pi,ij,pj->p", points, np.linalg.inv(covariance), points)
    assert distances == pytest.approx(np.full(36, 5.991465), rel=1e-6)


@pytest.mark.parametrize("level", [0.0, 1.0, 95, math.nan])
def test_level_of_an_ellipse(level: float) -> None:
    joint = JointDistribution((0.0, 0.0), (0.0, 0.0), ((1.0, 0.0), (0.0, 1.0)))
    with pytest.raises(DataError, match="between 0 and 1"):
        joint.ellipse(level)
