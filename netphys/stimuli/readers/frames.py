"""Frames of one film by their number: a film file (PyAV), an animated picture (PIL), or numbered files of frames.

Every film gives frame n exactly, in any order: frames of a file are known by their times, which are read from its
packets without decoding; a frame is reached from the key frame before it, and frames that follow one another are
decoded once. Where a file's times do not tell its frames apart (AVI with frames out of order), they are counted from
the start, which is exact and slow. A film that ends early, and damage that the decoder sees, is an error; most codecs
carry no sums, so that flipped bits within a frame may go unseen.
"""

from __future__ import annotations

import io
import logging
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from netphys.errors import StimulusError
from netphys.guards import first_line
from netphys.stimuli.readers.decoding import MAX_PIXELS, decode_picture, picture_pixels
from netphys.stimuli.readers.film_pixels import Film, Frame, film_pixels
from netphys.stimuli.readers.shelves import Shelf

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Film", "FrameFiles", "open_film"]

log = logging.getLogger(__name__)

_CONTAINERS = "mov,matroska,avi"  # what is opened; lists of other files (HLS, concat) are not
_MOST_FRAMES = 10_000_000  # four days at 30 Hz
_ANIMATED_PIXELS = 4_000_000_000  # of all frames of an animated picture: half a minute of decoding; more is a bomb
_RECENT_BYTES = 1 << 26  # decoded frames that are kept: clips that overlap decode nothing twice
_REUSED = 4  # bytes of packets a byte of file; a table that points to the same bytes again and again is a bomb
_ROUNDED = 0.002  # s; durations of a steady rate in whole milliseconds differ by less
_UNEQUAL = "frames of different durations, by number"
_ANIMATED = (b"GIF87a", b"GIF89a", b"\x89PNG\r\n\x1a\n")


def open_film(file: BinaryIO, name: str) -> Film:
    """Open a film file or an animated picture; what it is is told by its contents.

    Parameters
    ----------
    file : open file
        It can be sought in, and stays open as long as the film is used.
    name : str
        What messages call it.

    Returns
    -------
    Film
        Read by PyAV, or by PIL where it is an animated picture.

    Raises
    ------
    StimulusError
        If it is no film that can be read, is truncated or damaged, or PyAV is wanted and not installed.
    """
    start = file.read(8)
    file.seek(0)
    if not start:
        raise StimulusError(f"film {name} is empty")
    return _Animation(file, name) if start.startswith(_ANIMATED) else _Coded(file, name)


class _Reading:
    """What films have in common: one reader at a time, and a few frames kept."""

    name: str
    n_frames: int
    size: tuple[int, int]
    rate: float
    times: np.ndarray | None

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._recent: OrderedDict[int, Frame] = OrderedDict()
        self._recent_bytes = 0

    def frames(self, numbers: Sequence[int]) -> list[Frame]:
        with self._lock:
            found: dict[int, Frame] = {}
            for number in sorted({int(each) for each in numbers}):
                found[number] = self._recent[number] if number in self._recent else self._kept(number)
            return [found[int(number)] for number in numbers]

    def _kept(self, number: int) -> Frame:
        frame = self._frame(number)
        self._recent[number] = frame
        self._recent_bytes += frame[0].nbytes
        while self._recent_bytes > _RECENT_BYTES and len(self._recent) > 1:
            self._recent_bytes -= self._recent.popitem(last=False)[1][0].nbytes
        return frame

    def _frame(self, number: int) -> Frame:
        raise NotImplementedError


