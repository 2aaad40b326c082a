"""Views of a batch against lightly's and torchvision's per-sample pipelines, one thread, in one process, interleaved.

    pip install --no-deps --target FOLDER lightly lightly-utils
    OMP_NUM_THREADS=1 PYTHONPATH=FOLDER python benchmarks/views.py

The law is SimCLR's (crop of 8 to 100 % of the area, flip, jitter .8 .8 .8 .2, grey, blur of sigma .1 to 2) at 64 and 32
pixels, from 256 images of the size of the view that are in memory: uint8 tensors for netphys and torchvision, PIL
images for lightly; what comes out are float32 tensors in [0, 1], stacked. Drawing the parameters is counted for all.
Where lightly is absent its rows are left out, with a word. Writes ``benchmarks/results/views.csv``.

Smallest times are the better guide on a machine that others use. ``max_difference`` is that of the fast path from
torchvision's functions on the same parameters (lightly blurs by boxes and rounds to bytes: no such number).
"""

from __future__ import annotations

import importlib.util
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from netphys.provenance import versions
from netphys.stimuli import Blur, Crop, Jitter, ViewLaw, apply_views, make_views
from netphys.stimuli.view_tables import ViewTable

RESULTS = Path(__file__).parent / "results" / "views.csv"
N_IMAGES, REPEATS = 256, 15
ADJUST = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)


def simclr(size: int) -> ViewLaw:
    """Return the law of all that are compared."""
    jitter = Jitter(0.8, 0.8, 0.8, 0.2, p=0.8)
    return ViewLaw(size=(size, size), crop=Crop(), flip=0.5, jitter=jitter, grey=0.2, blur=Blur((0.1, 2.0), p=0.5))


def by_torchvision(size: int, images: Tensor) -> Callable[[], Tensor]:
    """Transform each image by torchvision, version 2, on tensors; its kernel is fixed, 13 pixels reach to 3 sigma."""
    transform = v2.Compose(
        [
            v2.RandomResizedCrop(size, antialias=True),
            v2.RandomHorizontalFlip(0.5),
            v2.RandomApply([v2.ColorJitter(0.8, 0.8, 0.8, 0.2)], p=0.8),
            v2.RandomGrayscale(0.2),
            v2.RandomApply([v2.GaussianBlur(13, (0.1, 2.0))], p=0.5),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )
    return lambda: torch.stack([transform(image) for image in images])


def by_lightly(size: int, images: Tensor) -> Callable[[], Tensor]:
    """Transform each image by lightly, on PIL images."""
    from lightly.transforms.simclr_transform import SimCLRViewTransform

    transform = SimCLRViewTransform(input_size=size, normalize=None)
    shown = [F.to_pil_image(image) for image in images]
    return lambda: torch.stack([transform(image) for image in shown])


def reference(images: Tensor, law: ViewLaw, table: ViewTable) -> Tensor:
    """Do by torchvision's functions, in float, what a table says."""
    views = []
    for n, image in enumerate(images.to(torch.float32) / 255):
        view = F.resized_crop(image, *table.box[n].tolist(), list(law.size), antialias=True)
        view = F.horizontal_flip(view) if table.flip[n] else view
        for operation in table.order[n].tolist() if table.jittered[n] else []:
            view = ADJUST[operation](view, float(table.factors[n, operation]))
        view = F.rgb_to_grayscale(view, 3) if table.grey[n] else view
        if table.blurred[n]:
            sigma = float(table.sigma[n])
            view = F.gaussian_blur(view, [2 * int(3 * sigma) + 1] * 2, [sigma] * 2)
        views.append(view)
    return torch.stack(views)


def measure(size: int) -> list[dict[str, object]]:
    """Measure all pipelines at one size."""
    images = torch.randint(
        0, 256, (N_IMAGES, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    law, samples = simclr(size), range(N_IMAGES)
    table = law.table(samples, seed=0, epoch=0, view=0, image_size=(size, size))
    error = float((apply_views(images, law, table) - reference(images, law, table)).abs().max())
    epochs = iter(range(10**9))
    runs: dict[str, Callable[[], Tensor]] = {
        "netphys": lambda: make_views(images, law, samples=samples, seed=0, epoch=next(epochs), view=0),
        "torchvision v2 per sample": by_torchvision(size, images),
    }
    if importlib.util.find_spec("lightly"):
        runs["lightly SimCLR (PIL)"] = by_lightly(size, images)
    else:
        print("lightly is not installed: its rows are left out; see the top of this file")
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(REPEATS + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if repeat:  # the first warms up
                seconds[name].append(time.perf_counter() - start)
    ours = seconds.pop("netphys")
    return [row(size, peer, ours, theirs, error) for peer, theirs in seconds.items()]


def row(size: int, peer: str, ours: list[float], theirs: list[float], error: float) -> dict[str, object]:
    """One comparison, with the machine it was measured on."""
    known = versions()
    return {
        "size": size,
        "peer": peer,
        "netphys_views_per_s": round(N_IMAGES / min(ours)),
        "peer_views_per_s": round(N_IMAGES / min(theirs)),
        "ratio_of_smallest": round(min(theirs) / min(ours), 2),
        "ratio_of_medians": round(statistics.median(theirs) / statistics.median(ours), 2),
        "ratio_of_pairs": round(statistics.median(b / a for a, b in zip(ours, theirs)), 2),
        "max_difference": error,
        "n_views": N_IMAGES,
        "repeats": REPEATS,
        "threads": torch.get_num_threads(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        **{name: known[name] for name in ("netphys", "torch", "torchvision")},
    }


def main() -> None:
    """Measure all and write the table."""
    torch.manual_seed(0)
    table = pd.DataFrame([each for size in (64, 32) for each in measure(size)])
    RESULTS.parent.mkdir(exist_ok=True)
    table.to_csv(RESULTS, index=False)
    print(table.iloc[:, :8].to_string(index=False))


if __name__ == "__main__":
    main()
