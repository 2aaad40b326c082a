"""Any function as a sink: called with what a layer returned, batch after batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.recording.layers import Layer

if TYPE_CHECKING:
    import torch

__all__ = ["Callback"]


class Callback:
    """Call a function with every activation of a recording pass: a sink of :func:`netphys.record`.

    Parameters
    ----------
    function : callable (layer, rows, activation)
        `layer` is its name, `rows` (an array of int) are the places of the stimuli in the set, `activation` is the
        tensor (stimulus, unit, ...) on the network's device. It may be overwritten as soon as the function returns:
        clone what is to stay, and change nothing in it. What the function returns is not looked at.
    plan : mapping, optional
        Every option that the function depends on, as plain data. With one a pass may go on after a stop, and then
        calls the function with what is still missing alone; so give it only to a function that needs to remember
        nothing, or keeps what it knows safe itself. Default: none, and a stopped pass is refused.

    Notes
    -----
    After a kill some batches can be seen twice: those since the last state that was saved. `close` returns None.

    Examples
    --------
    >>> import netphys
    >>> means = {}
    >>> sink = Callback(lambda layer, rows, activation: means.update({layer: activation.mean().item()}))
    >>> _ = netphys.record("netphys:gabor_energy", "world:scenes?n=5", layers="energy", keep="mean", sinks=[sink])
    >>> list(means)
    ['energy']
    """

    plan: Callable[[], Mapping[str, Any]]  # only where one is given: a sink without a plan cannot go on

    def __init__(
        self, function: Callable[[str, np.ndarray, torch.Tensor], object], *, plan: Mapping[str, Any] | None = None
    ) -> None:
        self._function = function
        if plan is not None:
            options = dict(plan)
            self.plan = lambda: options

    def open(self, layers: Sequence[Layer], stimulus_ids: Sequence[str]) -> None:
        """Do nothing."""

    def write(self, layer: str, rows: np.ndarray, activation: torch.Tensor) -> None:
        """Call the function."""
        self._function(layer, rows, activation)

    def close(self) -> None:
        """Do nothing."""

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return nothing: what the function remembers is its own."""
        return {}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Do nothing."""
