"""An address becomes a StimulusSet: what lies in files, ``world:scenes?n=200``, ``classic:gratings?size=64``.

Options that every address takes: ``where`` (a condition on the metadata), ``variant`` (``phase_scrambled(n=2)``),
``treatment`` (``grey() | resize(224)``); they are done in this order.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from netphys.addresses import Query, integer, number, split_address
from netphys.errors import AddressError, StimulusError, near
from netphys.stimuli.readers.kinds import CLIP_SUFFIXES
from netphys.stimuli.stimulus_set import StimulusSet

__all__ = ["as_stimuli", "load_stimuli"]

_HDF5 = (".h5", ".hdf5", ".mat")
_CLIPS = {"length": integer(1), "step": integer(1), "every": integer(1), "start": integer(0), "stop": integer(1)}


def load_stimuli(address: str | Path, *, seed: int = 0, skip_broken: bool = False) -> StimulusSet:
    """Load the stimuli that an address leads to.

    Parameters
    ----------
    address : str
        - a folder of images, sounds or texts, or a zip of one; ``fields=image=color,depth=depth:values`` names the
          columns of ``metadata.csv`` that hold files; ``left`` and ``right`` (and ``disparity``) make pairs for two
          eyes; ``length`` (and ``step``, ``every``) make clips of a folder of frames; ``rate`` resamples sounds
        - a film (``.mp4`` ...), with ``length``, ``step``, ``every``, ``start``, ``stop``; ``frames=true``: each frame
        - an HDF5 file, ours or (``dataset``, ``ids``, ``order``) a stranger's
        - a BrainIO set: its CSV, with ``archive`` where the zip does not lie beside it
        - a text (``.txt``), with ``unit``
        - ``torchvision:CIFAR10?root=DIR&train=false``
        - ``world:scenes`` with ``n`` (default 200), ``size`` (pixels, default 64), ``seed`` and ``first`` (the index
          of the first scene, default 0)
        - ``classic:gratings?orientation=0:180:15``: the stimuli of physiology (:mod:`netphys.stimuli.classic`)

        Every address takes ``where``, ``variant``, ``treatment``, then ``frames=true`` (each frame of a clip is an
        image) or ``field=left`` (another field is the image), done in this order.
    seed : int
        The seed of generated stimuli whose address names none.
    skip_broken : bool
        Leave out stimuli that cannot be decoded, and log how many.

    Raises
    ------
    AddressError, StimulusError
        If the address leads nowhere or the stimuli cannot be read.

    Examples
    --------
    >>> load_stimuli("world:scenes?n=4&size=32")  # doctest: +ELLIPSIS
    StimulusSet(world:scenes: 4 stimuli; ...)
    >>> len(load_stimuli("classic:gratings?orientation=0:180:45&spatial_frequency=0.1&size=64"))
    4
    """
    body, query = split_address(str(address))
    steps = {key: query.take(key, _said, "") for key in ("where", "variant", "treatment", "field")}
    frames = query.take("frames", _yes, False)
    shown = _opened(body, query, seed, skip_broken, frames)
    query.finish()
    if steps["where"]:
        shown = shown.where(steps["where"])
    if steps["variant"]:
        from netphys.stimuli.classic.variants import make_variant

        shown = make_variant(shown, steps["variant"], seed=seed)
    if steps["treatment"]:
        shown = shown.treated(steps["treatment"])
    if frames and "image" not in shown.fields:
        shown = shown.frames()
    if steps["field"]:
        shown = shown.as_image(steps["field"])
    shown.address = str(address)
    return shown


def as_stimuli(stimuli: Any) -> StimulusSet:
    """Accept an address, images as an array or tensor (stimulus, 3, y, x), or a torch Dataset, as a StimulusSet.

    Raises
    ------
    StimulusError
        If it is none of them.
    """
    if isinstance(stimuli, StimulusSet):
        return stimuli
    if isinstance(stimuli, str | Path):
        return load_stimuli(stimuli)
    if hasattr(stimuli, "shape"):
        return StimulusSet.from_arrays(stimuli)
    if hasattr(stimuli, "__getitem__") and hasattr(stimuli, "__len__") and not isinstance(stimuli, list | tuple | dict):
        return StimulusSet.from_dataset(stimuli)
    kind = type(stimuli).__name__
    raise StimulusError(
        f"stimuli are a StimulusSet, an address, an array of images (stimulus, 3, y, x) or a torch Dataset, not {kind}"
    )


def _said(text: str) -> str:
    if not text.strip():
        raise ValueError("nothing is said")
    return text


def _yes(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("true or false")
    return text == "true"


def _opened(body: str, query: Query, seed: int, skip_broken: bool, frames: bool) -> StimulusSet:
    """Open what the body of an address says; each reader takes its options from the query."""
    scheme, colon, name = body.partition(":")
    if colon and scheme in _SCHEMES:
        return _SCHEMES[scheme](name, query, seed)
    path = Path(body)
    if path.is_dir() or (path.is_file() and path.suffix.lower() == ".zip"):
        return _folder(path, query, skip_broken)
    if path.is_file():
        return _file(path, query, skip_broken, frames)
    if "*" in body:
        raise AddressError(
            f"{body!r} is a pattern; name the folder, and say which images by where=, or by metadata.csv"
        )
    if colon and "/" not in scheme and "." not in scheme:
        raise AddressError(f"no kind of stimuli {scheme!r} in {body!r}{near(scheme, _SCHEMES)}")
    raise AddressError(
        f"no stimuli at {query.address!r}: there is no such folder or file below {Path.cwd()}, and it is not "
        "world:scenes?n=100 or classic:gratings"
    )


def _folder(path: Path, query: Query, skip_broken: bool) -> StimulusSet:
    """Read a folder or a zip: of single stimuli, of pairs, of frames that make clips, of sounds at one rate."""
    fields = query.take("fields", _fields, None)
    left, right = (query.take(key, str, "") for key in ("left", "right"))
    disparity = query.take("disparity", str, "")
    clips = _options(query, {**_CLIPS, "frame_rate": number})
    rate = query.take("rate", integer(1, 1_000_000), None)
    chosen = [bool(left or right or disparity), bool(clips), rate is not None]
    if sum(chosen) > 1:
        raise AddressError(
            f"{query.address!r}: pairs (left, right), clips (length) and sounds (rate) exclude each other"
        )
    if chosen[0]:
        pairs = {"left": left or "left", "right": right or "right", "disparity": disparity or None}
        return StimulusSet.from_stereo(path, **pairs, fields=fields, skip_broken=skip_broken)
    if chosen[1]:
        return StimulusSet.from_video(path, **clips)
    if chosen[2]:
        return StimulusSet.from_sounds(path, rate=rate, fields=fields, skip_broken=skip_broken)
    return StimulusSet.from_folder(path, fields=fields, skip_broken=skip_broken)


def _file(path: Path, query: Query, skip_broken: bool, frames: bool) -> StimulusSet:
    """Read a file that holds a whole set."""
    suffix = path.suffix.lower()
    if suffix in _HDF5:
        return StimulusSet.from_hdf5(path, **_options(query, dict.fromkeys(("dataset", "ids", "order"), str)))
    if suffix == ".csv":
        return StimulusSet.from_brainio(path, query.take("archive", str, None), skip_broken=skip_broken)
    if suffix in CLIP_SUFFIXES:
        options = _options(query, _CLIPS)
        return StimulusSet.from_video(path, frames=frames and not {"length", "every"} & options.keys(), **options)
    if suffix == ".txt":
        return StimulusSet.from_text(path, **_options(query, {"unit": str}))
    raise StimulusError(
        f"{path} is a file; stimuli are a folder of images, a zip of one, an HDF5 file, a BrainIO CSV, a film, a text, "
        "or world:scenes?n=100"
    )


def _options(query: Query, known: dict[str, Callable[[str], Any]]) -> dict[str, Any]:
    """Take the options that the address names; the reader has defaults for the others."""
    taken = {key: query.take(key, convert, None) for key, convert in known.items()}
    return {key: value for key, value in taken.items() if value is not None}


def _fields(text: str) -> dict[str, str]:
    """Read ``image=color,depth=depth:values``."""
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(field and equals and column for field, equals, column in pairs):
        raise ValueError("say FIELD=COLUMN or FIELD=COLUMN:KIND, several with commas")
    return {field: column for field, _, column in pairs}


def _world(name: str, query: Query, seed: int) -> StimulusSet:
    from netphys.stimuli.scene_sets import load_world

    return load_world(name, query, seed=seed)


def _classic(name: str, query: Query, seed: int) -> StimulusSet:
    from netphys.stimuli.classic.addresses import load_classic

    return load_classic(name, query, seed=seed)


def _torchvision(name: str, query: Query, seed: int) -> StimulusSet:
    root = query.take("root", str, "")
    if not root:
        raise AddressError(f"{query.address!r} does not say where the set lies; add ?root=FOLDER")
    options = dict(query.values)  # torchvision's own options: the reader checks them against its signature
    query.values.clear()
    return StimulusSet.from_torchvision(name, root, **options)


_SCHEMES = {"world": _world, "classic": _classic, "torchvision": _torchvision}
