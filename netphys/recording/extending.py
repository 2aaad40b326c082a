"""A finished recording gains the layers and the stimuli that it lacks: only what is missing is recorded.

What is there, the missing layers (of all stimuli) and the missing stimuli (of the layers that are there) are recordings
of one network, made in the same way; they are merged (:mod:`netphys.recording.file.merging`) and take the place of the
old file by one rename. The parts that are recorded lie in ``NAME.h5.extending/`` until then, so that a kill loses no
whole shard: the same call goes on.

A network that draws at random in eval mode would have drawn otherwise in one recording of everything, so its stimuli
cannot be added to.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import OptionError, RecordingError
from netphys.files import ensure_folder, remove_tree
from netphys.recording.file.merging import Missing, merge_recordings, missing_of
from netphys.recording.file.reading import Recording, load_recording
from netphys.recording.file.schema import opened, read_schema
from netphys.recording.file.texts import read_contents
from netphys.recording.gradients import SUFFIX
from netphys.recording.into_file import Job, held, into_file
from netphys.recording.passing import Pass

if TYPE_CHECKING:
    import torch

    from netphys.stimuli import StimulusSet

__all__ = ["Again", "extended"]

Again = Callable[["StimulusSet", Sequence[str]], Pass]  # the same pass, of other stimuli and layers
_OURS = re.compile(r"\.?(layers|stimuli)\.h5")  # parts, their shards, their locks
_MAY_DIFFER = ("layers", "metadata", "stimuli")  # of a plan


def extended(job: Job, again: Again) -> Recording:
    """Record what a finished recording lacks of what is wanted, and merge it into it.

    Raises
    ------
    OptionError
        If sinks are to be fed, which would see only a part.
    RecordingError
        If the file is of another network or made in another way; if layers are missing, and stimuli of the file are
        not among those that are shown; if stimuli are missing, and the network draws at random.
    """
    path, ranks = job.path, job.ranks
    if job.sinks:
        raise OptionError("a recording that is extended feeds no sinks: they would see only what is missing")
    with held(path, ranks):
        folder = path.with_name(path.name + ".extending")
        _require_ours(folder)
        return _extended(job, folder, again)


def _extended(job: Job, folder: Path, again: Again) -> Recording:
    """Do it, where no other process can write into the file."""
    run, path, ranks = job.run, job.path, job.ranks
    header, entries, there = read_schema(path, checked=True)
    _require_alike(run, path, header, there)
    missing = missing_of(path, [layer.name for layer in run.layers], run.stimuli.ids)
    if missing:
        absent = [each for each in there if each not in set(run.stimuli.ids)]
        if missing.layers and absent:
            raise RecordingError(
                f"{path} holds {len(absent)} stimuli that are not shown now, first {absent[0]!r}; "
                f"show them, too, to add the layer {missing.layers[0]!r}"
            )
        if missing.stimulus_ids:
            names = [each.name for each in entries if not each.name.endswith(SUFFIX)]
            _require_repeatable(again(run.stimuli, names))  # the layers that gain stimuli, whatever is wanted
        ensure_folder(folder)
        parts = _record_missing(job, folder, missing, [each.name for each in entries], again)
        if ranks.rank == 0:
            merge_recordings(
                [path, *parts], into=path, force=True, compression=job.compression, repeatable=True, is_held=True
            )
        ranks.share(None)
    if ranks.rank == 0:
        remove_tree(folder)
    return load_recording(path)


def _require_ours(folder: Path) -> None:
    """See that what lies where parts are recorded was left by an extension that was stopped.

    Raises
    ------
    RecordingError
        If it is a link, or a user's own.
    """
    if folder.is_symlink():
        raise RecordingError(f"{folder} is a link to elsewhere, which is not followed; remove it and record again")
    if not folder.exists():
        return
    odd = [folder.name] if not folder.is_dir() else sorted(x.name for x in folder.iterdir() if not _OURS.match(x.name))
    if odd:
        raise RecordingError(f"{folder} is in the way: {odd[0]} is nothing that netphys has written; move it elsewhere")


def _record_missing(job: Job, folder: Path, missing: Missing, there: Sequence[str], again: Again) -> list[Path]:
    """Record the missing layers of all stimuli, and the missing stimuli of the layers that are there."""
    shown, parts = job.run.stimuli, list[tuple[Path, "StimulusSet", Sequence[str]]]()
    if missing.layers:
        parts.append((folder / "layers.h5", shown, missing.layers))
    if missing.stimulus_ids:
        row = {each: place for place, each in enumerate(shown.ids)}
        parts.append((folder / "stimuli.h5", shown.subset([row[each] for each in missing.stimulus_ids]), there))
    for path, stimuli, layers in parts:
        run = again(stimuli, [each for each in layers if not each.endswith(SUFFIX)])
        into_file(replace(job, run=run, path=path, force=True))  # what other call has left there is of no use
    return [path for path, _, _ in parts]


def _require_alike(run: Pass, path: Path, header: Any, there: Sequence[str]) -> None:
    """See that a file was made in the same way, of the same things where they have one name."""
    plan = header.get("plan")
    if not isinstance(plan, dict):
        raise RecordingError(f"{path} does not say its plan (an earlier version made it) and cannot be extended")
    ours = json.loads(json.dumps(run.plan))
    differing = sorted(
        key for key in ours.keys() | plan.keys() if key not in _MAY_DIFFER and ours.get(key) != plan.get(key)
    )
    if differing:
        raise RecordingError(f"{path} was made with other {', '.join(differing)} and cannot be extended")
    with opened(path) as file:
        known = dict(zip(there, read_contents(path, file, len(there))))
    shown = dict(zip(run.stimuli.ids, json.loads(json.dumps(run.stimuli.contents))))
    for name in there:
        if name in shown and shown[name] != known.get(name):
            raise RecordingError(f"stimulus {name!r} is another than that of {path}, which cannot be extended")


def _require_repeatable(run: Pass) -> None:
    """See that the first batch is the same under another seed.

    Raises
    ------
    RecordingError
        If it is not: what a batch drew depends on the place that it had.
    """
    other = copy(run)
    other.seed = run.seed + 1
    first, second = (_first_batch(each) for each in (run, other))
    for layer, values in first.items():
        if not np.array_equal(values, second[layer], equal_nan=True):
            raise RecordingError(
                f"stimuli cannot be added: layer {layer!r} of {run.network.name} draws at random, and would have drawn "
                "otherwise in one recording of all"
            )


def _first_batch(run: Pass) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}

    def write(layer: str, rows: np.ndarray, activation: torch.Tensor) -> None:
        found[layer] = activation.detach().float().cpu().numpy().copy()

    for _ in run.batches(0, [write], stop=1):
        pass
    return found
