"""Where stimuli come from: the contract of a source, arrays in memory, what is computed, and sources put together.

A source knows its stimuli by number, 0, 1, ...; a :class:`~netphys.stimuli.StimulusSet` selects among them. Sources
that read files are in :mod:`netphys.stimuli.readers`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from netphys.errors import StimulusError
from netphys.provenance import array_digest, digest

if TYPE_CHECKING:
    import torch

__all__ = [
    "Arrays", "Chain", "Generated", "Side", "Source", "clipped_of", "conversions_of", "gathered", "targets_of",
    "value_digest",
]  # fmt: skip


class Source(Protocol):
    """Where stimuli come from.

    A source that changes files into pixels also has ``conversions(indices)``, a tuple of words a stimulus that say what
    was done (``"grey repeated"``); a source without it did nothing. One that treats pictures has ``targets``, what it
    measured, and ``clipped(indices, field)``; a source of other sources hands these on.
    """

    @property
    def fields(self) -> tuple[str, ...]:
        """What a stimulus has: ``image``, ``clip``, ``sound``, ``text``, and fields of the user's names."""

    def read(self, field: str, indices: np.ndarray) -> Any:
        """Read a field of some stimuli: a tensor or array (stimulus, ...), or a list where sizes differ."""

    def digests(self, indices: np.ndarray) -> list[Any]:
        """Digest what is shown, a value a stimulus: of pixels, or of the recipe of a generated one."""


def gathered(values: Sequence[Any]) -> Any:
    """Stack what is of one shape (tensor), else a list of tensors; texts and other objects stay a list."""
    import torch

    tensors = [torch.as_tensor(each) if isinstance(each, np.ndarray | np.generic) else each for each in values]
    if not all(isinstance(each, torch.Tensor) for each in tensors):
        return tensors
    if len({(each.shape, each.dtype) for each in tensors}) == 1:
        return torch.stack(tensors)
    return [each.clone() for each in tensors]  # what is done to them must not reach what a source keeps


def value_digest(value: Any) -> str:
    """Digest what one stimulus holds: an array or tensor by dtype, shape and values, a text by its characters."""
    if isinstance(value, str):
        return digest(value)
    return array_digest(value if isinstance(value, np.ndarray) else value.detach().cpu().numpy())


def conversions_of(source: Source, indices: np.ndarray) -> list[tuple[str, ...]]:
    """Say what a source did to the files of some stimuli, words for each."""
    said = getattr(source, "conversions", None)
    return [()] * len(indices) if said is None else said(indices)


def clipped_of(source: Source, indices: np.ndarray, field: str) -> np.ndarray | None:
    """Say what share of some stimuli's values a treatment clipped, nan where they were not read; None: no treatment."""
    said = getattr(source, "clipped", None)
    return None if said is None or field not in source.fields else said(indices, field)


def targets_of(*sources: Source) -> dict[str, Any]:
    """Gather what treatments measured."""
    return {text: target for each in sources for text, target in (getattr(each, "targets", None) or {}).items()}


class Arrays:
    """Stimuli in memory.

    Parameters
    ----------
    images : array or tensor (stimulus, 3, y, x), or a sequence of (3, y, x) of several sizes
        uint8, or float in [0, 1].
    fields : mapping, optional
        More of each stimulus: arrays (stimulus, ...) or sequences of one value a stimulus.

    Raises
    ------
    StimulusError
        If shape, dtype, range or number are not those of stimuli.
    """

    def __init__(self, images: Any, fields: Mapping[str, Any] | None = None) -> None:
        self._values: dict[str, Any] = {} if images is None else {"image": _checked_images(images)}
        for name, values in (fields or {}).items():
            self._values[str(name)] = _owned(str(name), values)
        if not self._values:
            raise StimulusError("a stimulus has an image or another field; none was given")
        counts = {name: len(values) for name, values in self._values.items()}
        if len(set(counts.values())) > 1:
            raise StimulusError(f"fields of different numbers of stimuli: {_counted(counts)}")
        self.fields = tuple(self._values)

    def __len__(self) -> int:
        return len(self._values[self.fields[0]])

    def read(self, field: str, indices: np.ndarray) -> Any:
        values = self._values[field]
        return gathered([values[index] for index in indices]) if isinstance(values, list) else values[indices]

    def digests(self, indices: np.ndarray) -> list[Any]:
        if self.fields == ("image",):
            return [value_digest(self._values["image"][index]) for index in indices]
        return [{name: value_digest(self._values[name][index]) for name in self.fields} for index in indices]


