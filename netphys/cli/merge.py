"""``netphys merge``: recordings of one network become one."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from netphys.cli.options import command
from netphys.progress import say

_ABOUT = """merge recordings of one network: more layers, more stimuli, or both

Parts must have been recorded alike; what differs is named. Layers come in order of execution, stimuli as the parts name
them first. What parts have in common must be equal bit for bit."""
_EXAMPLE = """  netphys record torchvision:alexnet images/ --layers features.0 --out a.h5
  netphys record torchvision:alexnet images/ --layers features.3 --out b.h5
  netphys merge a.h5 b.h5 --out both.h5"""


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(commands, "merge", _run, about=_ABOUT, example=_EXAMPLE)
    parser.add_argument("recordings", nargs="+", metavar="REC.h5", help="recordings of one network")
    parser.add_argument("--out", required=True, metavar="REC.h5", help="the merged recording's file")
    parser.add_argument("--compress", metavar="gzip|lzf", help="compress the file, without loss")
    parser.add_argument("--force", action="store_true", help="replace a file of that name, which may be a part")


def _run(options: argparse.Namespace) -> None:
    from netphys.recording.file.merging import merge_recordings

    made = merge_recordings(options.recordings, into=options.out, force=options.force, compression=options.compress)
    say(repr(made))
    sys.stdout.write(f"{options.out}\n")
