"""Where activations go: a sink is fed inside the hook, at the moment the layer returns.

A sink that keeps values copies them there and then, once; one that reduces (top patches, moments) needs no copy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from netphys.errors import OptionError
from netphys.recording.layers import Layer

if TYPE_CHECKING:
    import torch

__all__ = ["Mergeable", "Sink", "require_sinks", "sink_name"]


@runtime_checkable
class Sink(Protocol):
    """What a recording pass can feed beside the recording itself; several at once, one pass.

    `write` is called inside the hook, once a layer and batch, in order of execution. `activation` is
    (stimulus, unit, ...) on the network's device; it may be overwritten as soon as `write` returns. State saved
    by `state_dict` is stored together with the shard that it belongs to, and given back when a recording resumes.
    A recording resumes only with sinks of the same `plan`; a sink without one is fed, but cannot go on.

    Optional: ``merge(state)`` (:class:`Mergeable`), for stimuli that were shown elsewhere.
    """

    def plan(self) -> Mapping[str, Any]:
        """Say every option that the result depends on, as plain data."""

    def open(self, layers: Sequence[Layer], stimulus_ids: Sequence[str]) -> None:
        """Get ready; called once, before the first batch."""

    def write(self, layer: str, rows: np.ndarray, activation: torch.Tensor) -> None:
        """Take one layer's activation to the stimuli in `rows`."""

    def close(self) -> Any:
        """Finish, and return the result."""

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything that a resumed pass needs, as arrays."""

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from a saved state."""


@runtime_checkable
class Mergeable(Sink, Protocol):
    """A sink that can take in what another one of the same plan, opened for the same set, saw of other stimuli.

    So ranks, or parts of a set, are joined: each saves its `state_dict`, and one of them merges those of the others.
    A merged sink knows no order, so it can be closed, saved and merged again, and fed with stimuli that none has seen.
    """

    def merge(self, state: Mapping[str, np.ndarray]) -> None:
        """Join what another sink's `state_dict` returned."""


def require_sinks(sinks: Any) -> tuple[Sink, ...]:
    """Refuse what is no sequence of sinks, before anything runs.

    Raises
    ------
    OptionError
        Naming what was given instead.
    """
    if not isinstance(sinks, list | tuple):
        raise OptionError(f"sinks={sinks!r:.80}: a list of sinks, say [Moments()]")
    for each in sinks:
        if isinstance(each, type) or not all(hasattr(each, verb) for verb in ("open", "write", "close")):
            name = each.__name__ if isinstance(each, type) else type(each).__name__
            hint = f"; say {name}()" if isinstance(each, type) else ": it has no open, write and close"
            raise OptionError(f"{name} is not a sink{hint}")
    return tuple(sinks)


def sink_name(sink: Sink) -> str:
    """Name the class of a sink."""
    return f"{type(sink).__module__}.{type(sink).__qualname__}"
