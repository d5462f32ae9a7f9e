"""For all tests."""

from __future__ import annotations

import torch

# Small tensors: a second thread costs more than it gives, and the tests must not crowd the machine.
# Agents and training set their own number, by their options.
torch.set_num_threads(1)
