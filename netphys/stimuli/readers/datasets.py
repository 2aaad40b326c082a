"""A torch ``Dataset`` of images becomes stimuli, torchvision's sets by their names.

Its pictures are converted as files are (:mod:`netphys.stimuli.readers.decoding`); tensors and arrays are taken as they
are, uint8 or float in [0, 1]. Stimuli do not change from one reading to the next, so random transforms are refused.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from netphys.errors import NetphysError, StimulusError
from netphys.guards import first_line
from netphys.progress import bar
from netphys.stimuli.readers.folder import Found
from netphys.stimuli.readers.image_values import Layout, image_of
from netphys.stimuli.readers.torchvision_sets import torchvision_set
from netphys.stimuli.sources import gathered, value_digest

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_dataset", "read_torchvision"]

log = logging.getLogger(__name__)

_IMAGE_KEYS = ("image", "img", "images", "pixel_values", "jpg", "png")
_LABEL_KEYS = ("label", "labels", "target", "class", "cls")
_LABELS = ("targets", "labels", "_labels")  # what torchvision's sets call the labels that they keep
_FILES = ("samples", "imgs")  # pairs of a path and a label
_ONE = 1  # the part of a tuple that is its label, as torchvision's items have it
_PROBES = 4  # times that an item is read: a flip of probability 1/2 is missed once in 8 at one item, 1/512 at three


def read_dataset(
    dataset: Any,
    *,
    image: int | str = 0,
    label: int | str = 1,
    ids: Sequence[str] | None = None,
    metadata: pd.DataFrame | None = None,
    name: str | None = None,
    layout: Layout | None = None,
) -> Found:
    """Take a torch ``Dataset`` of images.

    Parameters
    ----------
    dataset : torch.utils.data.Dataset
        With ``len()`` and ``[index]``; an item is an image, a tuple that holds it, or a dict. An image is a PIL image,
        or a uint8 or float tensor or array: (3, y, x), (y, x, 3), (y, x), also of 1 or 4 channels.
    image, label : int or str
        Which part of an item they are: its place, or its key in a dict (default there: ``"image"``, ``"label"`` and
        usual names beside them). Where `label` is left at its default and items are tuples, the list that the set
        keeps (``.targets``, ``.labels``, ``.samples``) is taken, if five items spread over it say the same; any other
        label is read from every item in one pass.
    ids : sequence of str, optional
        Default: the column ``stimulus_id`` of `metadata`; else for a set of files (``.samples`` as ImageFolder has)
        their paths below its root; else ``"0"``, ``"1"``, ...
    metadata : pandas.DataFrame, optional
        One row an item; its columns win over the set's own.
    name : str, optional
        What figures and messages call it. Default: its class.
    layout : {"CHW", "HWC"}, optional
        Where arrays have their colours, if their shape leaves it open.

    Returns
    -------
    Found
        Field ``image``: uint8 (n, 3, y, x), or float32 in [0, 1] where items are float. Columns ``stimulus_id``,
        ``file`` (for a set of files), ``label`` (int or float) and ``category``: the label where it is text, else its
        name in ``dataset.classes``, unless `label` names one of several parts, which the classes may not be of.

    Raises
    ------
    StimulusError
        If the set cannot be indexed, its items hold no image or not the part that `label` names, `ids` or `metadata`
        are of another length, or an item read again is another one (random transforms; three items are read four
        times).
    OptionError
        If `layout` is not one of the two.

    Notes
    -----
    PIL images give the pixels, and so the digest, that :meth:`StimulusSet.from_folder` gives for their files, as far
    as the set's own loader leaves them whole: torchvision's ``default_loader`` drops alpha and clips 16 bit.
    """
    name = name or type(dataset).__name__
    n = _checked_length(dataset, name)
    source = Items(dataset, n, image=image, layout=layout, name=name)
    source.require_constant()
    files = _files(dataset, n)
    table = _labels(dataset, source, label)
    if files is not None:
        table.insert(0, "file", files)
    if metadata is not None:
        if len(metadata) != n:
            raise StimulusError(f"{name} has {n} items but {len(metadata)} rows of metadata")
        for column in metadata.columns:
            table[column] = metadata[column].to_numpy()
    if ids is not None:
        if len(ids) != n:
            raise StimulusError(f"{name} has {n} items but {len(ids)} ids")
        table["stimulus_id"] = [str(each) for each in ids]
    elif "stimulus_id" not in table:
        table.insert(0, "stimulus_id", files if files is not None else [str(index) for index in range(n)])
    return Found(source, table, name)


def read_torchvision(name: str, root: Path | str, *, download: bool | str = False, **options: Any) -> Found:
    """Take one of torchvision's sets.

    Parameters
    ----------
    name : str
        The class in ``torchvision.datasets``, as ``CIFAR10``.
    root : Path
        The folder that its files lie in, or come to.
    download : bool
        Fetch what is not there, from where torchvision fetches it, checked by its sums.
    **options
        Those of the class (``train``, ``split``, ...), also as text (``"false"``), as addresses have them; and those of
        :func:`read_dataset`.

    Returns
    -------
    Found
        As of :func:`read_dataset`.

    Raises
    ------
    StimulusError
        If there is no such set, its files are not there, damaged, or cannot be fetched, or :func:`read_dataset` does
        not take it.
    OptionError
        If the class takes no such option or value.
    """
    ours = {key: options.pop(key) for key in ("image", "label", "ids", "metadata", "layout") if key in options}
    ours = {key: int(each) if isinstance(each, str) and each.isdecimal() else each for key, each in ours.items()}
    return read_dataset(torchvision_set(name, root, download=download, **options), name=name, **ours)


class Items:
    """Images of a dataset; see :class:`~netphys.stimuli.sources.Source`.

    Parameters
    ----------
    dataset : torch.utils.data.Dataset
    n : int
        Items.
    image : int or str
        Which part of an item is the image.
    layout : {"CHW", "HWC"}, optional
    name : str
        What messages call the set.
    """

    fields = ("image",)

    def __init__(self, dataset: Any, n: int, *, image: int | str, layout: Layout | None, name: str) -> None:
        self._dataset, self._n, self._part, self._layout, self.name = dataset, n, image, layout, name
        self._lock = threading.Lock()  # datasets that keep a file open are not made for two threads
        self._said: dict[int, tuple[str, ...]] = {}

    def __len__(self) -> int:
        return self._n

    def read(self, field: str, indices: np.ndarray) -> Any:
        return gathered([self._image(int(index)) for index in indices])

    def digests(self, indices: np.ndarray) -> list[Any]:
        result = []
        with bar(len(indices), label="reading stimuli") as progress:
            for index in indices:
                result.append(value_digest(self._image(int(index))))
                progress.update(1)
        return result

    def conversions(self, indices: np.ndarray) -> list[tuple[str, ...]]:
        """Say what was done to some images; reads those that nobody has read yet."""
        for index in indices:
            if int(index) not in self._said:
                self._image(int(index))
        return [self._said[int(index)] for index in indices]

    def item(self, index: int) -> Any:
        """Read an item as the dataset gives it; a StimulusError names the one that cannot be read."""
        try:
            with self._lock:
                return self._dataset[index]
        except NetphysError:
            raise
        except Exception as error:  # a dataset is a stranger's code
            raise StimulusError(f"{self.name}: item {index} cannot be read ({first_line(error)})") from error

    def require_constant(self) -> None:
        """Refuse a set whose items change from one reading to the next."""
        import torch

        with torch.random.fork_rng(devices=[]):
            for index in sorted({0, self._n // 2, self._n - 1}):
                first = value_digest(self._image(index))
                if any(value_digest(self._image(index)) != first for _ in range(_PROBES - 1)):
                    raise StimulusError(
                        f"{self.name}: item {index}, read again, is another image; leave out random transforms "
                        "(a stimulus is the same each time it is shown)"
                    )

    def _image(self, index: int) -> np.ndarray:
        value = part_of(self.item(index), self._part, _IMAGE_KEYS, f"{self.name}: item {index}", "image")
        pixels, self._said[index] = image_of(value, f"{self.name}: item {index}", layout=self._layout)
        return pixels


def part_of(item: Any, part: int | str, usual: Sequence[str], where: str, option: str) -> Any:
    """Return one part of an item.

    Parameters
    ----------
    item : object
        A dict, a tuple, or an image by itself.
    part : int or str
        Place or key; in a dict a place stands for the usual keys.
    usual : sequence of str
    where, option : str
        For messages: which item, and how the user says another part.

    Returns
    -------
    object
        As the item has it.

    Raises
    ------
    StimulusError
        If the item has no such part.
    """
    if isinstance(item, Mapping):
        keys = [part] if part in item else [key for key in usual if key in item] if isinstance(part, int) else []
        if not keys:
            listed = ", ".join(repr(each) for each in list(item)[:12])
            raise StimulusError(f"{where} holds no {option}: it has {listed}; {option}= names one")
        return item[keys[0]]
    if isinstance(item, tuple | list):
        if not isinstance(part, int) or not -len(item) <= part < len(item):
            raise StimulusError(f"{where} has {len(item)} parts, no {part!r}; {option}= says which one, 0 is the first")
        return item[part]
    if option != "image" or part not in (0, "image"):
        raise StimulusError(
            f"{where} is one value, {type(item).__name__}, without parts; {option}={part!r} is not there"
        )
    return item


def _checked_length(dataset: Any, name: str) -> int:
    """See that a dataset can be indexed, and return how many items it has."""
    from torch.utils.data import DataLoader, IterableDataset

    if isinstance(dataset, DataLoader):
        raise StimulusError(f"{name} is a DataLoader; give its dataset (loader.dataset), without random transforms")
    if isinstance(dataset, IterableDataset):
        raise StimulusError(f"{name} is an IterableDataset, whose items have no number; give a Dataset with [index]")
    if isinstance(dataset, str | bytes | PurePath | Mapping) or not hasattr(dataset, "__getitem__"):
        raise StimulusError(f"a torch Dataset is wanted, with len() and [index], not {type(dataset).__name__}")
    try:
        n = len(dataset)
    except Exception as error:  # torch's Dataset leaves len() to whoever writes one
        raise StimulusError(
            f"{name} does not say how many items it has ({first_line(error)}); len() is wanted"
        ) from None
    if not n:
        raise StimulusError(f"{name} holds no item")
    return n


def _kept_by(dataset: Any, names: Sequence[str], n: int) -> Any:
    """Return a list that a dataset keeps of its items; of a Subset that of its dataset, selected."""
    from torch.utils.data import Subset

    if isinstance(dataset, Subset):
        inner = _kept_by(dataset.dataset, names, len(dataset.dataset))  # type: ignore[arg-type]
        return None if inner is None else [inner[index] for index in dataset.indices]
    for each in names:
        kept = getattr(dataset, each, None)
        if kept is not None and hasattr(kept, "__len__") and len(kept) == n and not isinstance(kept, str | Mapping):
            return kept
    return None


def _inner(dataset: Any) -> Any:
    from torch.utils.data import Subset

    return _inner(dataset.dataset) if isinstance(dataset, Subset) else dataset


def _files(dataset: Any, n: int) -> list[str] | None:
    """Return the paths of a set of files below its root, if it has such."""
    samples = _kept_by(dataset, _FILES, n)
    root = getattr(_inner(dataset), "root", None)
    if samples is None or not isinstance(root, str | PurePath):
        return None
    paths = [each[0] if isinstance(each, tuple | list) and each else each for each in samples]
    if not all(isinstance(each, str | PurePath) for each in paths):
        return None
    files = [PurePath(os.path.relpath(each, root)).as_posix() for each in paths]
    return None if any(each.startswith("../") for each in files) or len(set(files)) < n else files


def _labels(dataset: Any, source: Items, label: int | str) -> pd.DataFrame:
    """Return the columns ``label`` and ``category``, as far as there are labels."""
    import pandas as pd

    table = pd.DataFrame(index=range(len(source)))
    item = source.item(0)
    said, first = _label_of(item, label, source)
    if said == "none":
        return table
    default = label == _ONE and isinstance(item, tuple | list)
    values = _known_labels(dataset, source, first) if default else None
    if values is None:
        values = _in_one_pass(source, label)
    if values is None:
        return table
    if not all(isinstance(each, int) for each in values):
        table["category" if isinstance(first, str) else "label"] = values
        return table
    table["label"] = np.array(values, dtype=np.int64)
    classes = [_class_name(each) for each in getattr(_inner(dataset), "classes", None) or []]
    # of an item's several parts the classes name the usual one, and nothing says whether another one too
    named = label == _ONE or label in _LABEL_KEYS or len(item) == 2
    if named and classes and all(0 <= each < len(classes) for each in values):
        table["category"] = [classes[each] for each in values]
    return table


def _label_of(item: Any, label: int | str, source: Items) -> tuple[Literal["none", "label"], Any]:
    """Return an item's label as a plain value; where it has none by default, say so."""
    if label == _ONE and not isinstance(item, Mapping | tuple | list):
        return "none", None
    if label == _ONE and isinstance(item, tuple | list) and len(item) < 2:
        return "none", None
    if label == _ONE and isinstance(item, Mapping) and 1 not in item and not any(key in item for key in _LABEL_KEYS):
        return "none", None
    value = _plain(part_of(item, label, _LABEL_KEYS, f"{source.name}: an item", "label"))
    if value is None and label == _ONE:  # boxes, masks, captions: parts, but no label
        return "none", None
    if value is None:
        raise StimulusError(f"{source.name}: label={label!r} is no number and no text")
    return "label", value


