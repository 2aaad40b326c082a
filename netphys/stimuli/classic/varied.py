"""Variants of given stimuli: one or several made of each, on the fly, each from a seed of its own.

What is made of a stimulus hangs on the stimulus, its id, the number of the copy and the seed: it is the same alone, in
any batch, and in any set that holds the stimulus.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from netphys.errors import StimulusError
from netphys.provenance import code_digest, digest
from netphys.seeds import generator
from netphys.stimuli.classic.limits import seed_of, whole
from netphys.stimuli.classic.releases import releases
from netphys.stimuli.classic.screen import Screen
from netphys.stimuli.sources import clipped_of, gathered, targets_of
from netphys.stimuli.stimulus_set import StimulusSet

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Stimuli", "Varied", "as_float", "as_set", "variant_generator", "varied_set"]

_MOST = 10_000_000  # stimuli of a set

Stimuli = StimulusSet | str | Path | np.ndarray | Tensor  # a set, an address, or images (stimulus, 3, y, x)
Made = Mapping[str, Any]  # field → value, of one stimulus
Maker = Callable[[int, int, np.random.Generator], Made]


def as_float(image: Tensor) -> Tensor:
    """Return an image, or images, as float32 in [0, 1]."""
    return image.to(torch.float32) / 255 if image.dtype == torch.uint8 else image.to(torch.float32)


def as_set(stimuli: Stimuli) -> StimulusSet:
    """Accept what :func:`netphys.stimuli.as_stimuli` does; imported when it is called, since addresses lead here."""
    from netphys.stimuli.loading import as_stimuli

    return as_stimuli(stimuli)


class Varied:
    """A source of variants.

    Parameters
    ----------
    stimuli : StimulusSet
        The originals.
    rows : sequence of int
        For each variant, the position of its original.
    copies : sequence of int
        For each variant, which one of its original it is.
    make : callable
        Position of the original, number of the copy, generator → field → value.
    fields : sequence of str
        What `make` returns.
    recipe : mapping
        The variant's name (``"made"``), all its options and its seed.
    code : sequence of str
        Files of this folder that make it.
    pool : StimulusSet, optional
        Other stimuli that it is made of.
    """

    def __init__(
        self,
        stimuli: StimulusSet,
        rows: Sequence[int],
        copies: Sequence[int],
        make: Maker,
        *,
        fields: Sequence[str],
        recipe: Mapping[str, Any],
        code: Sequence[str],
        pool: StimulusSet | None = None,
    ) -> None:
        self.fields = tuple(fields)
        self._stimuli, self._make, self._pool = stimuli, make, pool
        self._rows, self._copies = list(rows), list(copies)
        self._seed, self._made = seed_of(recipe["seed"]), str(recipe["made"])
        written = sorted(f"stimuli/classic/{file}" for file in ("varied", *code))
        self._recipe = digest({**recipe, "code": code_digest(*written), "generator": releases("numpy")})

    def read(self, field: str, indices: np.ndarray) -> Any:
        return gathered([self._one(int(index))[field] for index in indices])

    def digests(self, indices: np.ndarray) -> list[Any]:
        originals = {row: self._stimuli[row].digest for row in {self._rows[int(index)] for index in indices}}
        shared = [self._recipe] if self._pool is None else [self._recipe, self._pool.digest]
        return [[*shared, originals[self._rows[int(each)]], self._copies[int(each)]] for each in indices]

    def conversions(self, indices: np.ndarray) -> list[tuple[str, ...]]:
        return [tuple(self._stimuli[self._rows[int(index)]].conversions) for index in indices]

    @property
    def targets(self) -> dict[str, Any]:
        return targets_of(self._stimuli._source, *([] if self._pool is None else [self._pool._source]))

    def clipped(self, indices: np.ndarray, field: str) -> np.ndarray | None:
        """Say what share of the originals' values a treatment clipped before they were varied."""
        originals = np.array([self._stimuli._rows[self._rows[int(index)]] for index in indices], dtype=np.int64)
        return clipped_of(self._stimuli._source, originals, field) if field == "image" else None

    def _one(self, index: int) -> Made:
        row, copy = self._rows[index], self._copies[index]
        return self._make(row, copy, variant_generator(self._seed, self._made, self._stimuli.ids[row], copy))


def variant_generator(seed: int, made: str, stimulus_id: str, copy: int) -> np.random.Generator:
    """The generator that a copy of a variant of a stimulus is made with."""
    return generator(seed, made, stimulus_id, copy)


def varied_set(
    stimuli: StimulusSet,
    make: Maker,
    *,
    n: int,
    recipe: Mapping[str, Any],
    columns: Mapping[str, Any],
    fields: Sequence[str] = ("image",),
    code: Sequence[str],
    pool: StimulusSet | None = None,
    screen: Screen | None = None,
) -> StimulusSet:
    """Make a set of `n` variants of each stimulus, those of one stimulus one after another.

    Parameters
    ----------
    stimuli, make, recipe, fields, code, pool
        See :class:`Varied`.
    n : int
        Variants of each.
    columns : mapping
        Columns of the metadata beside the original's: a value, or one value a variant. ``source_id`` and ``copy`` are
        there besides.

    screen : Screen, optional
        That images are drawn on anew: columns ``size``, ``degrees`` and ``unit`` are its own, and what originals have
        under these names becomes ``original_size``, ... Default: images keep the extent of the original.

    Returns
    -------
    StimulusSet
        Treatment, what was left out and the address are those of the originals; the address says that it is a variant.

    Raises
    ------
    OptionError
        If n is not a whole number above 0, or the seed none at all.
    StimulusError
        If the stimuli have no images.
    """
    n = whole("n", n, 1, _MOST // len(stimuli))
    if "image" not in stimuli.fields:
        raise StimulusError(f"{stimuli.name} has no images to vary, only {', '.join(stimuli.fields)}")
    rows, copies = np.repeat(np.arange(len(stimuli)), n), np.tile(np.arange(n), len(stimuli))
    table = stimuli.metadata.iloc[rows].reset_index(drop=True).drop(columns="file", errors="ignore")
    if screen is not None:
        table = _on(screen, table)
    table["source_id"] = table["stimulus_id"].astype(str)
    table["stimulus_id"] = [f"{name}~{recipe['made']}-{copy}" for name, copy in zip(table["source_id"], copies)]
    table["variant"], table["copy"] = recipe["made"], copies
    for column, value in columns.items():
        table[column] = value
    source = Varied(stimuli, rows.tolist(), copies.tolist(), make, fields=fields, recipe=recipe, code=code, pool=pool)
    return StimulusSet(
        source,
        table,
        name=f"{stimuli.name} {recipe['made']}",
        left_out=stimuli.left_out,
        treatment=stimuli.treatment,
        address=f"{stimuli.address} (variant {recipe['made']})" if stimuli.address else "",
    )


def _on(screen: Screen, table: pd.DataFrame) -> pd.DataFrame:
    """Say what screen images are drawn on; what their originals have in these columns is kept as the originals'."""
    shown: dict[str, Any] = {
        "size": screen.size,
        "degrees": np.nan if screen.degrees is None else screen.degrees,
        "unit": screen.unit,
    }
    kept = {each: f"original_{each}" for each in shown if each in table}
    return table.drop(columns=list(kept.values()), errors="ignore").rename(columns=kept).assign(**shown)