class Generated:
    """Stimuli that are computed: the recipe stands for the pixels in the digest.

    Parameters
    ----------
    readers : dict
        A function a field: indices in the generator → tensor or array.
    recipe : dict
        All that the pixels of a stimulus depend on but its index, the generator's version included.
    first : int
        Index, in the generator, of the first stimulus.
    """

    def __init__(
        self, readers: dict[str, Callable[[np.ndarray], Any]], recipe: dict[str, Any], *, first: int = 0
    ) -> None:
        self._readers = readers
        self._first = first
        self._recipe = digest(recipe)
        self.fields = tuple(readers)

    def read(self, field: str, indices: np.ndarray) -> Any:
        return self._readers[field](indices + self._first)

    def digests(self, indices: np.ndarray) -> list[Any]:
        return [[self._recipe, int(index) + self._first] for index in indices]


class Chain:
    """Sets one after another: only fields that all of them have.

    Parameters
    ----------
    parts : sequence of (Source, rows)
        Sources, and which of their stimuli.

    Raises
    ------
    StimulusError
        If no field is common to all.
    """

    def __init__(self, parts: Sequence[tuple[Source, np.ndarray]]) -> None:
        self._sources = [source for source, _ in parts]
        self._part = np.concatenate([np.full(len(rows), index) for index, (_, rows) in enumerate(parts)])
        self._row = np.concatenate([np.asarray(rows, dtype=np.int64) for _, rows in parts])
        common = [field for field in self._sources[0].fields if all(field in each.fields for each in self._sources)]
        if not common:
            listed = " and ".join(", ".join(each.fields) for each in self._sources)
            raise StimulusError(f"sets without a common field cannot be put together: {listed}")
        self.fields = tuple(common)
        self._mixed: dict[str, bool] = {}

    def read(self, field: str, indices: np.ndarray) -> Any:
        values = self._each(indices, lambda source, rows: list(source.read(field, rows)))
        return gathered([_as_float(each) for each in values] if self._is_mixed(field) else values)

    def _is_mixed(self, field: str) -> bool:
        """Tell whether photographs (uint8) and generated pictures (float32) are together: all are float32 then."""
        if field not in self._mixed:
            parts = np.unique(self._part, return_index=True)[1]
            firsts = self._each(parts, lambda source, rows: list(source.read(field, rows)))
            kinds = {str(each.dtype) for each in firsts if getattr(each, "ndim", 0) >= 3}
            self._mixed[field] = kinds == {"torch.uint8", "torch.float32"}
        return self._mixed[field]

    def digests(self, indices: np.ndarray) -> list[Any]:
        return self._each(indices, lambda source, rows: source.digests(rows))

    def conversions(self, indices: np.ndarray) -> list[tuple[str, ...]]:
        return self._each(indices, conversions_of)

    @property
    def targets(self) -> dict[str, Any]:
        return targets_of(*self._sources)

    def clipped(self, indices: np.ndarray, field: str) -> np.ndarray | None:
        def shares(source: Source, rows: np.ndarray) -> Sequence[float | None]:
            said = clipped_of(source, rows, field)
            return [None] * len(rows) if said is None else said.tolist()

        answers = self._each(indices, shares)
        return None if all(each is None for each in answers) else np.array(answers, dtype=np.float64)

    def _each(self, indices: np.ndarray, ask: Callable[[Source, np.ndarray], Sequence[Any]]) -> list[Any]:
        """Ask each source once for its stimuli, and put the answers into the order asked for."""
        answers: list[Any] = [None] * len(indices)
        for part in np.unique(self._part[indices]):
            places = np.flatnonzero(self._part[indices] == part)
            for place, answer in zip(places, ask(self._sources[part], self._row[indices[places]]), strict=True):
                answers[place] = answer
        return answers


