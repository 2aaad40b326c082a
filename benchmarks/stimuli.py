"""Images from a folder into batches that a network sees, against torchvision's and thingsvision's loaders.

    OMP_NUM_THREADS=1 python benchmarks/stimuli.py [--data FOLDER] [--only loading,decoding,digest,hdf5,memory]

In one process, interleaved, medians of several epochs; the first warms up. netphys keeps nothing decoded here
(``_CACHE_BYTES = 0``), the peers' workers stay alive between epochs. FOLDER holds folders of images (one a class);
without it, 500 x 375 JPEGs are generated. thingsvision is fetched by pip without its dependencies into a folder of its
own; tensorflow, which its loader only imports, is an empty module here. ``difference`` is the largest from
torchvision's antialiased resizing in float, in units of the pixel range (1): loaders that resize uint8 round twice.
Memory: resident bytes over 50,000 files, mean growth an image with its 95 % interval over segments of 5,000; the
control keeps a tenth of the images. Writes ``benchmarks/results/stimuli.csv``.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import io
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import torch
from PIL import Image
from scipy import stats
from torch.utils.data import DataLoader
from torchvision import io as tv_io
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.transforms.v2 import functional as F

from netphys.networks import Preprocess
from netphys.provenance import versions
from netphys.stimuli import StimulusSet
from netphys.stimuli.readers import file_source
from netphys.stimuli.readers.worker_pool import WORKERS

RESULTS = Path(__file__).parent / "results" / "stimuli.csv"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BATCH, REPEATS, N_LARGE, N_SMALL, N_MEMORY = 32, 5, 128, 512, 50_000
Epoch = Callable[[], Iterable[Any]]


def written(folder: Path, n: int, size: tuple[int, int], *, n_different: int = 200) -> Path:
    """Write JPEGs of smooth noise; beyond `n_different` they are further names of the same files."""
    (folder / "a").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(n):
        file = folder / "a" / f"{index:06d}.jpg"
        if index >= n_different:
            os.link(folder / "a" / f"{index % n_different:06d}.jpg", file)
            continue
        coarse = rng.integers(0, 256, (size[0] // 8 + 1, size[1] // 8 + 1, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC).save(file, quality=90)
    return folder


def linked(data: Path, folder: Path) -> Path:
    """Link some images of a folder, spread over its classes, into another one."""
    ids = StimulusSet.from_folder(data).ids
    for each in ids[:: max(len(ids) // N_SMALL, 1)]:
        (folder / each).parent.mkdir(parents=True, exist_ok=True)
        (folder / each).symlink_to((data / each).resolve())
    return folder


def thingsvision_data() -> Any:
    """Return thingsvision's data loader; None, with a word, where it cannot be had."""
    home = Path(tempfile.gettempdir()) / "netphys-benchmark-thingsvision"
    if not (home / "thingsvision").is_dir():
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(home), "thingsvision==2.7.3"]
        if subprocess.run(pip, capture_output=True, check=False).returncode:
            print("thingsvision cannot be installed: its rows are left out")
            return None
    sys.modules.setdefault("tensorflow", types.ModuleType("tensorflow"))
    package = types.ModuleType("thingsvision")  # in place of its own __init__, which wants all its dependencies
    package.__path__ = [str(home / "thingsvision")]
    sys.modules["thingsvision"] = package
    return importlib.import_module("thingsvision.utils.data")


@contextlib.contextmanager
def workers(n: int) -> Iterator[None]:
    """Let netphys decode by so many processes; 0: threads."""
    os.environ[WORKERS] = str(n)
    try:
        yield
    finally:
        del os.environ[WORKERS]


def loaders(folder: Path, preprocess: Preprocess) -> dict[str, Epoch]:
    """Return each way from files to batches of float images."""
    steps = [transforms.Resize(preprocess.resize), transforms.CenterCrop(preprocess.crop)] if preprocess.resize else []
    transform = transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    shown, dataset = StimulusSet.from_folder(folder), ImageFolder(str(folder), transform)

    def ours(n: int) -> Epoch:
        def epoch() -> Iterator[torch.Tensor]:
            with workers(n):
                for _, images in shown.batches(BATCH):
                    yield preprocess(images)

        return epoch

    def torchvisions(n: int) -> Epoch:
        loader = DataLoader(dataset, BATCH, num_workers=n, persistent_workers=n > 0)
        return lambda: (images for images, _ in loader)

    ways = {
        "netphys": ours(0),
        "netphys, 2 workers": ours(2),
        "torchvision ImageFolder + DataLoader, 0 workers": torchvisions(0),
        "torchvision ImageFolder + DataLoader, 2 workers": torchvisions(2),
    }
    theirs = thingsvision_data()
    if theirs is not None:
        with contextlib.redirect_stdout(io.StringIO()):
            images = theirs.ImageDataset(str(folder), tempfile.mkdtemp(), "pt", transforms=transform)
        ways["thingsvision ImageDataset + DataLoader"] = lambda: theirs.DataLoader(images, BATCH, "pt")
    return ways


