"""StimulusSet: stimuli with ids, metadata and a digest of their contents; read when asked for.

A set is a selection from a *source* (a folder, arrays, the generated world), so that a subset copies nothing.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from netphys.errors import StimulusError, near
from netphys.matching import require_unique
from netphys.provenance import array_digest, digest
from netphys.stimuli.folder import read_folder

if TYPE_CHECKING:
    import pandas as pd
    import torch

__all__ = ["Source", "StimulusSet"]


class Source(Protocol):
    """Where stimuli come from."""

    @property
    def fields(self) -> tuple[str, ...]:
        """What a stimulus has."""

    def read(self, field: str, indices: np.ndarray) -> Any:
        """Read a field of some stimuli: a tensor or array (stimulus, ...), or a list where sizes differ."""

    def digests(self, indices: np.ndarray) -> list[Any]:
        """Digest what is shown, a value a stimulus: of pixels, or of the recipe of a generated one."""


class StimulusSet:
    """Stimuli in a fixed order, each with a ``stimulus_id``.

    Parameters
    ----------
    source : Source
        Where the stimuli come from. Users call the readers: :meth:`from_folder`, :meth:`from_arrays`, or
        :func:`netphys.load_stimuli` with an address.
    metadata : pandas.DataFrame
        One row a stimulus of the source; column ``stimulus_id`` is unique.
    name : str
        What figures and messages call the set.
    rows : array of int, optional
        Which stimuli of the source, in which order. Default all.
    left_out : sequence of str
        Broken stimuli that the reader left out on request.

    Examples
    --------
    >>> import numpy as np
    >>> grey = np.full((3, 3, 8, 8), 128, dtype=np.uint8)
    >>> shown = StimulusSet.from_arrays(grey, ids=["a", "b", "c"])
    >>> shown.subset([2, 0]).ids
    ('c', 'a')
    """

    def __init__(
        self,
        source: Source,
        metadata: pd.DataFrame,
        *,
        name: str,
        rows: Sequence[int] | None = None,
        left_out: Sequence[str] = (),
    ) -> None:
        self.left_out = tuple(left_out)
        self._source = source
        self._rows = np.arange(len(metadata)) if rows is None else np.asarray(rows, dtype=np.int64)
        self._table = metadata
        self.name = name
        self.ids: tuple[str, ...] = tuple(require_unique(list(metadata["stimulus_id"].iloc[self._rows]), what=name))
        if not self.ids:
            raise StimulusError(f"{name} holds no stimulus")
        self._digest: str | None = None

    # Readers

    @classmethod
    def from_folder(cls, folder: Path | str, *, skip_broken: bool = False) -> StimulusSet:
        """Read a folder of images.

        Parameters
        ----------
        folder : Path
            Holds images, in folders or not, and maybe ``metadata.csv`` (:mod:`netphys.stimuli.folder`).
        skip_broken : bool
            Leave out images that cannot be decoded; :attr:`left_out` names them. The default is an error that names
            the first one when it is read.

        Raises
        ------
        StimulusError
            If the folder is absent or holds no image, or ``metadata.csv`` is not understood.
        """
        found = read_folder(folder, skip_broken=skip_broken)
        return cls(found.source, found.table, name=found.name, rows=found.rows, left_out=found.left_out)

    @classmethod
    def from_arrays(
        cls,
        images: Any,
        *,
        ids: Sequence[str] | None = None,
        metadata: pd.DataFrame | None = None,
        name: str = "arrays",
    ) -> StimulusSet:
        """Make a set of images in memory.

        Parameters
        ----------
        images : array or tensor (stimulus, 3, y, x)
            uint8, or float32 in [0, 1].
        ids : sequence of str, optional
            Default: the column ``stimulus_id`` of `metadata`, else ``"0"``, ``"1"``, ...
        metadata : pandas.DataFrame, optional
            One row a stimulus.
        name : str
            What figures and messages call the set.

        Raises
        ------
        StimulusError
            If shape, dtype or range are not those of images.
        """
        import pandas as pd

        source = _Arrays(images)
        table = pd.DataFrame(index=range(len(source))) if metadata is None else metadata.reset_index(drop=True).copy()
        if len(table) != len(source):
            raise StimulusError(f"{len(source)} images but {len(table)} rows of metadata")
        if ids is not None:
            if len(ids) != len(source):
                raise StimulusError(f"{len(source)} images but {len(ids)} ids")
            table["stimulus_id"] = [str(each) for each in ids]
        elif "stimulus_id" not in table:
            table["stimulus_id"] = [str(index) for index in range(len(source))]
        return cls(source, table, name=name)

    # What is in it

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        columns = [column for column in self.metadata.columns if column not in ("stimulus_id", "file")]
        return f"StimulusSet({self.name}: {len(self)} stimuli; {', '.join(map(str, columns)) or 'no columns'})"

    @property
    def metadata(self) -> pd.DataFrame:
        """One row a stimulus, in the order of the set; a copy."""
        return self._table.iloc[self._rows].reset_index(drop=True)

    @property
    def fields(self) -> tuple[str, ...]:
        """What a stimulus has: ``image``, and for generated ones its causes."""
        return self._source.fields

    @property
    def digest(self) -> str:
        """Digest of what is shown, in order: ids with pixels (or with the recipe of generated stimuli)."""
        if self._digest is None:
            self._digest = digest(list(zip(self.ids, self._source.digests(self._rows))))
        return self._digest

    def get(self, indices: Sequence[int] | np.ndarray, field: str = "image") -> Any:
        """Read a field of some stimuli.

        Parameters
        ----------
        indices : sequence of int
            Positions in the set, or a mask of booleans, one a stimulus.
        field : str
            One of :attr:`fields`.

        Returns
        -------
        tensor or array (stimulus, ...)
            A list of tensors where images differ in size.

        Raises
        ------
        StimulusError
            If the set has no such field, or no such stimulus.
        """
        if field not in self.fields:
            raise StimulusError(f"{self.name} has no field {field!r}{near(field, self.fields)}")
        return self._source.read(field, self._rows[self._positions(indices)])

    def images(self, indices: Sequence[int] | np.ndarray) -> torch.Tensor | list[torch.Tensor]:
        """Read images: uint8 (stimulus, 3, y, x), float32 in [0, 1] for generated ones; a list where sizes differ."""
        return self.get(indices, "image")

    def _positions(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Turn positions or a mask into positions that there are."""
        chosen = np.asarray(indices)
        if chosen.dtype == bool:
            if len(chosen) != len(self):
                raise StimulusError(f"a mask of {len(chosen)} values for {len(self)} stimuli of {self.name}")
            return np.flatnonzero(chosen)
        if not len(chosen):
            return np.empty(0, dtype=np.int64)
        if chosen.dtype.kind not in "iu":
            raise StimulusError(f"stimuli are selected by position (integers) or by a mask, not by {chosen.dtype}")
        if chosen.min() < -len(self) or chosen.max() >= len(self):
            raise StimulusError(f"{self.name} has stimuli 0 to {len(self) - 1}, not {chosen.max()}")
        return chosen.astype(np.int64)

    # Selections

    def subset(self, indices: Sequence[int] | np.ndarray) -> StimulusSet:
        """Select stimuli by position (or by a mask of booleans), in the order given."""
        rows = self._rows[self._positions(indices)].tolist()
        return StimulusSet(self._source, self._table, name=self.name, rows=rows, left_out=self.left_out)

    def where(self, condition: str) -> StimulusSet:
        """Select stimuli by a condition on the metadata, as ``"category == 'face'"`` (pandas' query language).

        Raises
        ------
        StimulusError
            If the condition is not understood or selects nothing.
        """
        _require_plain(condition)
        metadata = self.metadata
        try:
            kept = metadata.query(condition, engine="python").index
        except Exception as error:
            raise StimulusError(
                f"condition {condition!r} is not understood ({error}); columns: {', '.join(map(str, metadata.columns))}"
            ) from None
        if not len(kept):
            raise StimulusError(f"no stimulus of {self.name} meets {condition!r}")
        return self.subset(kept.to_numpy())


