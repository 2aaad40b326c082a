"""``netphys train``: let a network learn by an objective."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netphys.cli.options import command
from netphys.errors import OptionError
from netphys.progress import say

if TYPE_CHECKING:
    from netphys.training import TrainingResult

_ABOUT = """train a network by an objective

The result is a folder, which is then the address of a network: 'netphys record FOLDER STIMULI ...'. A training that was
killed goes on at its last checkpoint when the same command is given again, and ends with the same bits. Under torchrun
each process takes its share of every batch."""
_EXAMPLE = """  netphys train simclr --network netphys:small_alexnet --stimuli world:scenes?n=6000 --out simclr/
  netphys train supervised --network torchvision:resnet18?resize=64 --stimuli photos/ --labels kind --out kinds/
  netphys train colorization --network netphys:small_alexnet --stimuli photos/ --size 64 --set mix=0.3 --out colours/
  torchrun --nproc-per-node 8 -m netphys train simclr --network ... --stimuli ... --batch-size 1024 --out simclr/"""


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(commands, "train", _run, about=_ABOUT, example=_EXAMPLE)
    parser.add_argument("objective", metavar="OBJECTIVE", help="supervised, simclr, colorization")
    parser.add_argument(
        "--network", required=True, metavar="N", help="an address; the head of a classifier is taken off"
    )
    parser.add_argument("--stimuli", required=True, metavar="S", help="a folder of images, or world:scenes?n=6000")
    parser.add_argument("--out", required=True, metavar="DIR", help="the folder of the trained network")
    parser.add_argument("--steps", type=int, default=500, metavar="N", help="changes of the parameters (default: 500)")
    parser.add_argument("--batch-size", type=int, default=128, metavar="N", help="stimuli a step (default: 128)")
    parser.add_argument("--rate", type=float, default=None, metavar="R", help="highest learning rate (default: 0.001)")
    parser.add_argument("--weight-decay", type=float, default=0.05, metavar="R", help="of kernels (default: 0.05)")
    parser.add_argument(
        "--warm-up", type=float, default=0.05, metavar="F", help="share of the steps in which the rate rises (0.05)"
    )
    parser.add_argument("--labels", default="category", metavar="COLUMN", help="of the metadata (default: category)")
    parser.add_argument(
        "--held-out",
        type=_share_or_number,
        default=0.1,
        metavar="F",
        help="stimuli never trained on, a share or a number (0.1)",
    )
    parser.add_argument(
        "--evaluate-every", type=int, default=None, metavar="N", help="steps (default: a tenth of them)"
    )
    parser.add_argument("--size", type=int, default=None, metavar="N", help="resize and crop images to N pixels first")
    parser.add_argument(
        "--precision", default="auto", metavar="auto|float32|bfloat16", help="auto: the faster one of this device"
    )
    parser.add_argument("--save-every", default=None, metavar="N|Ns", help="steps or seconds (default: 60s)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="an option of the objective; may be repeated"
    )
    parser.add_argument("--force", action="store_true", help="replace another training in that folder")


def _run(options: argparse.Namespace) -> None:
    from netphys.networks import load_network
    from netphys.stimuli import load_stimuli
    from netphys.training import train

    seed, out = options.seed or 0, Path(options.out)
    complete = out / "training.json"
    there = complete.stat().st_mtime_ns if complete.is_file() else None
    result = train(
        options.objective,
        load_network(options.network, seed=seed),
        load_stimuli(options.stimuli, seed=seed),
        into=out,
        n_steps=options.steps,
        batch_size=options.batch_size,
        rate=options.rate,
        weight_decay=options.weight_decay,
        warm_up=options.warm_up,
        labels=options.labels,
        held_out=options.held_out,
        evaluate_every=options.evaluate_every,
        save_every=_every(options.save_every),
        size=options.size,
        precision=options.precision,
        device=options.device or "auto",
        seed=seed,
        options=_options(options.set),
        force=options.force,
    )
    if there is not None and there == complete.stat().st_mtime_ns:
        say(f"{result!r} was there already, nothing was trained")
    elif _is_first():
        _save_figure(result, out)
        say(_finding(result))
    if _is_first():
        sys.stdout.write(f"{out}\n")


def _finding(result: TrainingResult) -> str:
    """Say what came out, in words."""
    known = ", ".join(f"{name} {value:.4g}" for name, value in result.references.items())
    views = result.plan["n_steps"] * result.plan["batch_size"] * result.n_views
    used = float(result.curve["bits_used"].iloc[-1])
    bits = f"; {used:.3g} of {float(result.curve['bits_offered'].iloc[-1]):.3g} bits a sample are used" * (used == used)
    plan = result.plan
    return (
        f"{plan['objective']}: loss {result.loss:.4g}, on held-out stimuli {result.held_out:.4g} ({known}){bits}\n"
        f"{plan['n_steps']} steps in {result.seconds:.0f} s, {views / max(result.seconds, 1e-9):,.0f} views a second, "
        f"{plan['precision']} on {plan['device']}"
    )


def _save_figure(result: TrainingResult, out: Path) -> None:
    """Save the learning curve beside its numbers."""
    from matplotlib.figure import Figure

    from netphys.figures import paper_style, save_figure

    with paper_style():
        figure = Figure(figsize=(4.0, 2.8), layout="constrained")
        result.plot(figure.subplots())
    made = json.loads((out / "curve.json").read_text(encoding="utf-8"))
    save_figure(figure, out / "curve", data=None, made=made)


def _options(given: list[str]) -> dict[str, Any]:
    """Read KEY=VALUE: numbers, true and false, lists as JSON writes them; other values are words."""
    read: dict[str, Any] = {}
    for each in given:
        key, equals, value = each.partition("=")
        if not equals or not key:
            raise OptionError(f"--set {each}: say KEY=VALUE, as --set temperature=0.1")
        try:
            read[key] = json.loads(value)
        except ValueError:
            read[key] = value
    return read


def _share_or_number(text: str) -> float | int:
    """Read how many, or which share."""
    return int(text) if text.isdigit() else float(text)


def _every(text: str | None) -> int | str | None:
    """Read steps, or seconds."""
    return int(text) if text is not None and text.isdigit() else text


def _is_first() -> bool:
    """Tell whether this is the process that speaks, of those that torchrun started."""
    import os

    return os.environ.get("RANK", "0") == "0"
