"""Which stimuli are kept for the test: the same for every layer and network, each class in both parts, groups whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netphys.errors import OptionError
from netphys.seeds import generator

__all__ = ["hold_out"]


def hold_out(
    ids: Sequence[str],
    labels: Sequence[str],
    fraction: float,
    *,
    groups: Sequence[str] | None = None,
    seed: int = 0,
    name: str = "test",
) -> np.ndarray:
    """Choose the stimuli of the held part.

    Parameters
    ----------
    ids, labels : sequence of str
        Id and class of each stimulus. The choice hangs on ids, not on their order.
    fraction : float
        The share of each class that is held, in (0, 1); at least one stimulus of each class is, and one is not.
    groups : sequence of str, optional
        What each stimulus is of (a scene, an object). A group is held whole or not at all: groups are drawn in random
        order and held where that brings the held number of each class nearer to its share.
    seed : int
        Of the draw.
    name : str
        Which part this is; each has a generator of its own.

    Returns
    -------
    bool array (stimulus,)

    Raises
    ------
    OptionError
        If the fraction is none, a class has one stimulus only, or groups leave a class out of one part.

    Examples
    --------
    >>> held = hold_out(list("abcdefgh"), ["x", "y"] * 4, 0.25)
    >>> int(held.sum()), int(held[::2].sum())
    (2, 1)
    """
    if not 0 < fraction < 1:
        raise OptionError(f"the part that is kept for the {name} is a share between 0 and 1, not {fraction}")
    kinds, codes = np.unique(np.array(labels, dtype=str), return_inverse=True)
    counts = np.bincount(codes)
    single = np.flatnonzero(counts < 2)
    if len(single):
        raise OptionError(
            f"class {str(kinds[single[0]])!r} has one stimulus; training and {name} need one each, at least"
        )
    order = np.argsort(np.array(ids, dtype=str), kind="stable")
    draw = generator(seed, "hold_out", name)
    if groups is None:
        held = np.zeros(len(codes), dtype=bool)
        wanted = np.clip(np.round(fraction * counts).astype(int), 1, counts - 1)
        for code, n in enumerate(wanted):
            rows = order[codes[order] == code]
            held[draw.permutation(rows)[:n]] = True
        return held
    held = _whole_groups(np.array(groups, dtype=str), codes, fraction * counts, draw)
    parts = np.bincount(codes[held], minlength=len(kinds)), np.bincount(codes[~held], minlength=len(kinds))
    for part, which in zip(parts, (name, "training")):
        if (part == 0).any():
            absent = str(kinds[int(np.argmin(part))])
            raise OptionError(f"no stimulus of class {absent!r} is left for {which} when groups stay whole")
    return held


def _whole_groups(groups: np.ndarray, codes: np.ndarray, wanted: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Hold groups, in random order, as long as that brings the held counts nearer to what is wanted."""
    names, members = np.unique(groups, return_inverse=True)
    table = np.zeros((len(names), len(wanted)))
    np.add.at(table, (members, codes), 1)
    held, counts = np.zeros(len(names), dtype=bool), np.zeros(len(wanted))
    for group in draw.permutation(len(names)):
        if ((counts + table[group] - wanted) ** 2).sum() < ((counts - wanted) ** 2).sum():
            held[group], counts = True, counts + table[group]
    return held[members]
