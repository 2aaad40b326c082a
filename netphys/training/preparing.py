"""What a training is made of, put together and checked before anything is trained, and the plan that says it all."""

from __future__ import annotations

import copy
import inspect
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from netphys.devices import resolve_device
from netphys.errors import OptionError, TrainingError, near
from netphys.networks import Network, Preprocess, as_network, head_of, without_head
from netphys.networks.state import callable_digest, classes_digest
from netphys.objectives import OBJECTIVES, make_objective
from netphys.objectives.contract import Couples, Objective
from netphys.provenance import code_digest, digest, versions
from netphys.recording.plan import numerics
from netphys.seeds import derive_seed, forked_torch
from netphys.stimuli import as_stimuli
from netphys.training.batches import split
from netphys.training.engine import n_ranks, resolve_precision
from netphys.training.images import Sizer

if TYPE_CHECKING:
    from netphys.stimuli import StimulusSet

__all__ = ["Asked", "Setup", "build", "prepare"]

RATE = 1e-3  # of AdamW, for small convolutional trunks and batches of some hundred
_EVALUATED = 512  # held-out stimuli that an evaluation shows: measures of collapse need as many
_CODE = (
    "training/batches", "training/images", "training/engine", "training/evaluation", "training/loop",
    "training/optimizers", "training/preparing", "training/schedule", "training/trainer", "training/checkpoints",
    "objectives", "ranks", "seeds", "colorimetry", "framing", "resampling", "networks/preprocessing", "networks/heads",
    "stimuli/views", "stimuli/view_tables", "stimuli/colour_jitter", "stimuli/resizing", "stimuli/world/hashing",
)  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """What was asked for, as :func:`netphys.training.train` takes it."""

    n_steps: int = 500
    batch_size: int = 128
    rate: float | None = None
    weight_decay: float = 0.05
    warm_up: float = 0.05
    labels: str = "category"
    held_out: float | int = 0.1
    evaluate_every: int | None = None
    size: int | None = None
    precision: str = "auto"
    device: str = "auto"
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    callbacks: Sequence[Callable[..., Any]] = ()

    def __post_init__(self) -> None:
        for name in ("n_steps", "batch_size", "evaluate_every", "size"):
            value = getattr(self, name)
            if value is not None and (not _is_whole(value) or value < 1):
                raise OptionError(f"{name}={value!r}: a whole number from 1")
        if not _is_whole(self.seed):
            raise OptionError(f"seed={self.seed!r}: a whole number")
        if self.rate is not None and not (_is_number(self.rate) and self.rate > 0):
            raise OptionError(f"rate={self.rate!r}: above 0")
        if not (_is_number(self.weight_decay) and self.weight_decay >= 0):
            raise OptionError(f"weight_decay={self.weight_decay!r}: 0 or more")
        if not (_is_number(self.warm_up) and 0 <= self.warm_up < 1):
            raise OptionError(f"warm_up={self.warm_up!r} is no share of the steps in [0, 1)")
        most = float("inf") if _is_whole(self.held_out) else 1  # 1.0 could be meant either way
        if not (_is_number(self.held_out) and 0 < self.held_out < most):
            raise OptionError(
                f"held_out={self.held_out!r}: a share of the stimuli in (0, 1), or how many, as a whole number"
            )
        for name in ("labels", "precision", "device"):
            if not isinstance(getattr(self, name), str):
                raise OptionError(f"{name}={getattr(self, name)!r:.60}: a word")
        if not isinstance(self.options, Mapping):
            raise OptionError(f"options={self.options!r:.60}: a mapping of the objective's options")
        odd = next((each for each in self.callbacks if not callable(each)), None)
        if odd is not None:
            raise OptionError(f"callback {odd!r:.60} cannot be called")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True)
class Setup:
    """A training, ready to begin.

    Parameters
    ----------
    network : Network
        A copy without its head, as it will be trained; its preprocessing is the trained one's.
    objective : Objective
        Owns the module of `network` as its trunk.
    stimuli : StimulusSet
        What is shown.
    sizer : Sizer
        Brings its images to `size`, pixels (y, x).
    labels : array of int64, optional
        One a stimulus: numbers of `classes`.
    training, held_out : array of int
        Places in the set. Of those held out the first ``plan["n_evaluated"]`` are shown at an evaluation.
    callbacks : dict
        By name.
    plan : dict
        All that the result depends on.
    """

    network: Network
    objective: Objective
    stimuli: StimulusSet
    sizer: Sizer
    size: tuple[int, int]
    labels: np.ndarray | None
    classes: tuple[str, ...]
    training: np.ndarray
    held_out: np.ndarray
    callbacks: dict[str, Callable[..., Any]]
    plan: dict[str, Any]