def decoders(folder: Path) -> dict[str, Epoch]:
    """Return each way from files to uint8 (3, y, x)."""
    shown = StimulusSet.from_folder(folder)
    files, rgb = [folder / each for each in shown.ids], tv_io.ImageReadMode.RGB

    def ours(n: int) -> Epoch:
        def epoch() -> Iterator[Any]:
            with workers(n):
                for _, images in shown.batches(BATCH):
                    yield from images

        return epoch

    return {
        "netphys": ours(0),
        "netphys, 2 workers": ours(2),
        "PIL, one thread": lambda: (np.asarray(Image.open(each).convert("RGB")).transpose(2, 0, 1) for each in files),
        "torchvision.io, one thread": lambda: (tv_io.decode_image(str(each), rgb) for each in files),
    }


def digesters(folder: Path) -> dict[str, Epoch]:
    """Return each way from files to digests of their pixels."""

    def ours(n: int) -> Epoch:
        def epoch() -> Iterator[str]:
            with workers(n):
                yield StimulusSet.from_folder(folder).digest

        return epoch

    def plain() -> Iterator[str]:
        for each in sorted(folder.rglob("*.jp*g")):
            yield hashlib.sha256(np.asarray(Image.open(each).convert("RGB")).tobytes()).hexdigest()

    return {"netphys": ours(0), "netphys, 2 workers": ours(2), "PIL + sha256, one thread": plain}


def hdf5s(folder: Path) -> dict[str, Epoch]:
    """Return each way from an HDF5 file to batches of uint8."""
    shown = StimulusSet.from_folder(folder)
    ours, plain = folder.with_suffix(".ours.h5"), folder.with_suffix(".plain.h5")
    shown.to_hdf5(ours)
    with h5py.File(plain, "w") as file:
        file["images"] = torch.cat([images for _, images in shown.batches(BATCH)]).numpy()

    def read() -> Iterator[torch.Tensor]:
        with h5py.File(plain) as file:
            for first in range(0, len(shown), BATCH):
                yield torch.from_numpy(file["images"][first : first + BATCH])

    kept = StimulusSet.from_hdf5(ours)
    return {"netphys": lambda: (images for _, images in kept.batches(BATCH)), "h5py, uncompressed": read}


def rates(ways: dict[str, Epoch], n: int) -> dict[str, list[float]]:
    """Measure images a second of each way, interleaved."""
    found: dict[str, list[float]] = {way: [] for way in ways}
    for repeat in range(REPEATS + 1):
        for way, epoch in ways.items():
            start = time.perf_counter()
            for _ in epoch():
                pass
            if repeat:  # the first warms up
                found[way].append(n / (time.perf_counter() - start))
    return found


def differences(folder: Path, ways: dict[str, Epoch], preprocess: Preprocess) -> dict[str, float]:
    """Say how far the first batch of each way is from resizing in float; images in its order are those of all."""
    shown = StimulusSet.from_folder(folder)
    std, mean = (torch.tensor(each).view(3, 1, 1) for each in (STD, MEAN))
    truth = []
    for image in shown.images(range(BATCH)):
        value = image.float() / 255
        if preprocess.resize:
            value = F.resize(value, [int(s) for s in _target(image, preprocess)], antialias=True)
            value = F.center_crop(value, [preprocess.crop, preprocess.crop])
        truth.append(value)
    return {
        way: float((next(iter(epoch())) * std + mean - torch.stack(truth)).abs().max()) for way, epoch in ways.items()
    }


def _target(image: torch.Tensor, preprocess: Preprocess) -> tuple[int, int]:
    y, x = image.shape[-2:]
    return int(preprocess.resize * y / min(y, x)), int(preprocess.resize * x / min(y, x))


