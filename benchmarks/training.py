"""Training steps of the objectives on a small convolutional trunk: how fast, where the time goes, what bfloat16 gives.

    OMP_NUM_THREADS=2 python benchmarks/training.py

Images of 64 pixels, batches of 128, ``netphys:small_alexnet?width=32``. ``default`` is what torch does unless told:
float32, channels first. ``netphys`` is what ``netphys train`` does: the precision that pays on this processor, channels
last. Both ways take turns in one process, their steps on the same batches. The parts of a step are measured one by
one: making the batch (views), trunk (forward and backward), the rest of the objective (heads and loss), optimizer;
``python`` is what a step takes when all of them are taken out. Writes ``benchmarks/results/training.csv``.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from netphys.objectives.contract import Step
from netphys.provenance import versions
from netphys.stimuli import load_stimuli
from netphys.training.engine import Engine
from netphys.training.images import images_of
from netphys.training.preparing import Asked, prepare
from netphys.training.trainer import Batches, _begin

RESULTS = Path(__file__).parent / "results" / "training.csv"
NETWORK, STIMULI, BATCH, REPEATS = "netphys:small_alexnet?width=32", "world:scenes?n=1000&size=64", 128, 7


def begun(objective: str, precision: str, stimuli: Any, *, channels_last: bool) -> Any:
    """Make a loop that has begun."""
    asked = Asked(n_steps=100_000, batch_size=BATCH, held_out=BATCH, precision=precision, evaluate_every=10**9)
    setup = prepare(objective, NETWORK, stimuli, asked)
    engine = Engine("cpu", precision)
    labels = None if setup.labels is None else torch.from_numpy(setup.labels)
    batches = Batches(
        images_of(setup.stimuli, setup.sizer, engine.device, size=setup.size), labels, setup.objective.needs,
        training=setup.training, held_out=setup.held_out, batch_size=BATCH, seed=0, device=engine.device,
    )  # fmt: skip
    loop = _begin(setup, engine, batches, None)
    if not channels_last:
        loop.objective.to(memory_format=torch.contiguous_format)
    loop.objective.train()
    for _ in range(2):
        loop.step()
    return loop


def seconds(call: Callable[[], Any]) -> float:
    """Time one call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def parts(loop: Any) -> dict[str, float]:
    """Time the parts of a step, milliseconds."""
    made: dict[str, list[float]] = {"views": [], "trunk": [], "optimizer": [], "step": []}
    seen: list[torch.Tensor] = []
    handle = loop.objective.trunk.register_forward_pre_hook(lambda module, given: seen.append(given[0].detach()))
    loop.step()
    handle.remove()
    images = seen[-1]

    def trunk() -> None:
        with loop.engine.autocast():
            output = loop.objective.trunk(images)
        output.float().mean().backward()

    for repeat in range(REPEATS):
        made["views"].append(seconds(lambda step=repeat: loop.batches.at(1000 + step)))
        made["step"].append(seconds(loop.step))
        made["optimizer"].append(seconds(lambda: loop.optimizers.step("main", 1e-6)))
        made["trunk"].append(seconds(trunk))
    found = {name: 1000 * statistics.median(each) for name, each in made.items()}
    found["head and loss"] = found["step"] - found["views"] - found["trunk"] - found["optimizer"]
    found["python"] = python(loop)
    return found


def python(loop: Any) -> float:
    """Milliseconds that a step takes beside views, forward, backward and optimizer."""
    batch = {"image": torch.zeros(1)}
    weight = torch.ones((), requires_grad=True)
    kept = loop.batches.at, loop.objective.forward, loop.optimizers.step
    loop.batches.at = lambda step, last=False: batch
    loop.objective.forward = lambda batch, turn, at, ranks: Step(weight * 1, {"accuracy": weight.detach()})
    loop.optimizers.step = lambda turn, rate: None
    try:
        return 1000 * statistics.median(seconds(loop.step) for _ in range(50))
    finally:
        loop.batches.at, loop.objective.forward, loop.optimizers.step = kept


def measure(objective: str, stimuli: Any) -> list[dict[str, Any]]:
    """Measure an objective both ways, interleaved."""
    chosen = Engine("cpu", "auto").precision
    loops = {
        "default": begun(objective, "float32", stimuli, channels_last=False),
        "netphys": begun(objective, chosen, stimuli, channels_last=True),
    }
    times: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(REPEATS):
        for name, loop in loops.items():
            times[name].append(seconds(loop.step))
    n_views = BATCH * max(spec.group for spec in loops["netphys"].objective.needs.values())
    rows = []
    for name, loop in loops.items():
        step = 1000 * statistics.median(times[name])
        found = parts(loop)
        rows.append(
            {
                "objective": objective,
                "way": name,
                "precision": loop.engine.precision,
                "step_ms": step,
                "views_per_s": 1000 * n_views / step,
                "ratio_to_default": statistics.median(slow / own for slow, own in zip(times["default"], times[name])),
                **{f"{part.replace(' ', '_')}_ms": value for part, value in found.items() if part != "step"},
                "share_of_views": found["views"] / found["step"],
            }
        )
    return rows


def main() -> None:
    """Measure all objectives and write the table."""
    stimuli = load_stimuli(STIMULI)
    rows = [row for name in ("supervised", "simclr", "colorization") for row in measure(name, stimuli)]
    said = {"threads": torch.get_num_threads(), "machine": _processor(), "torch": versions()["torch"]}
    frame = pd.DataFrame(rows).round(3).assign(**said)
    RESULTS.parent.mkdir(exist_ok=True)
    frame.to_csv(RESULTS, index=False)
    print(frame.to_string())


def _processor() -> str:
    """Name the processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())


if __name__ == "__main__":
    main()
