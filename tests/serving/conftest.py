from __future__ import annotations

import torch

from tests.agent.conftest import checkpoint, translate
from tests.backend.compiled import shared_exports

__all__ = ["checkpoint", "shared_exports", "translate"]

# Small tensors: a second thread costs more than it gives, and the tests must not crowd the machine.
torch.set_num_threads(1)
