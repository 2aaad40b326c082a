"""gram: inner products of the activations of all stimuli in several passes, for layers too wide and sets too large.

Pass p holds one block of stimuli in memory, and all later ones stream by. Blocks are whole batches of the plan, so
that every activation has the bits that :func:`netphys.record` gives it, and results do not hang on `memory`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import OptionError, RecordingError
from netphys.progress import bar
from netphys.recording.passing import Pass
from netphys.recording.sinks.blocks import require_numbers
from netphys.recording.sinks.gram import MEMORY, GramResult, Products, result_of, say_what_is_held

if TYPE_CHECKING:
    import torch

    from netphys.networks import Network
    from netphys.recording.keep import Keep
    from netphys.stimuli import StimulusSet

__all__ = ["gram"]


def gram(
    network: Network | torch.nn.Module | str,
    stimuli: StimulusSet | str | Any,
    *,
    layers: str | Sequence[str],
    keep: Keep | str = "all",
    memory: int = MEMORY,
    batch_size: int = 32,
    device: str = "auto",
    seed: int = 0,
) -> GramResult:
    """Take the inner products of the activations of all stimuli, layer by layer, and store no activations.

    Parameters
    ----------
    network : Network, torch.nn.Module or address
        Any network; it is left as it was found.
    stimuli : StimulusSet, address, or array (stimulus, 3, y, x)
        What is shown.
    layers : str or sequence of str
        Layer patterns, see :mod:`netphys.recording.patterns`.
    keep : str
        What of a map is compared; as of :func:`netphys.record`. Default: all positions.
    memory : int
        Bytes of activations (float32) that are held, on the network's device, for all layers together; the less, the
        more passes. Matrices, 8 n² bytes a layer, come beside them. Default: 2 GiB.
    batch_size, device, seed
        As of :func:`netphys.record`.

    Returns
    -------
    GramResult

    Raises
    ------
    RecordingError
        If `memory` does not hold a batch, a layer cannot be recorded, or an activation is not a finite number.

    Notes
    -----
    Of P passes the p-th leaves out the blocks before it: n (P + 1) / 2 stimuli are shown in all. Precision: see
    :class:`netphys.recording.sinks.Gram`.

    Examples
    --------
    >>> gram("netphys:gabor_energy", "world:scenes?n=6", layers="energy").matrix("energy").shape
    (6, 6)
    """
    run = Pass(network, stimuli, layers, keep=keep, dtype="float32", batch_size=batch_size, device=device, seed=seed)
    n, known = len(run.stimuli), {each.name: each for each in run.layers}
    products = {each.name: Products(n, int(np.prod(run.keep.shape(each)))) for each in run.layers}
    held = _n_held(run, sum(each.n_features for each in products.values()), memory)
    firsts = range(0, n, held)

    def write(layer: str, rows: np.ndarray, activation: torch.Tensor) -> None:
        require_numbers(layer, rows, run.stimuli.ids, activation, infinite=False)
        products[layer].take(rows, run.keep.reduce(activation, known[layer]))

    passes = f"{len(firsts)} pass{'es' * (len(firsts) != 1)}"
    a_stimulus = 4 * sum(each.n_features for each in products.values())
    say_what_is_held(a_stimulus * min(held, n), n, len(products), passes)
    run.require_independent()
    with bar(sum(n - first for first in firsts), label=f"inner products of {run.network.name}, {passes}") as progress:
        for first in firsts:
            for each in products.values():
                each.begin(first, held)
            for rows in run.batches(first, [write]):
                progress.update(len(rows))
    return result_of(products, tuple(run.stimuli.ids), network=run.network.name, made=run.what_made_it())


def _n_held(run: Pass, n_features: int, memory: int) -> int:
    """How many stimuli are held at a time: whole batches."""
    a_batch = 4 * n_features * min(run.batch_size, len(run.stimuli))
    if not isinstance(memory, int | float):
        raise OptionError(f"memory={memory!r}: a number of bytes")
    if memory < a_batch:
        raise RecordingError(
            f"memory={memory} does not hold one batch of {run.batch_size} stimuli, {a_batch} bytes; "
            "give more, a smaller batch_size, or fewer layers"
        )
    return int(memory // (4 * n_features * run.batch_size) or 1) * run.batch_size
