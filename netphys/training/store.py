"""A finished training as a folder: the network (an address), its objective, the curve, and what made them.

=========================  =========================================================================================
``weights.safetensors``    the trunk, with ``network.toml`` (:mod:`netphys.networks.folder`): the folder is an address
``objective.safetensors``  everything of the objective but the trunk: heads, bins, queues; ``objective.json`` says which
``curve.csv``              the learning curve; ``curve.json`` says what made it
``training.json``          the plan, the references, the checksums; committed last, so that it says "complete"
=========================  =========================================================================================
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netphys.errors import AddressError, NetphysError, OptionError, TrainingError
from netphys.files import committing, ensure_folder, sha256_of, write_json, write_text
from netphys.guards import first_line
from netphys.networks import load_network, save_network
from netphys.networks.folder import is_network_folder, read_network_toml
from netphys.objectives import OBJECTIVES
from netphys.provenance import digest, provenance
from netphys.training.preparing import build
from netphys.training.results import TrainingResult

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from netphys.networks import Network
    from netphys.objectives.contract import Objective

__all__ = ["COMPLETE", "finished_plan", "is_stranger", "load_training", "unfinish", "write_training"]

COMPLETE = "training.json"
_FORMAT = "netphys-training-1"
_FILES = ("weights.safetensors", "network.toml", "objective.safetensors", "objective.json", "curve.csv", "curve.json")
_TRUNK = "trunk."


def load_training(folder: Path | str, *, objective: type[Objective] | None = None) -> TrainingResult:
    """Read a finished training.

    Parameters
    ----------
    folder : Path
        Where :func:`netphys.training.train` wrote it.
    objective : class, optional
        The objective's class, where it is a user's own; without it the result has no objective.

    Raises
    ------
    TrainingError
        If the folder holds no finished training, or is damaged.
    """
    folder = Path(folder)
    said = _read(folder)
    for name in _FILES:
        if not (folder / name).is_file():
            raise TrainingError(f"{folder} lacks {name}; train it again with --force")
        if sha256_of(folder / name) != said["sha256"].get(name):
            raise TrainingError(f"{folder / name} is not what was written (checksum); train it again with --force")
    network = load_network(str(folder))
    curve = _read_curve(folder / "curve.csv")
    kind = objective or (said["plan"]["objective"] if said["plan"]["objective"] in OBJECTIVES else None)
    made = None if kind is None else _objective(folder, kind, network)
    return TrainingResult(network, made, curve, said["references"], said["plan"])


def write_training(folder: Path, result: TrainingResult) -> Path:
    """Write a finished training; nobody takes it for one before it is complete.

    Raises
    ------
    OptionError
        If the network has no address, or the result no objective.
    OutputError
        If the folder cannot be written.
    """
    from safetensors.torch import save

    if result.objective is None:
        raise OptionError("this result was read without its objective's class; load_training(..., objective=CLASS)")
    ensure_folder(folder)
    unfinish(folder)
    plan, seconds = dict(result.plan), result.seconds
    made = provenance(
        "training.train",
        {key: value for key, value in plan.items() if key not in ("network", "stimuli", "code", "versions")},
        {"network": plan["network"], "stimuli": plan["stimuli"]},
        plan=digest(plan),
        seconds=round(seconds, 3),
    )
    save_network(folder, result.network, {"by": "netphys train", **_flat(made)})
    with committing(folder / "objective.safetensors") as temporary:
        temporary.write_bytes(save(_without_trunk(result.objective), {"objective": plan["objective"]}))
    said = {"objective": plan["objective"], "options": plan["options"], "size": plan["size"], "seed": plan["seed"]}
    classes = list(getattr(result.objective, "classes", ()))
    write_json(folder / "objective.json", {**said, "classes": classes})
    write_text(folder / "curve.csv", result.curve.to_csv(index=False))
    write_json(folder / "curve.json", made)
    sums = {name: sha256_of(folder / name) for name in _FILES}
    complete = {"format": _FORMAT, "plan": plan, "digest": digest(plan), "references": dict(result.references)}
    write_json(folder / COMPLETE, {**complete, "sha256": sums})
    return folder


def finished_plan(folder: Path) -> dict[str, Any] | None:
    """Return the plan of the finished training in a folder; None where there is none.

    Raises
    ------
    TrainingError
        If ``training.json`` is damaged.
    """
    return _read(folder)["plan"] if (folder / COMPLETE).is_file() else None


def is_stranger(folder: Path, plan: Mapping[str, Any]) -> bool:
    """Tell whether a folder without a finished training holds a network that this training did not begin to write."""
    if not is_network_folder(folder):
        return False
    try:
        return read_network_toml(folder).get("made", {}).get("plan") != digest(plan)
    except AddressError:
        return True


def unfinish(folder: Path) -> None:
    """Take away what says that a training is complete, then what would be another's beside the new one."""
    for name in (COMPLETE, "network.toml", *_FILES):
        (folder / name).unlink(missing_ok=True)


def _read(folder: Path) -> dict[str, Any]:
    """Read what says that a training is complete."""
    path = folder / COMPLETE
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TrainingError(f"{folder} holds no finished training ({COMPLETE} is not there)") from None
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path} is damaged ({first_line(error)}); train it again with --force") from None
    if not isinstance(said, dict) or said.get("format") != _FORMAT or said.get("digest") != digest(said.get("plan")):
        raise TrainingError(f"{path} is damaged, or of another version of netphys; train it again with --force")
    return said


def _read_curve(path: Path) -> pd.DataFrame:
    """Read a curve, every number as it was written."""
    import pandas as pd

    words = pd.read_csv(path, dtype=str, keep_default_na=False)
    frame = words.apply(lambda column: [float(each) if each else math.nan for each in column])
    return frame.astype({"step": int, "epoch": int})


def _objective(folder: Path, kind: str | type[Objective], network: Network) -> Objective:
    """Make the objective anew and give it what was learned."""
    from safetensors.torch import load_file

    said = json.loads((folder / "objective.json").read_text(encoding="utf-8"))
    try:
        made = build(
            kind, copy.deepcopy(network.module), tuple(said["size"]), network.preprocess, said["options"],  # type: ignore[arg-type]
            seed=said["seed"],
        )  # fmt: skip
        state = load_file(folder / "objective.safetensors")
        trunk = {_TRUNK + name: each for name, each in network.module.state_dict().items()}
        made.load_state_dict({**state, **trunk})
    except NetphysError:
        raise
    except (RuntimeError, TypeError, KeyError) as error:
        raise TrainingError(
            f"{folder}: the objective {said['objective']} has changed since ({first_line(error)})"
        ) from None
    made.eval()
    return made


def _without_trunk(objective: Objective) -> dict[str, Tensor]:
    """Return the state of an objective but the trunk's, each tensor with memory of its own."""
    state = objective.state_dict()
    return {name: each.cpu().contiguous().clone() for name, each in state.items() if not name.startswith(_TRUNK)}


def _flat(made: Mapping[str, Any]) -> dict[str, Any]:
    """Provenance as network.toml holds it."""
    return {key: value for key, value in made.items() if value is not None}
