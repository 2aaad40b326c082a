"""StimulusSet: stimuli with ids, metadata and a digest of their contents; read when asked for.

A set is a selection from a *source* (files, arrays, a generator), so that a subset copies nothing. Each reader is a
module of its own; here is what all sets can do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import StimulusError, near
from netphys.matching import require_unique
from netphys.provenance import digest
from netphys.stimuli.conditions import positions_in, rows_that_meet
from netphys.stimuli.readers.folder import Found, read_folder
from netphys.stimuli.sources import Arrays, Source, clipped_of, conversions_of, targets_of

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from matplotlib.axes import Axes

    from netphys.stimuli.treatment import Treatment

__all__ = ["StimulusSet"]

_PART = " (a selection)"


class StimulusSet:
    """Stimuli in a fixed order, each with a ``stimulus_id``.

    Parameters
    ----------
    source : Source
        Where the stimuli come from. Users call the readers: :meth:`from_folder`, :meth:`from_arrays`, ..., or
        :func:`netphys.load_stimuli` with an address.
    metadata : pandas.DataFrame
        One row a stimulus of the set; column ``stimulus_id`` is unique.
    name : str
        What figures and messages call the set.
    rows : array of int, optional
        For each stimulus its number in the source. Default: 0, 1, ...
    left_out : sequence of str
        Broken stimuli that the reader left out on request.
    treatment : str
        What has been done to the stimuli (:mod:`netphys.stimuli.treatment`), as text; empty: nothing.
    address : str
        Where the set was loaded from, for the record; empty: made in Python.

    Examples
    --------
    >>> import numpy as np
    >>> grey = np.full((3, 3, 8, 8), 128, dtype=np.uint8)
    >>> shown = StimulusSet.from_arrays(grey, ids=["a", "b", "c"])
    >>> shown.subset([2, 0]).ids
    ('c', 'a')
    >>> shown[1:].ids
    ('b', 'c')
    """

    def __init__(
        self,
        source: Source,
        metadata: pd.DataFrame,
        *,
        name: str,
        rows: Sequence[int] | np.ndarray | None = None,
        left_out: Sequence[str] = (),
        treatment: str = "",
        address: str = "",
    ) -> None:
        self.left_out = tuple(left_out)
        self._source = source
        self._rows = np.arange(len(metadata)) if rows is None else np.asarray(rows, dtype=np.int64)
        self._table = metadata.reset_index(drop=True).assign(
            stimulus_id=[str(each) for each in metadata["stimulus_id"]]
        )
        self.name, self.treatment, self.address = name, treatment, address
        self.ids: tuple[str, ...] = tuple(require_unique(list(self._table["stimulus_id"]), what=name))
        if not self.ids:
            raise StimulusError(f"{name} holds no stimulus")
        if metadata["stimulus_id"].isna().any():
            raise StimulusError(f"{name}: a stimulus has no stimulus_id")
        self._digest: str | None = None

    # Readers

    @classmethod
    def from_folder(
        cls,
        folder: Path | str,
        *,
        table: pd.DataFrame | None = None,
        fields: Mapping[str, str] | None = None,
        skip_broken: bool = False,
    ) -> StimulusSet:
        """Read a folder, or a zip archive, of images; or of sounds, clips, texts.

        Parameters
        ----------
        folder : Path
            Holds files, in folders or not, and maybe ``metadata.csv`` (:mod:`netphys.stimuli.readers.folder`).
        table : pandas.DataFrame, optional
            In place of ``metadata.csv``.
        fields : mapping, optional
            Field → column that names its files, as ``{"image": "color", "depth": "depth:values"}``
            (:mod:`netphys.stimuli.readers.kinds` lists the kinds). Default: the column ``file``.
        skip_broken : bool
            Leave out stimuli that cannot be decoded; :attr:`left_out` names them. The default is an error that names
            the first one when it is read.

        Raises
        ------
        StimulusError
            If the folder is absent or holds nothing to show, or ``metadata.csv`` is not understood.
        """
        return cls._of(read_folder(folder, table=table, fields=fields, skip_broken=skip_broken))

    @classmethod
    def from_arrays(
        cls,
        images: Any = None,
        *,
        ids: Sequence[str] | None = None,
        metadata: pd.DataFrame | None = None,
        fields: Mapping[str, Any] | None = None,
        name: str = "arrays",
    ) -> StimulusSet:
        """Make a set of what is in memory.

        Parameters
        ----------
        images : array or tensor (stimulus, 3, y, x), or a sequence of (3, y, x) of several sizes
            uint8, or float32 in [0, 1].
        ids : sequence of str, optional
            Default: the column ``stimulus_id`` of `metadata`, else ``"0"``, ``"1"``, ...
        metadata : pandas.DataFrame, optional
            One row a stimulus.
        fields : mapping, optional
            More of each stimulus by name: arrays (stimulus, ...), or sequences of one array or text a stimulus.
        name : str
            What figures and messages call the set.

        Raises
        ------
        StimulusError
            If shape, dtype or range are not those of images.
        """
        import pandas as pd

        source = Arrays(images, fields)
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

    @classmethod
    def from_hdf5(cls, path: Path | str, **options: Any) -> StimulusSet:
        """Read what :meth:`to_hdf5` wrote, or a stranger's file: see :func:`netphys.stimuli.readers.hdf5.read_hdf5`."""
        from netphys.stimuli.readers.hdf5 import read_hdf5

        return cls._of(read_hdf5(path, **options))

    @classmethod
    def from_brainio(
        cls, table: Path | str, archive: Path | str | None = None, *, skip_broken: bool = False
    ) -> StimulusSet:
        """Read a BrainIO stimulus set, a CSV and a zip: see :func:`netphys.stimuli.readers.brainio.read_brainio`."""
        from netphys.stimuli.readers.brainio import read_brainio

        return cls._of(read_brainio(table, archive, skip_broken=skip_broken))

    @classmethod
    def from_dataset(cls, dataset: Any, **options: Any) -> StimulusSet:
        """Take a torch ``Dataset`` of images: see :func:`netphys.stimuli.readers.datasets.read_dataset`."""
        from netphys.stimuli.readers.datasets import read_dataset

        return cls._of(read_dataset(dataset, **options))

    @classmethod
    def from_torchvision(cls, name: str, root: Path | str, **options: Any) -> StimulusSet:
        """Take one of torchvision's sets: see :func:`netphys.stimuli.readers.datasets.read_torchvision`."""
        from netphys.stimuli.readers.datasets import read_torchvision

        return cls._of(read_torchvision(name, root, **options))

    @classmethod
    def from_video(cls, path: Path | str, **options: Any) -> StimulusSet:
        """Cut a film, or a folder of frames, into clips: see :func:`netphys.stimuli.readers.video.read_video`."""
        from netphys.stimuli.readers.video import read_video

        return cls._of(read_video(path, **options))

    @classmethod
    def from_stereo(cls, folder: Path | str, **options: Any) -> StimulusSet:
        """Read pairs of pictures for two eyes: see :func:`netphys.stimuli.readers.stereo.read_stereo`."""
        from netphys.stimuli.readers.stereo import read_stereo

        return cls._of(read_stereo(folder, **options))

    @classmethod
    def from_sounds(cls, folder: Path | str, **options: Any) -> StimulusSet:
        """Read WAV files, alone or beside images: see :func:`netphys.stimuli.readers.sound.read_sounds`."""
        from netphys.stimuli.readers.sound import read_sounds

        return cls._of(read_sounds(folder, **options))

    @classmethod
    def from_text(cls, path: Path | str, **options: Any) -> StimulusSet:
        """Cut a text into stimuli: see :func:`netphys.stimuli.readers.text.read_text`."""
        from netphys.stimuli.readers.text import read_text

        return cls._of(read_text(path, **options))

    @classmethod
    def _of(cls, found: Found) -> StimulusSet:
        table = found.table if found.rows is None else found.table.iloc[found.rows]
        return cls(
            found.source, table, name=found.name, rows=found.rows, left_out=found.left_out, treatment=found.treatment
        )

    # What is in it

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        columns = [column for column in self.metadata.columns if column not in ("stimulus_id", "file")]
        more = f"; fields {', '.join(self.fields)}" if self.fields != ("image",) else ""
        treated = f"; treated: {self.treatment}" if self.treatment else ""
        listed = ", ".join(map(str, columns)) or "no columns"
        count = f"{len(self)} {'stimulus' if len(self) == 1 else 'stimuli'}"
        return f"StimulusSet({self.name}: {count}; {listed}{more}{treated})"

    def _repr_html_(self) -> str:
        from netphys.stimuli.drawing import html_of

        return html_of(self)

    @property
    def metadata(self) -> pd.DataFrame:
        """One row a stimulus, in the order of the set; a copy."""
        return self._table.copy()

    @property
    def fields(self) -> tuple[str, ...]:
        """What a stimulus has: ``image``, or ``clip``, ``sound``, ``text``; for generated ones its causes."""
        return self._source.fields

    @property
    def digest(self) -> str:
        """Digest of what is shown, in order: ids with pixels (or with the recipe of generated stimuli)."""
        if self._digest is None:
            self._digest = digest(list(zip(self.ids, self.contents)))
        return self._digest

    @property
    def contents(self) -> list[Any]:
        """What the digest is made of beside ids, one value a stimulus: digests of pixels, or recipes."""
        return self._source.digests(self._rows)

    @property
    def targets(self) -> dict[str, Any]:
        """What a treatment measured on the set: step → its targets; empty where nothing was measured."""
        return targets_of(self._source)

    def clipped(self, field: str = "image") -> np.ndarray | None:
        """Share of each stimulus' values that its treatment clipped to [0, 1], float (stimulus,); reads what was not.

        None where nothing was treated; nan for stimuli that were not.
        """
        said = clipped_of(self._source, self._rows, field)
        if said is None:
            return None
        for _ in self.subset(np.isnan(said)).batches(field=field) if np.isnan(said).any() else ():
            pass
        return clipped_of(self._source, self._rows, field)

    @property
    def conversions(self) -> dict[str, int]:
        """What was done to files to make pixels of them (``"grey repeated"``): how many stimuli each; reads all."""
        return dict(Counter(word for words in conversions_of(self._source, self._rows) for word in words))

    def get(self, indices: Any = None, field: str = "image") -> Any:
        """Read a field of some stimuli.

        Parameters
        ----------
        indices : optional
            Positions in the set, a mask of booleans, a slice, ids, or one position or id. Default: all of them.
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
        self.require_field(field)
        return self._source.read(field, self._rows[self._positions(indices)])

    def images(self, indices: Any = None) -> torch.Tensor | list[torch.Tensor]:
        """Read images: uint8 (stimulus, 3, y, x), float32 in [0, 1] for generated ones; a list where sizes differ."""
        return self.get(indices, "image")

    def require_field(self, field: str) -> None:
        """Raise a StimulusError where the set has no such field; it says what there is, and what makes images of it."""
        if field in self.fields:
            return
        ways = {"clip": ".frames() (?frames=true) shows each frame", "left": ".as_image('left') (?field=left) one eye"}
        said = next((f"; {way}" for has, way in ways.items() if has in self.fields and field == "image"), "")
        raise StimulusError(f"{self.name} has no field {field!r}{near(field, self.fields)}{said}")

    def batches(
        self, batch_size: int = 32, *, field: str = "image", start: int = 0
    ) -> Iterator[tuple[np.ndarray, Any]]:
        """Read the set from `start` on, batch by batch, the next ones while one is used.

        Parameters
        ----------
        batch_size : int
            Stimuli in a batch; the last one may be smaller.
        field : str
            One of :attr:`fields`.
        start : int
            Position of the first stimulus.

        Yields
        ------
        (array of int, tensor or list)
            Positions in the set, and what :meth:`get` returns for them. Memory does not grow with the set.

        Raises
        ------
        StimulusError
            As :meth:`get`; at the batch that cannot be read, after those before it.
        """
        from netphys.stimuli.reading_ahead import batches_of

        return batches_of(self, batch_size, field=field, start=start)

    def _positions(self, chosen: Any) -> np.ndarray:
        return positions_in(self.ids, chosen, name=self.name)

    # Selections

    def subset(self, indices: Any) -> StimulusSet:
        """Select stimuli by position, mask, slice or ids, in the order given."""
        places = self._positions(indices)
        return self._like(self._rows[places], self._table.iloc[places])

    def where(self, condition: str) -> StimulusSet:
        """Select stimuli by a condition on the metadata, as ``"category == 'face'"`` (pandas' query language).

        Raises
        ------
        StimulusError
            If the condition is not understood or selects nothing.
        """
        return self.subset(rows_that_meet(condition, self.metadata, name=self.name))

    def __getitem__(self, chosen: Any) -> StimulusSet:
        """Select stimuli: a slice, a position, an id, or several of them; always a set."""
        if isinstance(chosen, int | np.integer) and not -len(self) <= chosen < len(self):
            raise IndexError(f"{self.name} has stimuli 0 to {len(self) - 1}, not {chosen}")  # ends a loop over the set
        return self.subset(chosen)

    def __contains__(self, stimulus_id: object) -> bool:
        return stimulus_id in self.ids

    def _like(self, rows: np.ndarray, table: pd.DataFrame) -> StimulusSet:
        """Make a set of the same source; where it is a selection, its address says so."""
        whole = len(rows) == len(self._rows) and bool((rows == self._rows).all())
        address = self.address if whole or not self.address else f"{self.address.removesuffix(_PART)}{_PART}"
        return StimulusSet(
            self._source, table, name=self.name, rows=rows, left_out=self.left_out, treatment=self.treatment,
            address=address,
        )  # fmt: skip

    def as_image(self, field: str) -> StimulusSet:
        """Show a field as the image: one eye's picture of a pair, to a network that sees one.

        Raises
        ------
        StimulusError
            If the set has no such field, or it holds no pictures (3, y, x).
        """
        from netphys.stimuli.showing import as_image

        return as_image(self, field)

    def frames(self, field: str = "clip") -> StimulusSet:
        """Show each frame of each clip as an image of its own: see :func:`netphys.stimuli.showing.frames_of`."""
        from netphys.stimuli.showing import frames_of

        return frames_of(self, field)

    # Sets put together

    def __add__(self, other: StimulusSet) -> StimulusSet:
        """Put two sets one after another; ids must be unique in both together, fields are those that both have."""
        if not isinstance(other, StimulusSet):
            return NotImplemented
        from netphys.stimuli.joining import concatenate

        return concatenate([self, other])

    def join(self, other: pd.DataFrame | StimulusSet, *, on: str = "stimulus_id") -> StimulusSet:
        """Add columns of a table, or the fields and columns of another set, joined by id.

        Parameters
        ----------
        other : pandas.DataFrame or StimulusSet
            Each of our stimuli has one row in it; others are not used.
        on : str
            The column of both by which they are joined.

        Returns
        -------
        StimulusSet
            Our stimuli in our order. What both have is ours.

        Raises
        ------
        MatchError
            If one of our stimuli is not in `other`, or an id is twice in it.
        StimulusError
            If there is no such column.
        """
        from netphys.stimuli.joining import joined

        return joined(self, other, on=on)

    # What is done with it

    def treated(self, treatment: Treatment | str) -> StimulusSet:
        """Do to every image what a treatment says: see :mod:`netphys.stimuli.treatment`.

        What is matched over a set (its mean histogram, its mean spectrum) is measured now, on this set.
        """
        from netphys.stimuli.treatment import treat

        return treat(self, treatment)

    def statistics(self, **options: Any) -> pd.DataFrame:
        """Measure every image, its mean, contrast and spectrum: see :mod:`netphys.stimuli.statistics`."""
        from netphys.stimuli.statistics import statistics

        return statistics(self, **options)

    def held(self, device: str = "auto", *, budget: int | None = None) -> StimulusSet:
        """Hold all images on a device: see :func:`netphys.stimuli.reading_ahead.hold`."""
        from netphys.stimuli.reading_ahead import hold

        return hold(self, device, budget=budget)

    def to_hdf5(self, path: Path | str, **options: Any) -> Path:
        """Write all into one HDF5 file of the same digest: see :func:`netphys.stimuli.readers.hdf5.write_hdf5`."""
        from netphys.stimuli.readers.hdf5 import write_hdf5

        return write_hdf5(self, path, **options)

    def plot(self, ax: Axes | None = None, *, index: int = 0, field: str | None = None) -> Axes:
        """Draw one stimulus on one Axes; :func:`netphys.figures.sheet_figure` draws many."""
        from netphys.stimuli.drawing import draw_stimulus

        return draw_stimulus(self, index, ax, field=field)
