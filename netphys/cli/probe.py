"""``netphys probe``: what the layers of recordings know about a label."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from netphys.cli.options import command
from netphys.progress import say

_ABOUT = """read a label from the activations of each layer, by linear probes

Leaves probe.csv (the tidy frame), figures and a page in DIR. Labels are a column of the recording's metadata, or of a
CSV file that has a column stimulus_id or file. Record with --keep pooled: probes of whole maps are slow."""
_EXAMPLE = """  netphys record torchvision:alexnet world:scenes?n=400 --layers 'features.*' --keep pooled --out rec.h5
  netphys probe rec.h5 --labels object --out probe-out"""


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(commands, "probe", _run, about=_ABOUT, example=_EXAMPLE)
    parser.add_argument("recordings", nargs="+", metavar="REC.h5", help="recordings of the same stimuli")
    parser.add_argument(
        "--labels", required=True, metavar="COLUMN", help="a column of the metadata, or FILE:COLUMN: what is to be told"
    )
    parser.add_argument(
        "--groups", metavar="COLUMN", help="as --labels: what stays whole in training or test (a scene, an object)"
    )
    parser.add_argument(
        "--test",
        type=float,
        default=0.25,
        metavar="SHARE",
        help="share of each class kept for the test (default: 0.25)",
    )
    parser.add_argument(
        "--pool",
        default="as recorded",
        metavar="'as recorded'|mean",
        help="all numbers recorded of a layer, or the mean of each unit (default: as recorded)",
    )
    parser.add_argument("--layers", nargs="+", metavar="PATTERN", help="which layers (default: all)")
    parser.add_argument("--force", action="store_true", help="write also into a folder that holds other things")
    parser.add_argument("--out", required=True, metavar="DIR", help="where results go")


def _run(options: argparse.Namespace) -> None:
    from netphys.studies.probing import probe_recordings

    made = probe_recordings(
        options.recordings,
        options.labels,
        out=options.out,
        groups=options.groups,
        layers=options.layers,
        pool=options.pool,
        test=options.test,
        seed=options.seed or 0,
        force=options.force,
    )
    for line in made.findings():
        say(line)
    sys.stdout.write(f"{made.folder / 'index.html'}\n")