class Normaliser:
    """What a network wants done to the colours of images in [0, 1], without a copy from the host at each call."""

    def __init__(self, preprocess: Preprocess) -> None:
        self._colour = Preprocess(colour=preprocess.colour)
        self._mean, self._std = (torch.tensor(each).view(3, 1, 1) for each in (preprocess.mean, preprocess.std))
        self._plain = preprocess.mean == (0.0, 0.0, 0.0) and preprocess.std == (1.0, 1.0, 1.0)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Return what the network sees."""
        values = self._colour.normalised(images)
        if self._plain:
            return values
        if self._mean.device != values.device:
            self._mean, self._std = self._mean.to(values.device), self._std.to(values.device)
        return (values - self._mean) / self._std


def prepare(objective: str | type[Objective], network: Any, stimuli: Any, asked: Asked) -> Setup:
    """Put a training together.

    Raises
    ------
    OptionError, TrainingError, AddressError, StimulusError
        Whatever is missing or does not fit, named before anything is trained.
    """
    kind = _kind(objective)
    given, shown = _learning(as_network(network, seed=asked.seed), kind), as_stimuli(stimuli)
    want = kind.preprocess(given.preprocess or Preprocess())  # type: ignore[arg-type]
    sizer = Sizer(asked.size, want)
    height, width = sizer(shown.images([0])).shape[-2:]
    size = (int(height), int(width))
    given = _headless(given, size)
    start = given.digest
    made = build(objective, given.module, size, want, asked.options, seed=asked.seed)
    labels, classes = _inputs(made, shown, asked.labels)
    name_classes: Any = getattr(made, "set_classes", None)
    if classes and name_classes is not None:
        name_classes(classes)
    n_held, n_evaluated = _held_out(made, len(shown), asked)
    training, held_out = split(len(shown), n_held, seed=asked.seed)
    callbacks = _named(asked.callbacks)
    device = resolve_device(asked.device)
    plan = {
        "objective": made.name or kind.__name__,
        "options": made.options(),
        **({} if _is_own(kind) else {"objective_source": _source_of(kind)}),
        "network": start,
        "stimuli": shown.digest,
        **(
            {"labels": asked.labels, "label_values": digest([list(classes), list(map(int, labels))])}
            if labels is not None
            else {}
        ),
        "n_steps": asked.n_steps,
        "batch_size": asked.batch_size,
        "rate": asked.rate or RATE,
        "weight_decay": asked.weight_decay,
        "warm_up": asked.warm_up,
        "n_held_out": n_held,
        "n_evaluated": n_evaluated,
        "evaluate_every": asked.evaluate_every or max(1, round(asked.n_steps / 10)),
        "size": list(size),
        "resized": asked.size is not None,
        "pixels": "uint8",
        "preprocess": want.to_dict(),
        "precision": resolve_precision(asked.precision, device),
        "device": device.type,
        "ranks": n_ranks(),
        **({"batch_norm": "synchronised" if device.type == "cuda" else "of each rank"} if n_ranks() > 1 else {}),
        "seed": asked.seed,
        **({"callbacks": {name: _said_by(name, each) for name, each in callbacks.items()}} if callbacks else {}),
        "numerics": numerics(device),
        "code": code_digest(*_CODE),
        "versions": {key: value for key, value in versions().items() if key.startswith(("torch", "numpy"))},
    }
    plan = json.loads(json.dumps(plan))  # as it comes back from a file
    trained = replace(given, preprocess=want, training=str(plan["objective"]))
    return Setup(trained, made, shown, sizer, size, labels, classes, training, held_out[:n_evaluated], callbacks, plan)


def build(
    objective: str | type[Objective],
    trunk: torch.nn.Module,
    size: tuple[int, int],
    want: Preprocess,
    options: Mapping[str, Any],
    *,
    seed: int,
) -> Objective:
    """Make an objective on a copy of a trunk; what it draws at random comes from the seed.

    `want` is what the trained network wants done to images. An objective that makes its own lightness of them is given
    mean and sd alone: lightness of lightness would be another image.
    """
    kind = _kind(objective)
    makes_colour = kind.preprocess(replace(want, colour="rgb")).colour != "rgb"
    normalise = Normaliser(replace(want, colour="rgb") if makes_colour else want)
    with forked_torch(derive_seed(seed, "objective")):
        if isinstance(objective, str):
            return make_objective(
                objective, copy.deepcopy(trunk), size=size, normalise=normalise, options=dict(options)
            )
        known = [name for name in inspect.signature(objective).parameters if name not in ("trunk", "size", "normalise")]
        odd = next((name for name in options if name not in known), None)
        if odd is not None:
            raise OptionError(f"{objective.name or objective.__name__} takes no option {odd!r}{near(odd, known)}")
        return kind(copy.deepcopy(trunk), size=size, normalise=normalise, **options)


def _kind(objective: str | type[Objective]) -> type[Objective]:
    """Find the class of an objective."""
    if isinstance(objective, str):
        if objective not in OBJECTIVES:
            raise OptionError(f"no objective {objective!r}{near(objective, OBJECTIVES)}")
        return OBJECTIVES[objective]
    if isinstance(objective, type) and issubclass(objective, Objective):
        return objective
    raise OptionError(f"an objective is a name ({', '.join(OBJECTIVES)}) or a class of its kind, not {objective!r:.60}")


def _is_own(kind: type[Objective]) -> bool:
    return kind.__module__.startswith("netphys.")


def _learning(network: Network, kind: type[Objective]) -> Network:
    """Copy what will learn."""
    name = kind.name or kind.__name__
    if network.preprocess is not None and not isinstance(network.preprocess, Preprocess):
        raise TrainingError(
            f"{network.name} prepares its images by {network.preprocess!r:.60}; to train it, say it as Preprocess(...)"
        )
    if not any(each.requires_grad for each in network.module.parameters()):
        raise TrainingError(f"{network.name} has no parameters to be trained by {name}")
    module = copy.deepcopy(network.module).to("cpu")
    return replace(network, module=module.eval())


def _headless(network: Network, size: tuple[int, int]) -> Network:
    """Take off the head of a classifier that looks at images of this size."""
    if not any(isinstance(each, torch.nn.Linear) for each in network.module.modules()):
        return network
    sized = replace(network, preprocess=Preprocess(resize=size))
    return replace(without_head(sized), preprocess=network.preprocess) if head_of(sized) else network


def _inputs(objective: Objective, stimuli: StimulusSet, column: str) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """See that the stimuli have what the objective needs; return labels, if it needs any, and their names."""
    kinds = {spec.kind for spec in objective.needs.values()}
    odd = sorted(kinds - {"image", "label"})
    if odd:
        raise TrainingError(f"{objective.name} needs {odd[0]!r}, which {stimuli.name} does not have; it has images")
    if "label" not in kinds:
        return None, ()
    metadata = stimuli.metadata
    if column not in metadata:
        columns = [str(each) for each in metadata.columns if each != "stimulus_id"]
        raise TrainingError(
            f"{objective.name} needs labels, and {stimuli.name} has no column {column!r}{near(column, columns)}; "
            "name it: labels=COLUMN (--labels COLUMN)"
        )
    missing = metadata[column].isna()
    if missing.any():
        first = metadata["stimulus_id"][missing].iloc[0]
        raise TrainingError(
            f"{int(missing.sum())} stimuli of {stimuli.name} have no {column!r} (the first is {first}); leave them out"
        )
    values = [str(each) for each in metadata[column]]
    classes = sorted(set(values))
    if not 2 <= len(classes) < len(values):
        raise TrainingError(
            f"{column!r} of {stimuli.name} has {len(classes)} value(s) for {len(values)} stimuli; labels are two "
            "classes or more, with several stimuli each"
        )
    numbers = {name: number for number, name in enumerate(classes)}
    return np.array([numbers[each] for each in values], dtype=np.int64), tuple(classes)


def _held_out(objective: Objective, n_stimuli: int, asked: Asked) -> tuple[int, int]:
    """Say how many stimuli are held out, and how many of them an evaluation shows.

    Where the loss depends on the batch (negatives, moments) they are at least one batch, and whole batches are shown.
    """
    batch = asked.batch_size
    held = int(asked.held_out) if _is_whole(asked.held_out) else max(1, round(asked.held_out * n_stimuli))
    evaluated = min(held, _EVALUATED)
    if objective.couples is not Couples.NONE:
        held = max(held, batch)
        evaluated = min(held // batch, max(1, _EVALUATED // batch)) * batch
    if n_stimuli - held < batch:
        raise TrainingError(
            f"a batch of {batch} does not fit into {max(n_stimuli - held, 0)} stimuli for training "
            f"({n_stimuli} less {held} held out); take more stimuli, or a smaller batch_size (--batch-size)"
        )
    if batch % n_ranks():
        raise OptionError(f"batch_size={batch} cannot be shared by {n_ranks()} ranks")
    if objective.options().get("shuffle") and batch // n_ranks() < 2:
        raise OptionError(f"shuffle=True exchanges samples of a rank's batch: batch_size is {2 * n_ranks()} or more")
    return held, evaluated


def _named(callbacks: Sequence[Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """Name callbacks by what they are, with a number where two are alike."""
    named: dict[str, Callable[..., Any]] = {}
    for each in callbacks:
        name = str(getattr(each, "__name__", type(each).__name__))
        named[f"{name}#{len(named) + 1}" if name in named else name] = each
    return named


def _said_by(name: str, callback: Any) -> Any:
    """What a callback's numbers depend on: its plan, or its source."""
    if hasattr(callback, "plan"):
        return digest(callback.plan())
    try:
        return callable_digest(callback)
    except (OSError, TypeError):
        raise OptionError(
            f"callback {name} has no source that could be found; write it in a file, or give it a method plan() that "
            "says in plain data what its numbers depend on"
        ) from None


def _source_of(kind: type[Objective]) -> str:
    """Digest a user's own objective."""
    try:
        return classes_digest(kind)
    except (OSError, TypeError):
        raise OptionError(
            f"objective {kind.name or kind.__name__} has no source that could be found; write it in a file"
        ) from None