def _known_labels(dataset: Any, source: Items, first: Any) -> list[Any] | None:
    """Return the labels that a dataset keeps, if spread items say them too: the list may be of something else."""
    n = len(source)
    kept = _kept_by(dataset, _LABELS, n)
    if kept is None:
        samples = _kept_by(dataset, _FILES, n)
        pairs = samples is not None and all(isinstance(each, tuple | list) and len(each) == 2 for each in samples)
        kept = [each[1] for each in samples] if pairs and samples is not None else None
    if kept is None or getattr(_inner(dataset), "target_transform", None) is not None:
        return None
    values = [_plain(each) for each in (kept.tolist() if hasattr(kept, "tolist") else kept)]
    if values[0] != first or any(type(each) is not type(first) for each in values):
        return None
    spread = sorted({n // 4, n // 2, 3 * n // 4, n - 1})
    return values if all(_label_of(source.item(each), _ONE, source)[1] == values[each] for each in spread) else None


def _in_one_pass(source: Items, label: int | str) -> list[Any] | None:
    """Read every item for its label."""
    values = []
    with bar(len(source), label="reading labels", unit="item") as progress:
        for index in range(len(source)):
            values.append(_label_of(source.item(index), label, source)[1])
            progress.update(1)
    if any(type(each) is not type(values[0]) for each in values):
        log.warning("%s: labels are of several kinds and left out", source.name)
        return None
    return values


def _plain(value: Any) -> Any:
    """Return a label as int, float or str; None if it is none of them."""
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        value = value.item()
    if isinstance(value, bool | int):
        return int(value)
    return value if isinstance(value, float | str) else None


def _class_name(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
