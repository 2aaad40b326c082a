"""Some stimuli and some units of a layer, read in blocks that hold about what was asked for and little more.

A file is read by whole chunks whatever is wanted of them, so wanted rows (or units) that lie within a chunk of each
other are read in one piece and chosen in memory; chunks that hold nothing wanted are not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["read_blocks"]

_PIECE_BYTES = 16 << 20  # read at a time where not all that is read is wanted; large enough for HDF5's full speed


def read_blocks(data: Any, rows: np.ndarray | None, units: np.ndarray | None, max_bytes: int) -> Iterator[np.ndarray]:
    """Go through (stimulus, unit, ...) in blocks of units.

    Parameters
    ----------
    data : h5py.Dataset or array (stimulus, unit, ...)
        What is read.
    rows, units : int array, optional
        Which, in which order. Default: all.
    max_bytes : int
        About how much a block takes; at least one unit, and of all units one column of chunks.

    Yields
    ------
    array (stimulus, some units, ...)
    """
    chunk_rows, chunk_units = _chunks(data)
    in_memory = isinstance(data, np.ndarray)
    lines = _pieces(np.arange(data.shape[0]) if rows is None else rows, chunk_rows)
    held = sum(len(each.places) for each in lines)
    if not in_memory:  # what is read is held, too
        held = max(held, *(each.high - each.low for each in lines))
    a_unit = max(1, held * int(np.prod(data.shape[2:])) * data.dtype.itemsize)
    n_units = data.shape[1] if units is None else len(units)
    step = max(1, max_bytes // a_unit)
    if units is None and step < n_units and not in_memory:
        step = max(chunk_units, step // chunk_units * chunk_units)
    for first in range(0, max(n_units, 1), step):
        last = min(first + step, n_units)
        columns = _pieces(np.arange(first, last) if units is None else units[first:last], chunk_units)
        yield _gathered(data, lines, columns)


def _chunks(data: Any) -> tuple[int, int]:
    """How many stimuli and units are read together at least; of an array nothing is read before it is chosen."""
    if isinstance(data, np.ndarray):
        rows, units = data.shape[:2]
    else:
        rows, units = (data.chunks or (1, 1))[:2]
    return max(int(rows), 1), max(int(units), 1)


@dataclass(frozen=True)
class _Piece:
    """A run along one axis that is read at once."""

    low: int
    high: int
    offsets: np.ndarray  # of what is wanted in it, ascending
    places: np.ndarray  # of the same in the block

    @property
    def is_whole(self) -> bool:
        """Whether all of it is wanted, in its order."""
        n = self.high - self.low
        return (
            n == len(self.offsets) and np.array_equal(self.places, np.arange(n)) and len(np.unique(self.offsets)) == n
        )

    def cut(self, longest: int) -> Iterator[_Piece]:
        """Cut it to runs of some length."""
        for low in range(self.low, self.high, longest):
            start, stop = np.searchsorted(self.offsets, (low - self.low, low - self.low + longest))
            if stop > start:
                offsets = self.offsets[start:stop] + self.low
                yield _Piece(int(offsets[0]), int(offsets[-1]) + 1, offsets - offsets[0], self.places[start:stop])


def _pieces(wanted: np.ndarray, chunk: int) -> list[_Piece]:
    """Find runs: what is wanted within a chunk of each other, by single chunks where most of a run is not wanted."""
    order = np.argsort(wanted, kind="stable")
    values = np.asarray(wanted, dtype=np.int64)[order]
    found: list[_Piece] = []
    edges = [0, *(np.flatnonzero(np.diff(values) > chunk) + 1).tolist(), len(values)]
    for start, stop in zip(edges[:-1], edges[1:]):
        if start == stop:
            return [_Piece(0, 0, values, order)]  # nothing is wanted
        run = values[start:stop]
        piece = _Piece(int(run[0]), int(run[-1]) + 1, run - run[0], order[start:stop])
        found += piece.cut(chunk) if piece.high - piece.low > 2 * len(run) else [piece]
    return found


def _gathered(data: Any, lines: list[_Piece], columns: list[_Piece]) -> np.ndarray:
    """Read the pieces of some stimuli and some units, and put each where it was asked for."""
    if len(lines) == len(columns) == 1 and lines[0].is_whole and columns[0].is_whole:
        return np.asarray(data[lines[0].low : lines[0].high, columns[0].low : columns[0].high])
    n_rows, n_units = (sum(len(each.places) for each in pieces) for pieces in (lines, columns))
    block = np.empty((n_rows, n_units, *data.shape[2:]), data.dtype)
    a_map = int(np.prod(data.shape[2:])) * data.dtype.itemsize
    for column in columns:
        a_line = max(1, (column.high - column.low) * a_map)
        longest = max(_chunks(data)[0], _PIECE_BYTES // a_line)
        for line in (each for whole in lines for each in whole.cut(longest)):
            part = np.asarray(data[line.low : line.high, column.low : column.high])
            block[np.ix_(line.places, column.places)] = part[np.ix_(line.offsets, column.offsets)]
    return block
