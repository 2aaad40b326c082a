"""A source whose values are changed after they are read: a sound resampled, a disparity scaled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from netphys.stimuli.sources import Source, conversions_of, gathered, value_digest

__all__ = ["Change", "Changed"]

Change = Callable[
    [int, Any], tuple[Any, tuple[str, ...]]
]  # number in the source, value → value, words for what was done
_AT_ONCE = 64  # stimuli read together where all are read: memory stays flat


class Changed:
    """A source with some of its fields changed.

    Parameters
    ----------
    source : Source
        What is read.
    changes : mapping
        Field → function of a stimulus' number and value, that returns the new value and words for what was done.
    """

    def __init__(self, source: Source, changes: Mapping[str, Change]) -> None:
        self._source, self._changes = source, dict(changes)
        self.fields = source.fields

    def read(self, field: str, indices: np.ndarray) -> Any:
        values = self._source.read(field, indices)
        if field not in self._changes:
            return values
        return gathered([self._changed(field, int(index), value)[0] for index, value in zip(indices, values)])

    def digests(self, indices: np.ndarray) -> list[Any]:
        result: list[Any] = []
        for start in range(0, len(indices), _AT_ONCE):
            part = indices[start : start + _AT_ONCE]
            columns = [[value_digest(each) for each in self.read(field, part)] for field in self.fields]
            result += [dict(zip(self.fields, row)) for row in zip(*columns)]
        return result

    def conversions(self, indices: np.ndarray) -> list[tuple[str, ...]]:
        """Say what was done to the files, and after them."""
        said = [list(words) for words in conversions_of(self._source, indices)]
        for start in range(0, len(indices), _AT_ONCE):
            part = indices[start : start + _AT_ONCE]
            for field in self._changes:
                for place, (index, value) in enumerate(zip(part, self._source.read(field, part)), start):
                    said[place] += self._changed(field, int(index), value)[1]
        return [tuple(dict.fromkeys(words)) for words in said]

    def _changed(self, field: str, index: int, value: Any) -> tuple[Any, tuple[str, ...]]:
        array = value.numpy() if hasattr(value, "numpy") else value
        return self._changes[field](index, array)