def table(what: str, name: str, n: int, ways: dict[str, Epoch], far: dict[str, float]) -> list[dict[str, object]]:
    """Measure ways; a row each."""
    found = rates(ways, n)
    ours = found["netphys"]
    return [
        {
            "what": what,
            "set": name,
            "way": way,
            "images_per_s": round(statistics.median(each)),
            "images_per_s_largest": round(max(each)),
            "netphys_over_it": round(statistics.median(ours) / statistics.median(each), 2),
            "difference": f"{far[way]:.1e}" if way in far else "",
            "n_images": n,
            "repeats": REPEATS,
        }
        for way, each in found.items()
    ]


def memory(folder: Path, *, control: bool) -> None:
    """Read a folder once and print the resident bytes every 500 images; the child of :func:`memory_rows`."""
    kept = []
    resident = Path("/proc/self/statm")
    for rows, images in StimulusSet.from_folder(folder).batches(500):
        if control:
            kept.append(images[::10].clone())
        print(int(rows[-1]) + 1, int(resident.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"), flush=True)


def memory_rows(folder: Path) -> list[dict[str, object]]:
    """Measure how memory grows with the images read, and that the control's growth is seen."""
    rows = []
    for way, flag in (("netphys", "--memory"), ("control: a tenth is kept", "--memory-control")):
        ran = subprocess.run([sys.executable, __file__, flag, str(folder)], capture_output=True, text=True, check=True)
        read, resident = np.array([line.split() for line in ran.stdout.splitlines()], dtype=np.int64).T
        marks = resident[np.isin(read, range(N_MEMORY // 5, N_MEMORY + 1, N_MEMORY // 10))]  # the first fifth warms up
        growth = np.diff(marks) / (N_MEMORY // 10)
        half = stats.t.ppf(0.975, len(growth) - 1) * growth.std(ddof=1) / np.sqrt(len(growth))
        low, high = growth.mean() - half, growth.mean() + half
        rows.append(
            {
                "what": "memory", "set": f"{N_MEMORY} JPEGs 64 x 64", "way": way, "n_images": N_MEMORY, "repeats": 1,
                "bytes_an_image": round(growth.mean(), 1), "low": round(low, 1), "high": round(high, 1),
                "flat": bool(low <= 0 <= high), "resident_mb": round(resident[-1] / 1e6),
            }
        )  # fmt: skip
    return rows


def measure(only: set[str], data: Path | None, work: Path) -> Iterator[dict[str, object]]:
    """Measure what is asked for."""
    large = Preprocess(resize=256, crop=224, mean=MEAN, std=STD)
    small = Preprocess(mean=MEAN, std=STD)
    sets = {"JPEGs 500 x 375": (written(work / "large", N_LARGE, (375, 500)), large)}
    sets["JPEGs 64 x 64"] = (written(work / "small", N_SMALL, (64, 64)), small)
    if data is not None:
        sets[data.name] = (linked(data, work / data.name), large)
    for name, (folder, preprocess) in sets.items():
        n = len(StimulusSet.from_folder(folder))
        if "loading" in only:
            ways = loaders(folder, preprocess)
            yield from table("loading", name, n, ways, differences(folder, ways, preprocess))
        if "decoding" in only:
            yield from table("decoding", name, n, decoders(folder), {})
        if "digest" in only:
            yield from table("digest", name, n, digesters(folder), {})
        if "hdf5" in only and "JPEG" in name:  # of one size
            yield from table("reading HDF5", name, n, hdf5s(folder), {})
    if "memory" in only:
        yield from memory_rows(written(work / "many", N_MEMORY, (64, 64)))


def main() -> None:
    """Measure all and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--only", default="loading,decoding,digest,hdf5,memory")
    parser.add_argument("--memory", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--memory-control", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    file_source._CACHE_BYTES = 0
    if asked.memory or asked.memory_control:
        memory(asked.memory or asked.memory_control, control=asked.memory is None)
        return
    with tempfile.TemporaryDirectory() as work:
        rows = list(measure(set(asked.only.split(",")), asked.data, Path(work)))
    found = pd.DataFrame(rows)
    found["threads"] = torch.get_num_threads()
    found["load"] = round(os.getloadavg()[0], 1)
    found["machine"] = f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}"
    for key in ("netphys", "torch", "torchvision", "pillow"):
        found[key] = versions().get(key, "")
    RESULTS.parent.mkdir(exist_ok=True)
    if RESULTS.exists():  # rows that were not measured now stay
        before = pd.read_csv(RESULTS)
        found = pd.concat([before[~before["what"].isin(found["what"])], found], ignore_index=True)
    found.to_csv(RESULTS, index=False)
    print(found.iloc[:, :9].to_string(index=False))


if __name__ == "__main__":
    main()