class Side:
    """Fields of several sources side by side, of the same stimuli.

    Parameters
    ----------
    parts : sequence of (Source, rows, fields)
        For each source: its stimulus for each of ours, and which of its fields are taken.
    """

    def __init__(self, parts: Sequence[tuple[Source, np.ndarray, Sequence[str]]]) -> None:
        self._parts = [(source, np.asarray(rows, dtype=np.int64)) for source, rows, _ in parts]
        self._of = {field: index for index, (_, _, fields) in enumerate(parts) for field in fields}
        self.fields = tuple(self._of)

    def read(self, field: str, indices: np.ndarray) -> Any:
        source, rows = self._parts[self._of[field]]
        return source.read(field, rows[indices])

    def digests(self, indices: np.ndarray) -> list[Any]:
        return [list(each) for each in zip(*(source.digests(rows[indices]) for source, rows in self._parts))]

    @property
    def targets(self) -> dict[str, Any]:
        return targets_of(*(source for source, _ in self._parts))

    def clipped(self, indices: np.ndarray, field: str) -> np.ndarray | None:
        source, rows = self._parts[self._of[field]]
        return clipped_of(source, rows[indices], field)

    def conversions(self, indices: np.ndarray) -> list[tuple[str, ...]]:
        said = [conversions_of(source, rows[indices]) for source, rows in self._parts]
        return [tuple(dict.fromkeys(word for part in each for word in part)) for each in zip(*said)]


def _as_float(value: Any) -> Any:
    """Turn pixels of a photograph into those of a generated picture, in [0, 1]."""
    import torch

    return value.to(torch.float32) / 255 if value.dtype == torch.uint8 else value


def _checked_images(images: Any) -> torch.Tensor | list[torch.Tensor]:
    """Return images as tensors of our own, or say what is wrong with them."""
    import torch

    if isinstance(images, list | tuple) and len({tuple(np.shape(each)) for each in images}) > 1:
        return [_checked_images(torch.as_tensor(each)[None])[0] for each in images]
    if isinstance(images, list | tuple):
        images = np.stack([np.asarray(each) for each in images])
    tensor = torch.as_tensor(_native(images) if isinstance(images, np.ndarray) else images)
    if tensor.ndim != 4 or tensor.shape[1] != 3:
        hint = "; bring the colours to the front: images.transpose(0, 3, 1, 2)" * (tuple(tensor.shape[3:]) == (3,))
        raise StimulusError(f"images are (stimulus, 3, y, x); these are {tuple(tensor.shape)}{hint}")
    if tensor.dtype != torch.uint8:
        if not tensor.is_floating_point():
            raise StimulusError(f"images are uint8, or float in [0, 1]; these are {tensor.dtype}")
        tensor = tensor.to(torch.float32)
        if tensor.numel() and not (tensor.min() >= 0 and tensor.max() <= 1):
            low, high = float(tensor.min()), float(tensor.max())
            raise StimulusError(f"float images are in [0, 1]; these are in [{low:.3g}, {high:.3g}]")
    return tensor.detach().cpu().clone()  # what the caller does to his array later changes no digest


def _native(array: np.ndarray) -> np.ndarray:
    """Return an array as torch takes it: of this machine's byte order, no strides backwards."""
    return array.astype(array.dtype.newbyteorder("="), order="C")


def _owned(name: str, values: Any) -> Any:
    """Copy a field's values: a tensor, or a list of one value a stimulus."""
    import torch

    if name in ("left", "right"):
        return _checked_images(values)
    if isinstance(values, torch.Tensor):
        return values.detach().cpu().clone()
    if isinstance(values, np.ndarray) and values.dtype.kind in "biuf":
        return torch.as_tensor(_native(values)).clone()
    return [_owned_value(name, each) for each in values]


def _owned_value(name: str, value: Any) -> Any:
    """Copy the value of one stimulus: a text, or numbers."""
    import torch

    if isinstance(value, str):
        return value
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, np.ndarray | np.generic | int | float) and np.asarray(value).dtype.kind in "biuf":
        return torch.as_tensor(_native(np.asarray(value))).clone()
    raise StimulusError(f"field {name!r} holds {type(value).__name__}; a field is of arrays, numbers or texts")


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())
