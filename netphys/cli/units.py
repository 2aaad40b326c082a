"""``netphys units``: what drives the units of a network most."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from netphys.cli.options import command
from netphys.progress import say

_ABOUT = """what drives the units of a network most: their top patches, as a page

For every unit of the layers, the stimuli with the largest activation and the patch of each that the unit saw (its
receptive field). Leaves units/NETWORK/ in DIR: index.html, a sheet and a table a layer, and top.h5 with all of it."""
_EXAMPLE = """  netphys units netphys:small_alexnet 'world:scenes?n=400' --layers 'relu*' --out units-out
  netphys units torchvision:resnet18@weights.safetensors images/ --layers kind:Conv2d --out units-out"""


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(commands, "units", _run, about=_ABOUT, example=_EXAMPLE)
    parser.add_argument("network", metavar="NETWORK", help="an address; 'netphys layers' shows what is in it")
    parser.add_argument("stimuli", metavar="STIMULI", help="a folder of images, or world:scenes?n=400")
    parser.add_argument("--layers", nargs="+", required=True, metavar="PATTERN", help="names or patterns of layers")
    parser.add_argument("--out", required=True, metavar="DIR", help="where results go")
    parser.add_argument("--k", type=int, default=9, metavar="N", help="patches a unit, one a stimulus (default: 9)")
    parser.add_argument("--show", type=int, default=24, metavar="N", help="units on a layer's sheet (default: 24)")
    parser.add_argument(
        "--rule", default="spread", metavar="spread|selective|strongest", help="which units are shown (default: spread)"
    )
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="stimuli at once (default: 32)")
    parser.add_argument(
        "--skip-broken", action="store_true", help="leave out images that cannot be decoded, and say how many"
    )
    parser.add_argument("--force", action="store_true", help="write also into a folder that holds other things")


def _run(options: argparse.Namespace) -> None:
    from netphys.networks import load_network
    from netphys.stimuli import load_stimuli
    from netphys.studies.unit_pages import look_at_units

    seed = options.seed or 0
    network = load_network(options.network, seed=seed)
    stimuli = load_stimuli(options.stimuli, seed=seed, skip_broken=options.skip_broken)
    if stimuli.left_out:
        say(f"{len(stimuli.left_out)} broken image(s) left out, {len(stimuli)} shown")
    result, page = look_at_units(
        network,
        stimuli,
        layers=options.layers,
        out=options.out,
        k=options.k,
        n_units=options.show,
        rule=options.rule,
        batch_size=options.batch_size,
        device=options.device or "auto",
        seed=seed,
        force=options.force,
    )
    say(str(result))
    sys.stdout.write(f"{page}\n")
