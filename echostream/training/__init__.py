"""Everything needed before a model exists: data recipes, the training task, export."""

from __future__ import annotations
