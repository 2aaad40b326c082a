"""Another field as the image: one eye's picture, or each frame of a clip, for a network that sees pictures."""

from __future__ import annotations

from typing import Any

import numpy as np

from netphys.errors import StimulusError
from netphys.stimuli.sources import Source, clipped_of, conversions_of, gathered, targets_of
from netphys.stimuli.stimulus_set import StimulusSet

__all__ = ["as_image", "frames_of"]


def as_image(stimuli: StimulusSet, field: str) -> StimulusSet:
    """Show a field as the image: see :meth:`StimulusSet.as_image`."""
    stimuli.require_field(field)
    first = stimuli.get([0], field)[0]
    if getattr(first, "ndim", 0) != 3 or first.shape[0] != 3:
        shape = " x ".join(map(str, first.shape)) if hasattr(first, "shape") else "text"
        raise StimulusError(f"field {field!r} of {stimuli.name} holds no pictures (3, y, x) but {shape}")
    source = _Renamed(stimuli._source, stimuli._rows, field)
    return _shown(stimuli, source, stimuli.metadata, np.arange(len(stimuli)))


def frames_of(stimuli: StimulusSet, field: str = "clip") -> StimulusSet:
    """Show each frame of each clip as an image of its own.

    Parameters
    ----------
    stimuli : StimulusSet
        With clips (t, 3, y, x) of one length or several; to learn their lengths each is read once, unless the column
        ``n_frames`` says them.
    field : str
        The field that holds them.

    Returns
    -------
    StimulusSet
        One stimulus a frame, in order: ``stimulus_id`` is the clip's with ``-f000``; columns ``clip_id``, ``frame``
        (from 0) and those of the clip. A frame is read with its whole clip: take frames in order.

    Raises
    ------
    StimulusError
        If the set has no such field.
    """
    stimuli.require_field(field)
    table = stimuli.metadata
    if "n_frames" in table and table["n_frames"].dtype.kind in "iu":
        lengths = table["n_frames"].to_numpy()
    else:
        lengths = np.array([len(clip) for _, clips in stimuli.batches(8, field=field) for clip in clips])
    if not lengths.sum():
        raise StimulusError(f"the clips of {stimuli.name} hold no frame")
    clip = np.repeat(np.arange(len(stimuli)), lengths)
    frame = np.concatenate([np.arange(length) for length in lengths])
    shown = table.iloc[clip].reset_index(drop=True)
    width = max(3, len(str(lengths.max() - 1)))
    shown["clip_id"], shown["frame"] = shown["stimulus_id"], frame
    shown["stimulus_id"] = [f"{each}-f{index:0{width}d}" for each, index in zip(shown["clip_id"], frame, strict=True)]
    return _shown(stimuli, _Frames(stimuli, field, clip, frame), shown, np.arange(len(shown)))


def _shown(stimuli: StimulusSet, source: Source, table: Any, rows: np.ndarray) -> StimulusSet:
    return StimulusSet(
        source, table, name=stimuli.name, rows=rows, left_out=stimuli.left_out, treatment=stimuli.treatment,
        address=stimuli.address,
    )  # fmt: skip


class _Renamed:
    """One field of a source as ``image``; an ``image`` that there was is not offered, the others are."""

    def __init__(self, source: Source, rows: np.ndarray, field: str) -> None:
        self._source, self._rows, self._field = source, rows, field
        self.fields = ("image", *(each for each in source.fields if each not in ("image", field)))

    def read(self, field: str, indices: np.ndarray) -> Any:
        return self._source.read(self._field if field == "image" else field, self._rows[indices])

    def digests(self, indices: np.ndarray) -> list[Any]:
        return [[self._field, each] for each in self._source.digests(self._rows[indices])]

    def conversions(self, indices: np.ndarray) -> list[tuple[str, ...]]:
        return conversions_of(self._source, self._rows[indices])

    @property
    def targets(self) -> dict[str, Any]:
        return targets_of(self._source)

    def clipped(self, indices: np.ndarray, field: str) -> np.ndarray | None:
        return clipped_of(self._source, self._rows[indices], self._field if field == "image" else field)


class _Frames:
    """Frames of clips."""

    fields = ("image",)

    def __init__(self, stimuli: StimulusSet, field: str, clip: np.ndarray, frame: np.ndarray) -> None:
        self._stimuli, self._field, self._clip, self._frame = stimuli, field, clip, frame

    def read(self, field: str, indices: np.ndarray) -> Any:
        frames: list[Any] = [None] * len(indices)
        for clip in np.unique(self._clip[indices]):
            places = np.flatnonzero(self._clip[indices] == clip)
            whole = self._stimuli.get([int(clip)], self._field)[0]
            for place in places:
                frames[place] = whole[int(self._frame[indices[place]])]
        return gathered(frames)

    def digests(self, indices: np.ndarray) -> list[Any]:
        clips = np.unique(self._clip[indices])
        said = dict(zip(clips.tolist(), self._stimuli._source.digests(self._stimuli._rows[clips]), strict=True))
        return [[said[int(self._clip[index])], self._field, int(self._frame[index])] for index in indices]

    def conversions(self, indices: np.ndarray) -> list[tuple[str, ...]]:
        return conversions_of(self._stimuli._source, self._stimuli._rows[self._clip[indices]])

    @property
    def targets(self) -> dict[str, Any]:
        return self._stimuli.targets

    def clipped(self, indices: np.ndarray, field: str) -> np.ndarray | None:
        """Return the shares of whole clips."""
        return clipped_of(self._stimuli._source, self._stimuli._rows[self._clip[indices]], self._field)
