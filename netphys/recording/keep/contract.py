"""What is kept of an activation: the contract of all ways, and the text that names one.

``"mean"``, ``"window?size=3"``, ``"projection?k=1000"``: a name, and options in the query grammar of all addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from netphys.addresses import Query, split_address
from netphys.errors import OptionError, near
from netphys.recording.layers import Layer

if TYPE_CHECKING:
    import torch

__all__ = ["KEEPS", "Fitted", "Keep", "Measuring", "as_keep"]


@runtime_checkable
class Keep(Protocol):
    """One way to keep less than everything; without state but for what it measures on its way.

    `address` is the text that makes it again, with every option that its numbers depend on.
    """

    @property
    def address(self) -> str:
        """The text that :func:`as_keep` takes; part of a recording's digest."""

    def plan(self) -> Mapping[str, Any]:
        """Say what the numbers depend on beside the address (digests of files), as plain data."""

    def dims(self, layer: Layer) -> tuple[str, ...]:
        """Names of the axes that are kept, behind ``stimulus``."""

    def shape(self, layer: Layer) -> tuple[int, ...]:
        """Shape that is kept of one stimulus; a RecordingError where it means nothing for the layer."""

    def reduce(self, activation: torch.Tensor, layer: Layer) -> torch.Tensor:
        """Reduce (stimulus, unit, ...) to (stimulus, *shape); inside the hook, on the network's device."""

    def measured(self, layer: Layer) -> Mapping[str, Any]:
        """Say what was found out on the way (the error of a projection), as plain data; stored with the layer."""

    def state_dict(self) -> Mapping[str, Any]:
        """What :meth:`measured` needs to go on after a stop, as arrays."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state; an empty one begins anew."""


@runtime_checkable
class Fitted(Protocol):
    """A way to keep that was fitted on a recording: asked before a pass begins whether the two go together."""

    def check(self, *, network: str, stimuli: str, stimulus_ids: Sequence[str], gradient_of: str | None = None) -> None:
        """See that the fit is of this network and of other stimuli (digests, and ids); a RecordingError if not."""


@runtime_checkable
class Measuring(Protocol):
    """A way to keep that measures: told before each batch which it is, so that processes that share them agree."""

    def at(self, first: int) -> None:
        """Say which row of the recording the next batch begins with."""

    def merge(self, state: Mapping[str, Any]) -> None:
        """Join what another process' `state_dict` returned."""


def as_keep(keep: Keep | str) -> Keep:
    """Make what a text names; a Keep is returned as it is.

    Raises
    ------
    OptionError
        If there is no such way, or an option means nothing to it.

    Examples
    --------
    >>> as_keep("mean").address
    'mean'
    """
    if not isinstance(keep, str):
        return keep
    name, query = split_address(keep)
    if name not in _MAKERS:
        raise OptionError(f"keep={keep!r} is not known{near(name, KEEPS, n=len(KEEPS))}")
    made = _MAKERS[name](name, query)
    query.finish()
    return made


def _of_maps(name: str, _: Query) -> Keep:
    from netphys.recording.keep.maps import OfMaps

    return OfMaps(name)


def _window(_: str, query: Query) -> Keep:
    from netphys.recording.keep.window import Window

    return Window.from_query(query)


def _projection(_: str, query: Query) -> Keep:
    from netphys.recording.keep.projection import Projection

    return Projection.from_query(query)


def _pca(_: str, query: Query) -> Keep:
    from netphys.recording.keep.pca import PCA

    return PCA.from_query(query)


def _cls(_: str, __: Query) -> Keep:
    from netphys.recording.keep.tokens import Cls

    return Cls()


def _patches(_: str, __: Query) -> Keep:
    from netphys.recording.keep.tokens import Patches

    return Patches()


_MAKERS: dict[str, Callable[[str, Query], Keep]] = {
    **dict.fromkeys(("all", "mean", "max", "centre", "pooled"), _of_maps),
    "cls": _cls,
    "patches": _patches,
    "window": _window,
    "projection": _projection,
    "pca": _pca,
}
KEEPS = tuple(_MAKERS)