class _Coded(_Reading):
    """A film file, read by PyAV."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        super().__init__()
        self.name, self._file = name, file
        self._n_bytes = file.seek(0, io.SEEK_END)
        self._container: Any = None
        with _said(name):
            self._open()
            self._index()
            first = self._frame(0)[0]
        self.size = (first.shape[1], first.shape[2])

    def _open(self) -> None:
        """Open the file from its start."""
        av = _pyav(self.name)
        if self._container is not None:
            self._container.close()
        self._file.seek(0)
        self._reformatter = av.video.reformatter.VideoReformatter()
        options = {"format_whitelist": _CONTAINERS}
        self._container = av.open(self._file, mode="r", options=options, metadata_errors="replace")
        streams = [each for each in self._container.streams.video if not _is_cover(each)]
        if not streams:
            raise StimulusError(f"{self.name} holds no moving picture")
        self._stream = streams[0]
        context = self._stream.codec_context
        if context is None:
            raise StimulusError(f"film {self.name} is of a codec that is not known here")
        if context.width * context.height > MAX_PIXELS:
            raise StimulusError(f"film {self.name} has {context.width} x {context.height} pixels, over {MAX_PIXELS}")
        # what a decoder sees of damage is an error, not a guess at what may have been there
        context.options = {"max_pixels": str(MAX_PIXELS), "err_detect": "explode"}
        self._decoded = iter(self._container.decode(self._stream))
        self._at = -1  # number of the frame decoded last
        self._fresh = True

    def _index(self) -> None:
        """Learn every frame's time and the key frames, without decoding."""
        packets, keys = self._packets()
        ordered = self._container.format.name != "avi" or not self._stream.codec_context.has_b_frames
        self._counted = not (ordered and None not in packets and len(set(packets)) == len(packets))
        if self._counted:
            log.info("film %s: its times do not tell its frames apart; they are counted from the start", self.name)
            self._open()
            self.n_frames = sum(1 for _ in self._decoded)
            self._times = np.arange(self.n_frames)
            self._keys = np.zeros(1, dtype=np.int64)
        else:
            order = np.argsort(np.array(packets, dtype=np.int64))
            self._times = np.array(packets, dtype=np.int64)[order]
            self._keys = np.flatnonzero(np.array(keys, dtype=bool)[order])
            self.n_frames = len(packets)
        if not self.n_frames:
            raise StimulusError(f"film {self.name} holds no frame")
        self._set_rate()
        self._open()

    def _packets(self) -> tuple[list[int | None], list[bool]]:
        """Read all packets: the frames' times in ticks, and whether each is a key frame."""
        times: list[int | None] = []
        keys: list[bool] = []
        limit, n_bytes, n_packets = _REUSED * self._n_bytes + (1 << 20), 0, 0
        last = 0.0  # s
        for packet in self._container.demux():
            n_bytes, n_packets = n_bytes + packet.size, n_packets + 1
            if n_bytes > limit or len(times) > _MOST_FRAMES or n_packets > 4 * _MOST_FRAMES:
                raise StimulusError(f"film {self.name} claims more than its bytes can hold; it is no honest file")
            if packet.is_corrupt:
                raise StimulusError(f"film {self.name} is truncated: frame {len(times)} is not whole")
            if packet.pts is not None and packet.time_base is not None:
                last = max(last, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            # a packet without bytes ends a stream, or repeats a frame
            if packet.stream.index == self._stream.index and packet.size and not packet.is_discard:
                times.append(packet.pts)
                keys.append(packet.is_keyframe)
        self._require_whole(len(times), last)
        return times, keys

    def _require_whole(self, n_frames: int, last: float) -> None:
        """Refuse a film that ends before its header says."""
        claimed = self._stream.frames
        if claimed > n_frames + _dropped(claimed):
            raise StimulusError(
                f"film {self.name} is truncated: its header says {claimed} frames, {n_frames} are there"
            )
        length = (self._container.duration or 0) / 1e6
        start = (self._container.start_time or 0) / 1e6
        if self._container.format.name.startswith("matroska") and length + min(start, 0) > last + 1:
            raise StimulusError(
                f"film {self.name} is truncated: its header says {length:.1f} s, {last:.1f} s are there"
            )

    def _set_rate(self) -> None:
        rate = self._stream.average_rate or self._stream.guessed_rate
        self.rate = float(rate) if rate else float("nan")
        if self._counted:
            self.times = np.arange(self.n_frames) / self.rate if rate else None
            self._variable = False
            return
        ticks = np.diff(self._times)
        self.times = (self._times - self._times[0]) * float(self._stream.time_base)
        # containers round times to a tick: intervals of a constant rate differ by two at most
        self._variable = bool(len(ticks)) and bool(ticks.max() - ticks.min() > max(2, 0.1 * np.median(ticks)))
        if self._variable:
            log.info("film %s: frames of different durations; frames are taken by number, not by time", self.name)

    def _frame(self, number: int) -> Frame:
        with _said(self.name, number):
            frame = self._reached(number)
            if frame.is_corrupt:
                raise StimulusError(f"film {self.name}: frame {number} is damaged")
            pixels, words = film_pixels(frame, self._stream, self._reformatter)
            if self._variable:
                words = (*words, _UNEQUAL)
        if hasattr(self, "size") and pixels.shape[1:] != self.size:
            was, is_ = (f"{x} x {y}" for y, x in (self.size, pixels.shape[1:]))
            raise StimulusError(f"film {self.name}: frame {number} has {is_} pixels, the first has {was}")
        return pixels, words

    def _reached(self, number: int) -> Any:
        """Decode up to a frame: on from where we are, from the key frame before it, else from the start."""
        before = self._keys[self._keys <= number]
        key = int(before[-1]) if len(before) else 0
        if not self._at < number or key > self._at + 1:
            self._go_to(key)
        frame = self._forward(number)
        if frame is None:  # the way there led past it: the container's key frames are not what they say
            self._open()
            frame = self._forward(number)
        if frame is None:
            raise StimulusError(f"film {self.name}: frame {number} cannot be decoded; the film is damaged")
        return frame

    def _go_to(self, key: int) -> None:
        if self._counted or key == 0:
            if not self._fresh:
                self._open()
            return
        self._container.seek(int(self._times[key]), stream=self._stream, backward=True, any_frame=False)
        self._decoded = iter(self._container.decode(self._stream))
        self._at, self._fresh = -1, False

    def _forward(self, number: int) -> Any:
        """Decode until a frame; None where it is not on the way."""
        for frame in self._decoded:
            self._fresh = False
            found = self._at + 1 if self._counted else self._number_of(frame)
            if found is None:
                continue
            self._at = found
            if found >= number:
                return frame if found == number else None
        self._at = self.n_frames
        return None

    def _number_of(self, frame: Any) -> int | None:
        """Tell a decoded frame's number by its time; None: of no packet that is shown (an edit list cuts it)."""
        if frame.pts is None:
            raise StimulusError(f"film {self.name} holds a frame without a time; it is damaged")
        place = int(np.searchsorted(self._times, frame.pts))
        return place if place < self.n_frames and self._times[place] == frame.pts else None


class _Animation(_Reading):
    """An animated picture (GIF, APNG), read by PIL."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        super().__init__()
        self.name, self._file = name, file
        with _said(name):
            self._open()
            self.size = (self._image.height, self._image.width)
            self.n_frames = int(getattr(self._image, "n_frames", 1))
            if self.n_frames * self._image.width * self._image.height > _ANIMATED_PIXELS:
                raise StimulusError(f"film {name} has {self.n_frames} frames of {self.size[1]} x {self.size[0]} pixels")
            lasts = [float(self._shown(number).info.get("duration", 0)) / 1000 for number in range(self.n_frames)]
            ends = np.cumsum(lasts)
        self.times = np.concatenate([[0.0], ends[:-1]])
        self._variable = max(lasts) - min(lasts) > _ROUNDED
        self.rate = self.n_frames / float(ends[-1]) if ends[-1] > 0 else float("nan")

    def _open(self) -> None:
        from PIL import Image

        self._file.seek(0)
        self._image: Image.Image = Image.open(self._file, formats=("GIF", "PNG"))
        if self._image.width * self._image.height > MAX_PIXELS:
            raise StimulusError(
                f"film {self.name} has {self._image.width} x {self._image.height} pixels, over {MAX_PIXELS}"
            )
        self._image.load()

    def _shown(self, number: int) -> Image.Image:
        """Go to a frame, from the start where it lies behind: frames are drawn one over the other."""
        if number < self._image.tell():
            self._open()
        while self._image.tell() < number:
            self._image.seek(self._image.tell() + 1)
            self._image.load()
        return self._image

    def _frame(self, number: int) -> Frame:
        with _said(self.name, number):
            pixels, words = picture_pixels(self._shown(number).copy())
        return pixels, (*words, _UNEQUAL) if self._variable else words


class FrameFiles:
    """Pictures that are the frames of a film.

    Parameters
    ----------
    shelf : Shelf
        Where they lie.
    files : sequence of str
        In the order of the film.
    name : str
        What messages call the film.
    rate : float
        Frames/s; nan: unknown.

    Raises
    ------
    StimulusError
        If the first of them is no picture.
    """

    def __init__(self, shelf: Shelf, files: Sequence[str], *, name: str, rate: float = float("nan")) -> None:
        self.name, self.rate, self.n_frames = name, rate, len(files)
        self._shelf, self.files = shelf, list(files)
        self.times = None if np.isnan(rate) else np.arange(len(files)) / rate
        first = self.frames([0])[0][0]
        self.size = (first.shape[1], first.shape[2])

    def frames(self, numbers: Sequence[int]) -> list[Frame]:
        found = {int(number): self._frame(int(number)) for number in dict.fromkeys(numbers)}
        return [found[int(number)] for number in numbers]

    def _frame(self, number: int) -> Frame:
        with self._shelf.open(self.files[number]) as file:
            return decode_picture(file, name=self.files[number])


@contextmanager
def _said(name: str, number: int | None = None) -> Iterator[None]:
    """Turn what is raised on a damaged film into one line."""
    try:
        yield
    except StimulusError:
        raise
    except Exception as error:  # FFmpeg's and PIL's readers raise anything on damaged bytes
        where = "" if number is None else f" at frame {number}"
        raise StimulusError(
            f"film {name} cannot be read{where}: it is damaged, truncated or of another kind ({first_line(error)})"
        ) from None


def _pyav(name: str) -> Any:
    try:
        import av
    except ImportError:
        raise StimulusError(
            f"film {name} is read by PyAV, which is not installed: pip install 'netphys[video]'"
        ) from None
    return av


def _is_cover(stream: Any) -> bool:
    """Tell whether a stream is a picture that belongs to a sound file."""
    return "attached_pic" in str(getattr(stream, "disposition", "")).lower()


def _dropped(claimed: int) -> int:
    """Return how many frames a header may count that no packet holds: repeated ones, and those an edit list cuts."""
    return max(2, claimed // 100)
