"""How the state machines of the tests are run."""

from typing import Any

import torch
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

STEPS_OF_A_RUN = 50


def run(machine: type[Any], steps: int, *, derandomize: bool) -> None:
    """Run until at least so many steps were done."""
    # A second thread costs more than it gives, and far more on a busy machine.
    torch.set_num_threads(1)
    machine.steps = 0
    wanted = settings(
        # Hypothesis cuts some runs short.
        max_examples=-(-steps * 5 // (STEPS_OF_A_RUN * 4)) + 2,
        stateful_step_count=STEPS_OF_A_RUN,
        deadline=None,
        derandomize=derandomize,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=wanted)
    assert machine.steps >= steps, f"{machine.steps} steps were done, expected {steps}"
