"""``netphys record``: show stimuli to a network and keep what its layers do."""

from __future__ import annotations

import argparse
import logging
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from netphys.cli.options import command
from netphys.errors import NetphysError
from netphys.progress import quiet, say

_ABOUT = """record the layers of a network while it is shown stimuli

The result is one HDF5 file that plain h5py and xarray open. A recording that was killed goes on at its last whole
shard when the same command is given again. Under torchrun several processes record together; the file is the same."""
_EXAMPLE = """  netphys record torchvision:alexnet world:scenes?n=100 --layers 'features.*' --out rec.h5
  netphys record torchvision:resnet18@weights.safetensors?resize=224 images/ --layers kind:Conv2d --out rec.h5
  torchrun --nproc-per-node 8 -m netphys record torchvision:vgg16 images/ --layers leaves --keep mean --out rec.h5"""


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(commands, "record", _run, about=_ABOUT, example=_EXAMPLE)
    parser.add_argument("network", metavar="NETWORK", help="an address; 'netphys layers' shows what is in it")
    parser.add_argument("stimuli", metavar="STIMULI", help="a folder of images, or world:scenes?n=100")
    parser.add_argument("--layers", nargs="+", required=True, metavar="PATTERN", help="names or patterns of layers")
    parser.add_argument("--out", required=True, metavar="REC.h5", help="the recording's file")
    parser.add_argument(
        "--keep",
        default="all",
        metavar="all|mean|max|centre|pooled|cls|patches|window|projection|pca",
        help="what is kept of a map; options as in 'window?size=3' (default: all)",
    )
    parser.add_argument(
        "--dtype", default="float32", metavar="float32|float16|bfloat16", help="stored dtype (default: float32)"
    )
    parser.add_argument(
        "--gradient-of", metavar="SCALAR", help="gradients, too: of output[5], output.max or LAYER[unit,y,x]"
    )
    parser.add_argument("--compress", metavar="gzip|lzf", help="compress the file, without loss")
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="the plan's batch (default: 32)")
    parser.add_argument(
        "--skip-broken", action="store_true", help="leave out images that cannot be decoded, and say how many"
    )
    parser.add_argument(
        "--extend", action="store_true", help="add the layers and stimuli that a finished recording of that name lacks"
    )
    parser.add_argument("--force", action="store_true", help="replace another recording of that name")


def _run(options: argparse.Namespace) -> int:
    """Record; of several ranks the first one speaks, and says what ended all."""
    from netphys.ranks import joined

    alone = True
    try:
        with joined() as ranks:
            alone = ranks.rank == 0
            if not alone:
                logging.getLogger("netphys").setLevel(logging.ERROR)
            with nullcontext() if alone else quiet():
                _record(options)
            if alone:
                sys.stdout.write(f"{options.out}\n")
    except NetphysError:
        if alone:
            raise
        return 2
    return 0


def _record(options: argparse.Namespace) -> None:
    from netphys.networks import load_network
    from netphys.recording import record
    from netphys.stimuli import load_stimuli

    seed = options.seed or 0
    network = load_network(options.network, seed=seed)
    stimuli = load_stimuli(options.stimuli, seed=seed, skip_broken=options.skip_broken)
    if stimuli.left_out:
        say(
            f"{len(stimuli.left_out)} broken image(s) left out, {len(stimuli)} shown: {', '.join(stimuli.left_out[:3])}"
        )
    there = Path(options.out).stat().st_mtime_ns if Path(options.out).is_file() else None
    made = record(
        network,
        stimuli,
        layers=options.layers,
        keep=options.keep,
        into=options.out,
        dtype=options.dtype,
        batch_size=options.batch_size,
        device=options.device or "auto",
        seed=seed,
        gradient_of=options.gradient_of,
        compression=options.compress,
        extend=options.extend,
        force=options.force,
    )
    already = there == Path(options.out).stat().st_mtime_ns
    say(f"{made!r}{' was there already, nothing was recorded' if already else ''}")
