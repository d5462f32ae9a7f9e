"""Values made from a module's parameters once, for as long as the parameters stay the same.

Rearranged kernels and projected position encodings depend on the parameters alone, but would
otherwise be made again for every chunk. They are no parameters themselves: they are not saved, and
with gradients wanted they are made afresh, so that training goes through them.
"""

import weakref
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

_Seen = tuple[weakref.ref[Tensor], int, int]
"""A parameter, its version and where its numbers are."""

_MOST_KEPT = 4
"""Settings (chunk sizes and the like) that a module keeps values for."""


class PreparedModule(nn.Module):
    """A module that keeps prepared values.

    They are dropped when a parameter they were made from changes in place (an optimiser's update)
    or another tensor stands in its place (``functional_call``, an assignment), and by ``train()``,
    ``eval()``, ``to()`` and ``load_state_dict()``. Numbers written through ``.data`` are the one
    change that goes unseen; call ``eval()`` after it.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._kept: dict[Hashable, tuple[tuple[_Seen, ...], Tensor]] = {}

    def prepared(
        self, settings: Hashable, sources: tuple[Tensor, ...], make: Callable[[], Tensor]
    ) -> Tensor:
        """``make()``, or what it gave before for the same settings and parameters.

        Args:
            settings: all that ``make`` depends on besides ``sources``.
            sources: the parameters that ``make`` reads.
            make: computes the value; it must not keep or change ``sources``.
        """
        if torch.is_grad_enabled() and any(source.requires_grad for source in sources):
            return make()
        kept = self._kept.get(settings)
        if kept is not None:
            # Nearly all calls end here, hundreds of them for each chunk.
            for source, (known, version, place) in zip(sources, kept[0], strict=True):
                if (
                    known() is not source
                    or source.is_inference()
                    or source._version != version
                    or source.data_ptr() != place
                ):
                    break
            else:
                return kept[1]
        if any(source.is_inference() for source in sources):  # These count no versions.
            return make()
        seen = tuple((weakref.ref(each), each._version, each.data_ptr()) for each in sources)
        # Made outside of inference mode, so that training may use it later.
        with torch.inference_mode(False), torch.no_grad():
            value = make()
        # Another thread may drop the same ones.
        for oldest in list(self._kept)[: len(self._kept) + 1 - _MOST_KEPT]:
            self._kept.pop(oldest, None)
        self._kept[settings] = (seen, value)
        return value

    def __getstate__(self) -> dict[str, Any]:
        # A copy makes its own: some of the values cannot be copied.
        return self.__dict__ | {"_kept": {}}

    def train(self, mode: bool = True) -> Self:
        """See :class:`torch.nn.Module`."""
        self._kept.clear()
        return super().train(mode)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self._kept.clear()
        return super()._apply(fn, recurse)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], *args: Any) -> None:
        self._kept.clear()
        super()._load_from_state_dict(state_dict, *args)
