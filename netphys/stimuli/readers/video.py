"""Films become stimuli: clips of a film file or of a folder of numbered frames, or its frames one by one.

A clip is `length` frames, `step` frames apart; clips begin `every` frames. Nothing is decoded before it is read, and a
clip is read without decoding the film before it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from netphys.errors import OptionError, StimulusError
from netphys.progress import bar
from netphys.stimuli.readers.decoding import IMAGE_SUFFIXES
from netphys.stimuli.readers.folder import LISTED, Found, read_table
from netphys.stimuli.readers.frames import Film, Frame, FrameFiles, open_film
from netphys.stimuli.readers.kinds import kind_of
from netphys.stimuli.readers.shelves import Shelf, open_shelf
from netphys.stimuli.sources import gathered, value_digest

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MAX_CLIP_BYTES", "decode_clip", "read_video"]

log = logging.getLogger(__name__)

MAX_CLIP_BYTES = 1 << 30  # of one decoded clip: 160 frames of 1920 x 1080
_NAMED = 10  # films that a warning names


@dataclass(frozen=True)
class Cut:
    """How a film is cut into clips; all in frames of the film."""

    length: int | None  # frames of a clip; None: the whole film is one
    step: int  # from one frame of a clip to the next
    every: int | None  # from the start of a clip to the start of the next; None: one begins where the last ends
    start: int
    stop: int | None  # the first frame that is not used

    def clips(self, n_frames: int) -> list[range]:
        """Return the frames of each clip; what is too short for a clip at the end is left out."""
        stop = n_frames if self.stop is None else min(self.stop, n_frames)
        if self.length is None:
            return [range(self.start, stop, self.step)] * (self.start < stop)
        span = (self.length - 1) * self.step + 1
        every = self.every or self.length * self.step
        return [range(first, first + span, self.step) for first in range(self.start, stop - span + 1, every)]


def read_video(
    path: Path | str,
    *,
    length: int | None = None,
    step: int = 1,
    every: int | None = None,
    start: int = 0,
    stop: int | None = None,
    frames: bool = False,
    frame_rate: float | None = None,
) -> Found:
    """Cut a film into clips.

    Parameters
    ----------
    path : Path
        A film (MP4, MKV, MOV, AVI, WebM by PyAV, ``pip install 'netphys[video]'``; GIF, APNG by PIL), or a folder or
        zip archive of frames. Frames lie in natural order of their names (2 before 10), each folder of frames a film
        of its own; with ``metadata.csv`` in the order of its column ``file``, a film for each value of its column
        ``film`` where there is one.
    length : int, optional
        Frames of a clip. Default: the whole film is one clip, of at most :data:`MAX_CLIP_BYTES`.
    step : int
        Frames of the film from one frame of a clip to the next.
    every : int, optional
        Frames of the film from the start of a clip to the start of the next. Default: ``length * step``, no overlap.
    start, stop : int
        First frame that is used, and the first that is not any more. Default: the whole film.
    frames : bool
        Every `step`-th frame is a stimulus of its own, an image; `length` and `every` do not apply.
    frame_rate : float, optional
        Frames/s of a folder of frames, which does not say it.

    Returns
    -------
    Found
        Field ``clip`` uint8 (n, t, 3, y, x), or ``image`` uint8 (n, 3, y, x); columns ``film``, ``start_frame``,
        ``n_frames`` and, where they are known, ``start_time`` (s from the film's first frame) and ``frame_rate``
        (frames/s of the clip, the film's mean rate / `step`); of a folder of frames also ``file``, the first of the
        clip. Ids are the film's name, with the number of the clip's first frame (``film-000030``) where a film is
        several stimuli. Frames are taken by number, also where they last differently long; turns that the film asks
        for are made; both are said in ``conversions``.

    Raises
    ------
    StimulusError
        If it is no film, damaged or truncated, no film is long enough for one clip, or a clip would take more than
        :data:`MAX_CLIP_BYTES`.
    OptionError
        If an option is no number of frames, or does not go with another one.

    Notes
    -----
    Of several films, those that are too short for one clip are left out; a warning in the log names them.
    """
    cut = _checked_cut(length, step, every, start, stop, frames)
    films = _films(Path(path), frame_rate)
    clips = [(index, clip) for index, film in enumerate(films) for clip in cut.clips(film.n_frames)]
    if not clips:
        longest = max(film.n_frames for film in films)
        wanted = "a frame" if length is None else f"a clip of {length} frames, {step} apart,"
        raise StimulusError(f"{path} has {longest} frames, too few for {wanted} from frame {start} on")
    for index, clip in clips:
        _require_budget(films[index], len(clip))
    _say_left_out(films, clips, path)
    source = Clips(films, clips, "image" if frames else "clip")
    return Found(source, _table(films, clips, step, whole=length is None), Path(path).stem)


def decode_clip(file: BinaryIO, *, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Decode a whole film that is one stimulus.

    Parameters
    ----------
    file : open file
        It can be sought in.
    name : str
        What messages call it.

    Returns
    -------
    (array of uint8 (t, 3, y, x), words for what was done to it)

    Raises
    ------
    StimulusError
        If it is no film, damaged, or decodes to more than :data:`MAX_CLIP_BYTES`.
    """
    film = open_film(file, name)
    _require_budget(film, film.n_frames)
    return _stacked(film, range(film.n_frames))


class Clips:
    """Frames of films as stimuli; see :class:`~netphys.stimuli.sources.Source`.

    Parameters
    ----------
    films : sequence of Film
    clips : sequence of (int, range)
        For each stimulus its film, and which frames of it.
    field : str
        ``clip``; or ``image``, where each has one frame.
    """

    def __init__(self, films: Sequence[Film], clips: Sequence[tuple[int, range]], field: str) -> None:
        self._films, self._clips, self._field = list(films), list(clips), field
        self.fields = (field,)
        self._said: dict[int, tuple[str, ...]] = {}

    def __len__(self) -> int:
        return len(self._clips)

    def read(self, field: str, indices: np.ndarray) -> Any:
        return gathered([self._one(int(index)) for index in indices])

    def digests(self, indices: np.ndarray) -> list[Any]:
        result: list[Any] = []
        with bar(len(indices), label="reading stimuli") as progress:
            for index in indices:
                value = value_digest(self._one(int(index)))
                result.append(value if self._field == "image" else {self._field: value})
                progress.update(1)
        return result

    def conversions(self, indices: np.ndarray) -> list[tuple[str, ...]]:
        """Say what was done to the frames of some stimuli; decodes those that nobody has read yet."""
        for index in indices:
            if int(index) not in self._said:
                self._one(int(index))
        return [self._said[int(index)] for index in indices]

    def _one(self, index: int) -> np.ndarray:
        film, numbers = self._clips[index]
        value, self._said[index] = _stacked(self._films[film], numbers)
        return value[0] if self._field == "image" else value


def _stacked(film: Film, numbers: Sequence[int]) -> Frame:
    """Read frames of one film as one array, and what was done to any of them."""
    value = np.empty((len(numbers), 3, *film.size), dtype=np.uint8)
    said: dict[str, None] = {}
    for place, number in enumerate(numbers):  # one by one: a clip is not in memory twice
        pixels, words = film.frames([number])[0]
        if pixels.shape[1:] != film.size:
            (was_y, was_x), (y, x) = film.size, pixels.shape[1:]
            raise StimulusError(
                f"frame {number} of {film.name} has {x} x {y} pixels, the first has {was_x} x {was_y}; "
                "frames of a film are of one size"
            )
        value[place] = pixels
        said |= dict.fromkeys(words)
    return value, tuple(said)


def _say_left_out(films: Sequence[Film], clips: Sequence[tuple[int, range]], path: Path | str) -> None:
    """Say which films are in no stimulus, and how many frames."""
    used = [np.zeros(film.n_frames, dtype=bool) for film in films]
    for index, clip in clips:
        used[index][clip.start : clip.stop : clip.step] = True
    short = [f"{film.name} ({film.n_frames} frames)" for film, each in zip(films, used) if not each.any()]
    if short:
        more = f" and {len(short) - _NAMED} more" if len(short) > _NAMED else ""
        log.warning(
            "%s: %d of %d films left out, too short for a clip: %s%s",
            path, len(short), len(films), ", ".join(short[:_NAMED]), more,
        )  # fmt: skip
    unused = sum(int((~each).sum()) for each in used)
    log.info("%s: %d stimuli of %d film(s); %d frames are in none", path, len(clips), len(films), unused)


def _checked_cut(length: int | None, step: int, every: int | None, start: int, stop: int | None, frames: bool) -> Cut:
    """See that all are numbers of frames."""
    for name, value, least in (("length", length, 1), ("step", step, 1), ("every", every, 1), ("start", start, 0)):
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if value is not None and (not whole or value < least):
            raise OptionError(f"{name}={value!r}: a number of frames is wanted, a whole one from {least} on")
    if stop is not None and (not isinstance(stop, int | np.integer) or stop <= start):
        raise OptionError(f"stop={stop!r}: the number of a frame after start={start} is wanted")
    if frames and (length is not None or every is not None):
        raise OptionError("frames=True takes single frames; length and every are for clips, step says which frames")
    if length is None and every is not None:
        raise OptionError("every= is for clips of a length; say length= too")
    return Cut(1, 1, step, start, stop) if frames else Cut(length, step, every, start, stop)


def _films(path: Path, frame_rate: float | None) -> list[Film]:
    """Open a film file, or the films of a folder of frames."""
    if frame_rate is not None and not 0 < frame_rate < 1e6:
        raise OptionError(f"frame_rate={frame_rate!r}: frames/s are wanted, above 0")
    if path.is_file() and path.suffix.lower() != ".zip":
        if frame_rate is not None:
            raise OptionError(f"{path} says its frame rate itself; frame_rate= is for folders of frames")
        return [open_film(path.open("rb"), str(path))]
    if not path.exists():
        raise StimulusError(f"no film {path}; a film is a file (mp4, mkv, mov, avi, webm, gif) or a folder of frames")
    shelf = open_shelf(path)
    rate = float("nan") if frame_rate is None else float(frame_rate)
    return [FrameFiles(shelf, files, name=name, rate=rate) for name, files in _frame_files(shelf).items()]


def _frame_files(shelf: Shelf) -> dict[str, list[str]]:
    """List the frames of each film of a folder."""
    if shelf.has(LISTED):
        with shelf.open(LISTED) as file:
            table = read_table(file, name=f"{shelf}/{LISTED}", written=["film"])
        return _listed_frames(shelf, table)
    files = [each for each in shelf.files() if PurePosixPath(each).suffix.lower() in IMAGE_SUFFIXES]
    if not files:
        films = [each for each in shelf.files() if kind_of(each) == "clip"]
        hint = f"; name one of its {len(films)} films, {films[0]!r}, or read them all by from_folder" if films else ""
        raise StimulusError(f"{shelf} holds no frames ({' '.join(IMAGE_SUFFIXES)}){hint}")
    films_of: dict[str, list[str]] = {}
    for each in sorted(files, key=_natural):
        folder = PurePosixPath(each).parent.as_posix()
        films_of.setdefault(shelf.name if folder == "." else folder, []).append(each)
    return films_of


def _listed_frames(shelf: Shelf, table: pd.DataFrame) -> dict[str, list[str]]:
    """List the frames that metadata.csv names, in its order."""
    where = f"{shelf}/{LISTED}"
    if "file" not in table:
        raise StimulusError(f"{where} has no column 'file' that names the frames")
    if not len(table):
        raise StimulusError(f"{where} names no frame")
    absent = [each for each in table["file"] if not each or not shelf.has(each)]
    if absent:
        raise StimulusError(f"{where} names {len(absent)} file(s) that are not there, first {absent[0]!r}")
    names = [str(each) for each in table["film"]] if "film" in table else [shelf.name] * len(table)
    films: dict[str, list[str]] = {}
    for name, file in zip(names, table["file"]):
        films.setdefault(name, []).append(str(file))
    return films


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Order names as people do: frame 2 before frame 10."""
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(part), part) if part.isdigit() and part.isascii() else (1, 0, part) for part in parts if part]


def _require_budget(film: Film, n_frames: int) -> None:
    """Refuse a clip that does not fit."""
    y, x = film.size
    n_bytes = 3 * n_frames * y * x
    if n_bytes > MAX_CLIP_BYTES:
        raise StimulusError(
            f"a clip of {n_frames} frames of {film.name} ({x} x {y} pixels) takes {n_bytes / 1e9:.1f} GB, more than "
            f"{MAX_CLIP_BYTES / 1e9:.1f}; read_video's length=, step= and stop= cut it"
        )


def _table(films: Sequence[Film], clips: Sequence[tuple[int, range]], step: int, *, whole: bool) -> pd.DataFrame:
    """One row a clip."""
    import pandas as pd

    names = [_short(film) for film in films]
    first = np.array([clip[0] for _, clip in clips])
    n_frames = np.array([len(clip) for _, clip in clips])
    alone = whole and len({film for film, _ in clips}) == len(clips)
    table = pd.DataFrame(
        {
            "stimulus_id": [
                names[film] if alone and n > 1 else f"{names[film]}-{number:06d}"
                for (film, _), number, n in zip(clips, first, n_frames)
            ],
            "film": [names[film] for film, _ in clips],
            "start_frame": first,
            "n_frames": n_frames,
        }
    )
    times = [films[film].times for film, _ in clips]
    if all(each is not None for each in times):
        table["start_time"] = [float(each[number]) for each, number in zip(times, first) if each is not None]
    rates = np.array([films[film].rate for film, _ in clips]) / step
    if np.isfinite(rates).all():
        table["frame_rate"] = rates
    if all(isinstance(film, FrameFiles) for film in films):
        table["file"] = [films[film].files[number] for (film, _), number in zip(clips, first)]  # type: ignore[attr-defined]
    return table


def _short(film: Film) -> str:
    """Return a film's name for ids: without the folder and the suffix of a film file."""
    return film.name if isinstance(film, FrameFiles) else Path(film.name).stem
