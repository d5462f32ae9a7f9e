"""Small n-gram models of each order."""

from echostream.training.language_model import estimate

UNITS = 6
MODELS = [
    estimate(
        [[(i * i + j * seed) % UNITS for j in range(i % 7)] for i in range(30)],
        order=order,
        vocab_size=UNITS,
    )
    for order, seed in ((1, 1), (2, 3), (4, 5))
]
