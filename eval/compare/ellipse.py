"""The ellipse that holds two figures together with a probability of 95 %."""

from __future__ import annotations

import math

from echostream.errors import DataError
from eval.compare.schema import Joint

RADIUS = math.sqrt(-2 * math.log(0.05))
"""In standard deviations: chi-square with two degrees of freedom is below RADIUS^2 = 5.99 with
probability 0.95; its distribution function is 1 - exp(-x / 2)."""

ROUNDING = 1e-9
"""Share of the variances by which a covariance may be off for having been rounded."""

CORNERS = 40
"""Of the polygon that stands for the ellipse."""


def confidence_ellipse(joint: Joint) -> list[tuple[float, float]]:
    """Corners (x, y) of the ellipse, in the units of the two figures.

    They are centre + RADIUS * L [cos t, sin t] with L L^T the covariance (Cholesky), that is, for
    standard deviations s and correlation r: s_x cos t and s_y (r cos t + sqrt(1 - r^2) sin t).
    A figure that does not vary makes a line or a dot of it. Raises DataError for a matrix that
    cannot be a covariance.
    """
    (variance_x, covariance), (mirrored, variance_y) = joint.covariance
    scale = math.sqrt(abs(variance_x * variance_y))
    if (
        min(variance_x, variance_y) < 0
        or abs(covariance) > scale * (1 + ROUNDING)
        or abs(covariance - mirrored) > scale * ROUNDING
    ):
        raise DataError(
            f"the covariance of {joint.x} and {joint.y} is {joint.covariance}; expected a "
            "symmetric matrix that is positive semi-definite"
        )
    correlation = covariance / scale if scale else 0.0
    rest = math.sqrt(max(0.0, 1 - correlation**2))
    corners = []
    for place in range(CORNERS):
        turn = 2 * math.pi * place / CORNERS
        x = math.cos(turn)
        y = correlation * math.cos(turn) + rest * math.sin(turn)
        corners.append(
            (
                joint.center[0] + RADIUS * math.sqrt(variance_x) * x,
                joint.center[1] + RADIUS * math.sqrt(variance_y) * y,
            )
        )
    return corners