_PLAIN = (
    *(ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.Invert, ast.Compare, ast.Name),
    *(ast.Constant, ast.List, ast.Tuple, ast.Load, ast.BinOp, ast.BitAnd, ast.BitOr, ast.cmpop),
)


def _require_plain(condition: str) -> None:
    """Refuse a condition with anything but columns, values and comparisons: pandas would call methods, too."""
    try:
        tree = ast.parse(re.sub(r"`[^`]*`", "column", condition.strip()), mode="eval")
    except (SyntaxError, ValueError, RecursionError):
        raise StimulusError(
            f"condition {condition!r} is not understood; say for example \"category == 'face'\""
        ) from None
    odd = next((node for node in ast.walk(tree) if not isinstance(node, _PLAIN)), None)
    if odd is not None:
        raise StimulusError(
            f"condition {condition!r} holds more than columns, values and comparisons ({type(odd).__name__.lower()})"
        )


class _Arrays:
    """Images in memory."""

    fields = ("image",)

    def __init__(self, images: Any) -> None:
        import torch

        tensor = torch.as_tensor(images)
        if tensor.ndim != 4 or tensor.shape[1] != 3:
            raise StimulusError(f"images are (stimulus, 3, y, x); these are {tuple(tensor.shape)}")
        if tensor.dtype != torch.uint8:
            if not tensor.is_floating_point():
                raise StimulusError(f"images are uint8, or float in [0, 1]; these are {tensor.dtype}")
            tensor = tensor.to(torch.float32)
            if len(tensor) and not (tensor.min() >= 0 and tensor.max() <= 1):
                low, high = float(tensor.min()), float(tensor.max())
                raise StimulusError(f"float images are in [0, 1]; these are in [{low:.3g}, {high:.3g}]")
        self._images = tensor.detach().cpu().clone()  # what the caller does to his array later changes no digest

    def __len__(self) -> int:
        return len(self._images)

    def read(self, field: str, indices: np.ndarray) -> torch.Tensor:
        return self._images[indices]

    def digests(self, indices: np.ndarray) -> list[str]:
        return [array_digest(self._images[index].numpy()) for index in indices]


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
