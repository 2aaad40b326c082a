"""A source whose pictures are treated when they are read, and how its targets are measured."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from netphys.errors import StimulusError
from netphys.framing import pair, resized_size
from netphys.progress import bar
from netphys.provenance import array_digest, code_digest, digest
from netphys.stimuli.calls import to_text
from netphys.stimuli.reading_ahead import cuts, read_ahead
from netphys.stimuli.sources import Source, conversions_of, gathered
from netphys.stimuli.treating.clipping import Clipping
from netphys.stimuli.treating.framing_steps import Crop, Field, Move, Pad, Resize
from netphys.stimuli.treating.step import Picture, Target

if TYPE_CHECKING:
    import pandas as pd

    from netphys.stimuli.stimulus_set import StimulusSet
    from netphys.stimuli.treatment import Treatment

__all__ = ["PICTURES", "Treated", "degrees_after", "degrees_of", "treated_source"]

_LOG = logging.getLogger(__name__)

PICTURES = ("image", "left", "right", "clip")  # fields that are treated
_KEPT = ("sound", "text")  # fields that are no places in the image, whatever their shape
_CODE = ("stimuli/treatment", "stimuli/treating", "framing", "colorimetry", "seeds")
_CHUNK = 16  # stimuli read at once while measuring
_ROUNDING = 1e-6  # beyond [0, 1] by no more than this nothing is lost by clipping


@dataclass(frozen=True)
class Shown:
    """Some stimuli of a source, what they are called and how wide they are."""

    source: Source
    rows: np.ndarray
    ids: tuple[str, ...]
    degrees: np.ndarray | None  # visual angle of the images' width; nan where it is not known

    @classmethod
    def of(cls, stimuli: StimulusSet) -> Shown:
        """Take them from a set."""
        return cls(stimuli._source, stimuli._rows, stimuli.ids, degrees_of(stimuli.metadata))

    def picture(self, index: int, values: Tensor) -> Picture:
        """Make a picture of one that was read: float32, on the CPU, memory of its own."""
        values = values.cpu()
        single = values.to(torch.float32) / 255 if values.dtype == torch.uint8 else values.to(torch.float32).clone()
        degrees = np.nan if self.degrees is None else self.degrees[index]
        per_degree = float(values.shape[-1] / degrees) if degrees > 0 else None
        return Picture(single.contiguous(), f"stimulus {self.ids[index]!r}", per_degree)


def degrees_of(table: pd.DataFrame) -> np.ndarray | None:
    """Read the column ``degrees``; nan where it holds no number, None where there is none."""
    import pandas as pd

    if "degrees" not in table:
        return None
    return pd.to_numeric(table["degrees"], errors="coerce").to_numpy(dtype=float)


def treated_source(stimuli: StimulusSet, treatment: Treatment, like: StimulusSet | None) -> Treated:
    """Measure the targets, and make the source of treated stimuli, numbered as in the set.

    Raises
    ------
    StimulusError
        If the set has no pictures.
    """
    shown = Shown.of(stimuli)
    for each in (shown, *([] if like is None else [Shown.of(like)])):
        if not any(field in PICTURES for field in each.source.fields):
            raise StimulusError(f"{stimuli.name} has nothing to treat: {', '.join(each.source.fields)} are no pictures")
    targets = _measured(shown if like is None else Shown.of(like), treatment)
    fields, maps = _offered(shown, treatment)
    return Treated(shown, treatment, targets, fields, maps)


class Treated:
    """Stimuli of another source, treated.

    Parameters
    ----------
    shown : Shown
        The stimuli as they were.
    treatment : Treatment
        What is done.
    targets : sequence of Target or None
        One a step: what it measured.
    fields, maps : sequence of str
        What is offered; which of it are maps that follow the image.
    """

    def __init__(
        self,
        shown: Shown,
        treatment: Treatment,
        targets: Sequence[Target | None],
        fields: Sequence[str],
        maps: Sequence[str],
    ) -> None:
        self.fields = tuple(fields)
        self.treatment, self._targets = treatment, tuple(targets)
        self._shown, self._maps = shown, frozenset(maps)
        self._clipping = Clipping(treatment, len(shown.rows))
        self._sizes = np.zeros((len(shown.rows), 2), dtype=np.int32)  # y, x of the images that were read
        plain = [None if each is None else each.to_dict() for each in targets]
        self._digest = digest([treatment.to_dict(), digest(plain), code_digest(*_CODE)])

    @property
    def targets(self) -> dict[str, Any]:
        """What was measured, as plain data: the text of a step → its target; of an array, its shape and digest.

        Targets of a treatment that was done before come first; of two steps of one text the second is ``TEXT (2)``.
        """
        found = dict(getattr(self._shown.source, "targets", {}))
        for step, target in zip(self.treatment.steps, self._targets):
            if target is not None:
                text = to_text([step.to_call()])
                times = sum(each == text or each.startswith(f"{text} (") for each in found)
                found[f"{text} ({times + 1})" if times else text] = _plain(target.to_dict())
        return found

    def clipped(self, indices: np.ndarray, field: str | None = None) -> np.ndarray:
        """Say what share of a stimulus' values was outside [0, 1] when it was read; nan where it was not.

        Parameters
        ----------
        indices : array of int (stimulus,)
            Which stimuli.
        field : str, optional
            Of which field. Default: the mean over those that were read.
        """
        return self._clipping.of(indices, field)

    def clipped_share(self, rows: np.ndarray) -> float | None:
        """Average :meth:`clipped` over those of some stimuli that were read; None where none was."""
        return self._clipping.share(rows)

    def read(self, field: str, indices: np.ndarray) -> Any:
        values = self._shown.source.read(field, self._shown.rows[indices])
        if field in PICTURES:
            treated = [self._treated(int(index), each) for index, each in zip(indices, values)]
            self._clipping.add(field, indices, [share for _, share in treated])
            return gathered([each for each, _ in treated])
        if field in self._maps:
            return gathered([self._moved(field, int(index), each) for index, each in zip(indices, values)])
        return values

    def digests(self, indices: np.ndarray) -> list[Any]:
        of_source = self._shown.source.digests(self._shown.rows[indices])
        if self._shown.degrees is None:
            return [[each, self._digest] for each in of_source]
        degrees = [repr(float(each)) for each in self._shown.degrees[indices]]
        return [[each, self._digest, shown] for each, shown in zip(of_source, degrees)]

    def conversions(self, indices: np.ndarray) -> list[tuple[str, ...]]:
        """Say what was done to the files."""
        return conversions_of(self._shown.source, self._shown.rows[indices])

    def _treated(self, index: int, values: Tensor) -> tuple[Tensor, float]:
        """Treat one picture (3, y, x), or the frames of a clip (t, 3, y, x); say what share of it is clipped."""
        values = torch.as_tensor(values)
        self._sizes[index] = values.shape[-2:]
        frames = values[None] if values.ndim == 3 else values
        made = [_through(self._shown.picture(index, each), self.treatment, self._targets).values for each in frames]
        beyond = sum(int(((each < -_ROUNDING) | (each > 1 + _ROUNDING)).sum()) for each in made)
        out = torch.stack([each.clamp(0, 1).to(torch.float32).contiguous() for each in made])
        return (out[0] if values.ndim == 3 else out), beyond / out.numel()

    def _moved(self, field: str, index: int, values: Tensor) -> Tensor:
        """Let a map (..., y, x) follow the image, or refuse one of another size."""
        given = torch.as_tensor(values).cpu()
        if not self._sizes[index].any():
            self._sizes[index] = _image_size(self._shown, index)
        (y, x), (height, width) = given.shape[-2:], self._sizes[index]
        if (y, x) != (height, width):
            raise StimulusError(
                f"{field} of stimulus {self._shown.ids[index]!r} is {y} x {x} pixels, its image {height} x {width}; "
                f"a map that follows {self.treatment} has its image's size"
            )
        flat = given.to(torch.float64).reshape(-1, *given.shape[-2:])
        picture = self._shown.picture(index, given)
        picture = Picture(flat, picture.name, picture.pixels_per_degree)
        for step in self.treatment.steps:
            if isinstance(step, Move):
                picture = step.move(picture, is_map=True)
        return picture.values.reshape(*given.shape[:-2], *picture.size).to(given.dtype)


def degrees_after(treatment: Treatment, degrees: np.ndarray | None, n: int) -> np.ndarray | None:
    """Say what visual angle images span when they have been treated, as far as it follows without reading them.

    Parameters
    ----------
    treatment : Treatment
        What is done.
    degrees : array (stimulus,), optional
        Width before; None where it is not known.
    n : int
        How many stimuli.

    Returns
    -------
    array (stimulus,) or None
        nan after a crop or a pad of images whose size the treatment does not say.
    """
    size: tuple[int, int] | None = None
    for step in treatment.steps:
        if isinstance(step, Field):
            size, degrees = (step.size, step.size), np.full(n, step.degrees)
        elif isinstance(step, Resize):
            known = size is not None or isinstance(step.size, tuple)
            size = resized_size(size or (1, 1), step.size) if known else None
        elif isinstance(step, Crop | Pad):
            if degrees is not None:
                degrees = degrees * (np.nan if size is None else pair(step.size)[1] / size[1])
            size = pair(step.size)
    return degrees


def _through(picture: Picture, treatment: Treatment, targets: Sequence[Target | None]) -> Picture:
    """Send a picture through as many steps as there are targets."""
    for step, target in zip(treatment.steps, targets):
        picture = step.apply(picture, target)
    return picture


def _measured(shown: Shown, treatment: Treatment) -> list[Target | None]:
    """Measure what each step needs, on pictures that have passed the steps before; one pass a step."""
    targets: list[Target | None] = []
    notices: list[str] = []
    for step in treatment.steps:
        if step.needs_set:
            with bar(len(shown.rows), label=f"measuring for {step.keyword}") as progress:
                pictures = (_through(each, treatment, targets) for each in _pictures(shown, progress))
                targets.append(step.measure(pictures))
            notices.append(getattr(targets[-1], "notice", ""))
        else:
            targets.append(None)
    for notice in [each for each in notices if each][:1]:  # what the first step says holds for those after it
        _LOG.warning("%s", notice)
    return targets


def _plain(value: Any) -> Any:
    """Make plain data of a target: an array is named by its shape and digest."""
    if isinstance(value, np.ndarray):
        return {"shape": list(value.shape), "digest": array_digest(value)}
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _pictures(shown: Shown, progress: Any) -> Iterator[Picture]:
    """Read all pictures, a few stimuli at a time."""
    fields = [each for each in PICTURES if each in shown.source.fields]

    def read(chunk: np.ndarray) -> list[Any]:
        return [shown.source.read(field, shown.rows[chunk]) for field in fields]

    for chunk, of_fields in read_ahead(read, cuts(len(shown.rows), _CHUNK)):
        for index, values in (each for batch in of_fields for each in zip(chunk, batch)):
            tensor = torch.as_tensor(values)
            for frame in tensor[None] if tensor.ndim == 3 else tensor:
                yield shown.picture(int(index), frame)
        progress.update(len(chunk))


def _image_size(shown: Shown, index: int) -> tuple[int, int]:
    """Read a stimulus' first field of pictures, and return its size (y, x)."""
    first = next(each for each in PICTURES if each in shown.source.fields)
    height, width = shown.source.read(first, shown.rows[index : index + 1])[0].shape[-2:]
    return int(height), int(width)


def _offered(shown: Shown, treatment: Treatment) -> tuple[list[str], list[str]]:
    """Say which fields are offered after a treatment, and which of them are maps that follow the image."""
    fields = list(shown.source.fields)
    others = [each for each in fields if each not in PICTURES + _KEPT]
    if not treatment.moves or not others:
        return fields, []
    size = _image_size(shown, 0)
    maps: list[str] = []
    gone: list[str] = []
    for field in others:
        value = shown.source.read(field, shown.rows[:1])[0]
        if isinstance(value, str) or np.ndim(value) < 2:
            continue
        tensor = torch.as_tensor(value)
        follows = tuple(tensor.shape[-2:]) == size and not tensor.is_floating_point()
        (maps if follows else gone).append(field)
    if gone:
        _LOG.info(
            "%s moves things in the image; fields that cannot follow are left out: %s", treatment, ", ".join(gone)
        )
    return [each for each in fields if each not in gone], maps
