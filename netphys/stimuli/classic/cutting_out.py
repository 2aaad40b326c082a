"""Cut-outs: sets of objects with a field ``mask`` that says what of each image is the object.

From arrays with an alpha channel, from a folder of transparent PNGs, or cut out of images by masks, as those of
``world:scenes``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netphys.errors import StimulusError, near
from netphys.stimuli.classic.limits import counted
from netphys.stimuli.classic.varied import Stimuli, as_set
from netphys.stimuli.readers.decoding import IMAGE_SUFFIXES, MAX_PIXELS, opened
from netphys.stimuli.sources import gathered, value_digest
from netphys.stimuli.stimulus_set import StimulusSet

__all__ = ["as_cutouts", "cutouts_from_arrays", "cutouts_from_folder", "cutouts_from_masks"]

_BATCH = 64  # masks read at once


def cutouts_from_arrays(
    pictures: Sequence[Any], *, ids: Sequence[str] | None = None, categories: Sequence[str] | None = None
) -> StimulusSet:
    """Make cut-outs of pictures with an alpha channel.

    Parameters
    ----------
    pictures : sequence of array (4, y, x) or (y, x, 4)
        Red, green, blue and alpha: uint8, or float in [0, 1]; of any sizes.
    ids : sequence of str, optional
        Names of the objects. Default: ``"0"``, ``"1"``, ...
    categories : sequence of str, optional
        Column ``category``.

    Returns
    -------
    StimulusSet
        Fields ``image`` and ``mask`` (y, x) float32 in [0, 1].

    Raises
    ------
    StimulusError
        If a picture has no four channels.
    """
    import pandas as pd

    images, masks = [], []
    for index, picture in enumerate(pictures):
        values = torch.as_tensor(np.asarray(picture))
        if values.ndim == 3 and values.shape[0] != 4 and values.shape[2] == 4:
            values = values.permute(2, 0, 1)
        if values.ndim != 3 or values.shape[0] != 4:
            raise StimulusError(f"picture {index} is {tuple(values.shape)}; a cut-out is (4, y, x): colours and alpha")
        images.append(values[:3].contiguous())
        masks.append(_share(values[3]))
    names = [str(index) for index in range(len(images))] if ids is None else [str(each) for each in ids]
    table = pd.DataFrame({"stimulus_id": names, "object": names})
    if categories is not None:
        table["category"] = list(categories)
    return StimulusSet.from_arrays(images, metadata=table, fields={"mask": masks}, name="cut-outs")


def cutouts_from_folder(folder: Path | str) -> StimulusSet:
    """Read a folder of transparent pictures, ``object.png`` or ``category/object.png``, when they are asked for.

    Parameters
    ----------
    folder : Path
        Pictures with an alpha channel; other files are not looked at, nor are deeper folders.

    Returns
    -------
    StimulusSet
        Fields ``image`` uint8 and ``mask`` (y, x) float32 in [0, 1]; columns ``object``, ``category``.

    Raises
    ------
    StimulusError
        If the folder is absent or holds no picture; when it is read, if a picture is broken or not transparent.
    """
    import pandas as pd

    root = Path(folder)
    if not root.is_dir():
        raise StimulusError(f"no folder of cut-outs at {root}")
    files = sorted(
        file
        for pattern in ("*", "*/*")
        for file in root.glob(pattern)
        if file.is_file() and file.suffix.lower() in IMAGE_SUFFIXES
    )
    if not files:
        raise StimulusError(f"{root} holds no pictures, as object.png or category/object.png")
    names = [file.relative_to(root).with_suffix("").as_posix() for file in files]
    table = pd.DataFrame({"stimulus_id": names, "object": [file.stem for file in files]})
    if all("/" in name for name in names):
        table["category"] = [file.parent.name for file in files]
    return StimulusSet(_Pictures(root, files), table, name=root.name)


def cutouts_from_masks(stimuli: Stimuli, *, field: str = "masks", slot: int = 0, smallest: int = 64) -> StimulusSet:
    """Cut objects out of images by their masks: one of each image, where it is whole and large enough.

    Parameters
    ----------
    stimuli : StimulusSet or address
        With images, and masks (y, x) or (slot, y, x).
    field : str
        The field of the masks; all are read once, to know which objects there are.
    slot : int
        Which mask, where a stimulus has several.
    smallest : int
        Pixels that an object has at least. One that touches the image's border is not whole, and left out.

    Returns
    -------
    StimulusSet
        Fields ``image`` and ``mask``, cut to the box around the object and one pixel more; the original's columns.

    Raises
    ------
    StimulusError
        If there is no such field, or no object that is whole and large enough.
    """
    stimuli = as_set(stimuli)
    if field not in stimuli.fields:
        raise StimulusError(f"{stimuli.name} has no field {field!r}{near(field, stimuli.fields)}")
    boxes: dict[int, tuple[slice, slice]] = {}
    for start in range(0, len(stimuli), _BATCH):
        rows = range(start, min(start + _BATCH, len(stimuli)))
        for row, mask in zip(rows, stimuli.get(rows, field), strict=True):
            shown = _of_slot(mask, slot) > 0.5
            border = shown[0].any() or shown[-1].any() or shown[:, 0].any() or shown[:, -1].any()
            if int(shown.sum()) >= max(1, smallest) and not border:
                boxes[row] = _box(shown)
    if not boxes:
        raise StimulusError(
            f"{stimuli.name} has no object in {field} (slot {slot}) that is whole and has {counted(smallest, 'pixel')}"
        )
    table = stimuli.metadata.iloc[list(boxes)].reset_index(drop=True).drop(columns="file", errors="ignore")
    return StimulusSet(_Cut(stimuli, field, slot, boxes), table, name=f"cut-outs of {stimuli.name}")


def as_cutouts(cutouts: Any) -> StimulusSet:
    """Accept cut-outs as a set, an address, a folder of transparent pictures, or pictures with an alpha channel.

    Parameters
    ----------
    cutouts : StimulusSet, address, array or sequence of array
        A folder that has no ``metadata.csv`` is read by :func:`cutouts_from_folder`, any other address as it is
        elsewhere; arrays by :func:`cutouts_from_arrays`.

    Raises
    ------
    StimulusError
        If there is no field ``mask``; of a folder, if its first picture is not transparent anywhere.
    """
    if isinstance(cutouts, str | Path) and Path(cutouts).is_dir() and not (Path(cutouts) / "metadata.csv").is_file():
        found = cutouts_from_folder(cutouts)
        found.get([0], "mask")  # no need to wait until all is set up
        return found
    if hasattr(cutouts, "shape") or isinstance(cutouts, list | tuple):
        return cutouts_from_arrays(cutouts)
    found = as_set(cutouts)
    if "mask" not in found.fields:
        made = "; cutouts_from_masks cuts them out" if "masks" in found.fields else near("mask", found.fields)
        raise StimulusError(f"{found.name} has no field 'mask' that says what the object is{made}")
    return found


class _Pictures:
    """A source of transparent pictures in files."""

    fields = ("image", "mask")

    def __init__(self, root: Path, files: Sequence[Path]) -> None:
        self._root, self._files = root, list(files)

    def read(self, field: str, indices: np.ndarray) -> Any:
        return gathered([self._decoded(self._files[int(index)])[field] for index in indices])

    def digests(self, indices: np.ndarray) -> list[Any]:
        each = (self._decoded(self._files[int(index)]) for index in indices)
        return [{field: value_digest(value) for field, value in one.items()} for one in each]

    def _decoded(self, file: Path) -> dict[str, Tensor]:
        name = file.relative_to(self._root).as_posix()
        try:
            with opened(file) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    raise StimulusError(f"cut-out {name} has more pixels than {MAX_PIXELS}")
                if "A" not in picture.getbands() and "transparency" not in picture.info:
                    raise StimulusError(f"cut-out {name} is not transparent anywhere: it has no alpha channel")
                values = torch.from_numpy(np.asarray(picture.convert("RGBA")).transpose(2, 0, 1).copy())
        except StimulusError:
            raise
        except Exception as error:  # PIL's plug-ins raise anything on broken files
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise StimulusError(f"cut-out {name} is broken: {reason}") from None
        return {"image": values[:3], "mask": _share(values[3])}


class _Cut:
    """A source of objects cut out of the images of a set."""

    fields = ("image", "mask")

    def __init__(self, stimuli: StimulusSet, field: str, slot: int, boxes: dict[int, tuple[slice, slice]]) -> None:
        self._stimuli, self._field, self._slot = stimuli, field, slot
        self._boxes = list(boxes.items())

    def read(self, field: str, indices: np.ndarray) -> Any:
        chosen = [self._boxes[int(index)] for index in indices]
        values = self._stimuli.get([row for row, _ in chosen], "image" if field == "image" else self._field)
        if field == "mask":
            values = [_of_slot(each, self._slot).to(torch.float32) for each in values]
        return gathered([value[..., rows, columns] for value, (_, (rows, columns)) in zip(values, chosen, strict=True)])

    def digests(self, indices: np.ndarray) -> list[Any]:
        chosen = [self._boxes[int(index)] for index in indices]
        return [
            [self._stimuli[row].digest, self._field, self._slot, rows.start, rows.stop, columns.start, columns.stop]
            for row, (rows, columns) in chosen
        ]


def _share(alpha: Tensor) -> Tensor:
    """Alpha as a share, float32 in [0, 1]."""
    return alpha.to(torch.float32) / 255 if alpha.dtype == torch.uint8 else alpha.to(torch.float32)


def _of_slot(mask: Any, slot: int) -> Tensor:
    """One mask (y, x) of a stimulus."""
    values = torch.as_tensor(mask)
    if values.ndim == 3:
        if not -len(values) <= slot < len(values):
            raise StimulusError(f"slot={slot}: a stimulus has {counted(len(values), 'mask')}")
        values = values[slot]
    return values


def _box(shown: Tensor) -> tuple[slice, slice]:
    """The box around pixels that do not touch the border, and one pixel more."""
    rows, columns = (torch.nonzero(shown.any(axis)).flatten() for axis in (1, 0))
    return slice(int(rows[0]) - 1, int(rows[-1]) + 2), slice(int(columns[0]) - 1, int(columns[-1]) + 2)
