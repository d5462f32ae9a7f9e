from __future__ import annotations

from .compiled import shared_exports

__all__ = ["shared_exports"]
