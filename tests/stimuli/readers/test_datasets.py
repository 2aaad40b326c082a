"""read_dataset and read_torchvision: any Dataset, the digest of its files, sets by name, fetched from a server here."""

from __future__ import annotations

import collections
import gzip
import hashlib
import http.server
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset
from torchvision import datasets, transforms

from netphys.errors import NetphysError, OptionError, StimulusError
from netphys.stimuli import StimulusSet
from netphys.stimuli.readers.datasets import read_dataset, read_torchvision
from netphys.stimuli.readers.image_values import image_of

Write = Callable[..., Path]
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 8, 10, 3), dtype=np.uint8)


class Listed(Dataset):
    """A list as a Dataset."""

    def __init__(self, items: list[Any], **attributes: Any) -> None:
        self.items = items
        self.__dict__.update(attributes)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


def shown_of(items: list[Any], **options: Any) -> StimulusSet:
    return StimulusSet.from_dataset(Listed(items), **options)


def test_an_image_folder_has_the_pixels_ids_and_digest_of_the_folder(image_folder: Write) -> None:
    folder = image_folder({"face/b.png": 1, "face/a.png": 2, "house/c.png": 3})
    Image.fromarray(PIXELS[0, ..., 0]).save(folder / "house/grey.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PIXELS[1]).save(folder / "house/turned.jpg", exif=exif, quality=95)
    files, taken = StimulusSet.from_folder(folder), StimulusSet.from_dataset(datasets.ImageFolder(str(folder)))
    assert taken.ids == files.ids and taken.digest == files.digest
    assert taken.metadata["label"].tolist() == [0, 0, 1, 1, 1]
    assert taken.metadata["category"].tolist() == ["face", "face", "house", "house", "house"]
    assert taken.metadata["file"].tolist() == list(files.ids)
    resized = datasets.ImageFolder(str(folder), transform=transforms.Resize((8, 8)))
    assert StimulusSet.from_dataset(resized).digest != files.digest  # control
    part = StimulusSet.from_dataset(Subset(datasets.ImageFolder(str(folder)), [4, 0]))
    assert part.ids == ("house/turned.jpg", "face/a.png") and part.metadata["category"].tolist() == ["house", "face"]
    assert part.digest == files[["house/turned.jpg", "face/a.png"]].digest


@pytest.mark.parametrize("name", ["pil", "chw", "hwc", "numpy chw", "float", "float64"])
def test_images_of_every_layout_are_the_same(name: str) -> None:
    chw = torch.from_numpy(PIXELS).permute(0, 3, 1, 2)
    items = {
        "pil": [Image.fromarray(each) for each in PIXELS], "chw": list(chw), "hwc": list(torch.from_numpy(PIXELS)),
        "numpy chw": list(chw.numpy()), "float": list(chw / 255), "float64": list(chw.double() / 255),
    }[name]  # fmt: skip
    shown = shown_of(items)
    images = shown.images(range(6))
    assert isinstance(images, torch.Tensor) and images.dtype == (torch.float32 if "float" in name else torch.uint8)
    assert torch.equal((images * 255).round().to(torch.uint8) if "float" in name else images, chw)
    assert shown.ids == ("0", "1", "2", "3", "4", "5") and list(shown.metadata.columns) == ["stimulus_id"]
    if "float" not in name:
        assert shown.digest == StimulusSet.from_arrays(chw).digest


def test_grey_alpha_and_other_depths_are_converted_and_said() -> None:
    grey = PIXELS[0, ..., 0]
    for value in (grey, grey[None], grey[..., None], Image.fromarray(grey), torch.from_numpy(grey)):
        shown = shown_of([value])
        assert torch.equal(shown.images([0])[0], torch.from_numpy(grey).expand(3, 8, 10))
        assert shown.conversions == {"grey repeated": 1}
    assert torch.equal(shown_of([grey > 127]).images([0])[0, 0] == 255, torch.from_numpy(grey > 127))
    wide = grey.astype(np.uint16) * 257
    assert torch.equal(shown_of([wide]).images([0])[0, 0], torch.from_numpy(grey))
    rgba = np.dstack([PIXELS[0], grey])
    over = shown_of([rgba]).images([0])[0]
    assert torch.equal(over, shown_of([Image.fromarray(rgba, mode="RGBA")]).images([0])[0])
    fine = shown_of([torch.from_numpy(rgba).permute(2, 0, 1) / 255]).images([0])[0]
    assert float((fine * 255 - over).abs().max()) <= 1  # PIL rounds each step


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (torch.randn(3, 8, 8), r"holds floats in \[-.*leave out Normalize"),
        (torch.rand(3, 8, 8) * 255, r"holds floats in .*; divide by 255"),
        (torch.full((3, 8, 8), float("nan")), "holds floats in"),
        (torch.zeros(3, 8, 8, dtype=torch.int64), "is int64; an image is uint8, or float"),
        (torch.zeros(3, 8, 3), "has the shape .3, 8, 3., whose colours may be first or last; say layout="),
        (torch.zeros(5, 8, 8), "has the shape .5, 8, 8.; an image has 1, 3 or 4 channels"),
        (torch.zeros(2, 3, 8, 8), r"is no image \(3, y, x\).* shape \(2, 3, 8, 8\)"),
        (torch.zeros(7), "is no image"),
        (torch.zeros(3, 0, 8), "is no image"),
        ("a.png", "is no image but str"),
        (None, "is no image but NoneType"),
    ],
)
def test_what_is_no_image_says_what_would_be(value: Any, said: str) -> None:
    with pytest.raises(StimulusError, match=f"Listed: item 0 {said}") as caught:
        read_dataset(Listed([value, value]))
    assert "\n" not in str(caught.value)


def test_a_layout_that_is_open_can_be_said() -> None:
    value = np.arange(3 * 8 * 3, dtype=np.uint8).reshape(3, 8, 3)
    assert np.array_equal(image_of(value, "x", layout="CHW")[0], value)
    assert np.array_equal(image_of(value, "x", layout="HWC")[0], value.transpose(2, 0, 1))
    with pytest.raises(OptionError, match="layout='WHC'"):
        image_of(value, "x", layout="WHC")  # type: ignore[arg-type]


def test_items_are_tuples_or_dicts_and_labels_become_columns() -> None:
    tuples = shown_of([(each, index % 2) for index, each in enumerate(PIXELS)])
    assert tuples.metadata["label"].tolist() == [0, 1, 0, 1, 0, 1]
    turned = shown_of([(index % 2, each) for index, each in enumerate(PIXELS)], image=1, label=0)
    assert turned.digest == tuples.digest and turned.metadata["label"].tolist() == [0, 1, 0, 1, 0, 1]
    dicts = shown_of([{"image": each, "label": np.int64(index)} for index, each in enumerate(PIXELS)])
    assert dicts.digest == tuples.digest and dicts.metadata["label"].tolist() == list(range(6))
    named = shown_of([{"x": each, "kind": "cat"} for each in PIXELS], image="x", label="kind")
    assert named.metadata["category"].tolist() == ["cat"] * 6
    pair = collections.namedtuple("pair", "image label")
    assert shown_of([pair(each, torch.tensor(2)) for each in PIXELS]).metadata["label"].tolist() == [2] * 6
    boxes = shown_of([(each, {"boxes": torch.zeros(2, 4)}) for each in PIXELS])
    assert list(boxes.metadata.columns) == ["stimulus_id"]
    tensors = TensorDataset(torch.from_numpy(PIXELS).permute(0, 3, 1, 2), torch.arange(6))
    assert StimulusSet.from_dataset(tensors).metadata["label"].tolist() == list(range(6))
    assert len(StimulusSet.from_dataset(ConcatDataset([tensors, tensors]))) == 12
    with pytest.raises(StimulusError, match="item 0 has 2 parts, no 2; image= says which one"):
        read_dataset(Listed([(PIXELS[0], 1)]), image=2)
    with pytest.raises(StimulusError, match="item 0 holds no image: it has 'x'; image= names one"):
        read_dataset(Listed([{"x": PIXELS[0]}]))
    with pytest.raises(StimulusError, match="an item has 2 parts, no 'kind'; label= says which one"):
        read_dataset(Listed([(PIXELS[0], 1)]), label="kind")


def test_labels_that_a_set_keeps_are_used_without_a_pass_unless_they_differ() -> None:
    items = [(each, index % 2) for index, each in enumerate(PIXELS)]
    read: list[int] = []

    class Counting(Listed):
        def __getitem__(self, index: int) -> Any:
            read.append(index)
            return super().__getitem__(index)

    kept = read_dataset(Counting(items, targets=[0, 1, 0, 1, 0, 1], classes=["cat", "dog"]))
    assert set(read) == {0, 1, 3, 4, 5}  # three that are read twice, and five that are compared
    assert kept.table["category"].tolist() == ["cat", "dog"] * 3
    read.clear()
    other = read_dataset(Counting(items, targets=torch.tensor([9, 1, 0, 1, 0, 1]), classes=["cat", "dog"]))
    assert set(read) == set(range(6)) and other.table["label"].tolist() == [0, 1] * 3
    mapped = read_dataset(Counting(items, targets=[0, 1, 0, 1, 0, 1], target_transform=abs))
    assert mapped.table["label"].tolist() == [0, 1] * 3


def test_ids_and_metadata_of_the_user() -> None:
    table = pd.DataFrame({"stimulus_id": list("abcdef"), "label": range(6)})
    shown = shown_of([(each, 1) for each in PIXELS], metadata=table, name="mine")
    assert shown.ids == tuple("abcdef") and shown.metadata["label"].tolist() == list(range(6)) and shown.name == "mine"
    assert shown_of(list(PIXELS), ids=list("uvwxyz")).ids == tuple("uvwxyz")
    with pytest.raises(StimulusError, match="has 6 items but 2 ids"):
        read_dataset(Listed(list(PIXELS)), ids=["a", "b"])
    with pytest.raises(StimulusError, match="has 6 items but 5 rows of metadata"):
        read_dataset(Listed(list(PIXELS)), metadata=table[:5])


def test_random_transforms_are_refused_and_the_generator_is_left_as_found() -> None:
    class Flipped(Listed):
        def __getitem__(self, index: int) -> Any:
            return transforms.RandomHorizontalFlip(0.5)(torch.from_numpy(PIXELS[index]).permute(2, 0, 1))

    state = torch.get_rng_state()
    refused = 0
    for seed in range(10):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        try:
            read_dataset(Flipped(list(PIXELS)))
        except StimulusError as error:
            refused += "read again, is another image; leave out random transforms" in str(error)
        assert torch.equal(torch.get_rng_state(), before)
    torch.set_rng_state(state)
    assert refused == 10  # a flip escapes three items read four times once in 512
    assert len(read_dataset(Listed(list(PIXELS))).table) == 6  # control


def test_what_is_no_dataset() -> None:
    class Stream(IterableDataset):
        def __iter__(self) -> Iterator[Any]:
            return iter(PIXELS)

    class Broken(Listed):
        def __getitem__(self, index: int) -> Any:
            raise KeyError("the file\nis gone")

    class Endless(Dataset):
        def __getitem__(self, index: int) -> Any:
            return PIXELS[0]

    for dataset, said in (
        (Stream(), "Stream is an IterableDataset, whose items have no number"),
        (DataLoader(Listed(list(PIXELS))), "is a DataLoader; give its dataset"),
        (Endless(), "Endless does not say how many items it has"),
        (Listed([]), "Listed holds no item"),
        (5, "a torch Dataset is wanted, with .* not int"),
        ("folder", "not str"),
        (Broken([1, 2]), "Broken: item 0 cannot be read .KeyError"),
    ):
        with pytest.raises(StimulusError, match=said) as caught:
            read_dataset(dataset)
        assert "\n" not in str(caught.value)


def test_sets_of_torchvision_by_name(image_folder: Write, tmp_path: Path) -> None:
    fake = StimulusSet.from_torchvision("FakeData", tmp_path, size="4", image_size="3,8,9", num_classes="2")
    assert fake.name == "FakeData" and fake.images(range(4)).shape == (4, 3, 8, 9)
    assert fake.digest == StimulusSet.from_torchvision("FakeData", tmp_path, size=4, image_size=(3, 8, 9)).digest
    folder = image_folder({"face/b.png": 1, "house/c.png": 3})
    assert StimulusSet.from_torchvision("ImageFolder", folder).digest == StimulusSet.from_folder(folder).digest


@pytest.mark.parametrize(
    ("name", "options", "kind", "said"),
    [
        ("CIFAR1", {}, StimulusError, "torchvision has no set 'CIFAR1'; near: 'CIFAR10"),
        ("MNIST", {"trian": "false"}, OptionError, "takes no option 'trian'; near: 'train'"),
        ("MNIST", {"train": "maybe"}, OptionError, "train=maybe is not understood; true or false is wanted"),
        ("MNIST", {"download": "maybe"}, OptionError, "download=maybe is not understood"),
        ("FakeData", {"size": "many"}, OptionError, "size=many is not understood; numbers are wanted"),
        ("MNIST", {"transform": "Resize"}, OptionError, "transform is a function, which no text can say"),
        ("EMNIST", {}, OptionError, "torchvision:EMNIST wants split too"),
        ("ImageFolder", {"download": True}, OptionError, "cannot be fetched by itself"),
        ("MNIST", {}, StimulusError, "MNIST is not, or not whole, in .*; download=true fetches it"),
        ("CIFAR10", {"train": "false"}, StimulusError, "CIFAR10 is not, or not whole, in .*; download=true"),
        ("ImageFolder", {}, StimulusError, "ImageFolder is not, or not whole, in .*; it is fetched by hand"),
        ("ImageNet", {}, StimulusError, "ImageNet is not, or not whole, in .*; it is fetched by hand"),
    ],
)
def test_names_and_options_are_checked(
    tmp_path: Path, name: str, options: dict[str, Any], kind: type[NetphysError], said: str
) -> None:
    with pytest.raises(kind, match=said) as caught:
        read_torchvision(name, tmp_path / "absent", **options)
    assert "\n" not in str(caught.value)


def test_what_a_set_prints_is_not_shown_and_timeouts_are_left_as_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    class Loud(Listed):
        def __init__(self, root: str, download: bool = False) -> None:
            super().__init__(list(PIXELS))
            assert socket.getdefaulttimeout() == 60 and root == str(tmp_path) and download is False
            print("Files already downloaded and verified")  # noqa: T201

    monkeypatch.setattr(datasets, "FakeData", Loud)
    assert len(read_torchvision("FakeData", tmp_path).table) == 6
    assert capsys.readouterr().out == "" and socket.getdefaulttimeout() is None


def _idx(array: np.ndarray) -> bytes:
    """Write numbers as MNIST's files have them."""
    return gzip.compress(struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, dict[str, bytes], list[str]]]:
    """A server on this machine: its address, what it serves, and what it was asked for."""
    served: dict[str, bytes] = {}
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            data = served.get(self.path)
            self.send_response(200 if data is not None else 404)
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()
            self.wfile.write(data or b"")

        do_HEAD = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/", served, asked
        running.shutdown()


@pytest.fixture
def small_mnist(server: tuple[str, dict[str, bytes], list[str]], monkeypatch: pytest.MonkeyPatch) -> Any:
    """FashionMNIST of five pictures, on a server here."""
    address, served, asked = server
    pictures = RNG.integers(0, 256, (5, 28, 28), dtype=np.uint8)
    labels = np.array([3, 1, 4, 1, 5], dtype=np.uint8)
    for part in ("train", "t10k"):
        served[f"/{part}-images-idx3-ubyte.gz"], served[f"/{part}-labels-idx1-ubyte.gz"] = _idx(pictures), _idx(labels)
    sums = [(name[1:], hashlib.md5(data).hexdigest()) for name, data in served.items()]
    monkeypatch.setattr(datasets.FashionMNIST, "mirrors", [address])
    monkeypatch.setattr(datasets.FashionMNIST, "resources", sums)
    return pictures, labels, served, asked


def test_a_set_is_fetched_checked_and_read(small_mnist: Any, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    pictures, labels, _, asked = small_mnist
    shown = StimulusSet.from_torchvision("FashionMNIST", tmp_path, download="true", train="false")
    assert np.array_equal(shown.images(range(5))[:, 1].numpy(), pictures) and shown.conversions == {"grey repeated": 5}
    assert shown.metadata["label"].tolist() == labels.tolist()
    assert shown.metadata["category"].tolist() == ["Dress", "Trouser", "Coat", "Trouser", "Sandal"]
    assert asked and capsys.readouterr().out == ""
    asked.clear()
    again = StimulusSet.from_torchvision("FashionMNIST", tmp_path, train="false")
    assert again.digest == shown.digest and not asked  # what is there is not fetched again


def test_what_cannot_be_fetched_is_one_line(small_mnist: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, served, _ = small_mnist
    name = "/t10k-labels-idx1-ubyte.gz"
    whole, served[name] = served[name], b"another file"
    with pytest.raises(StimulusError, match="FashionMNIST cannot be fetched into .*") as caught:
        read_torchvision("FashionMNIST", tmp_path / "a", download=True)
    assert "\n" not in str(caught.value)
    del served[name]
    with pytest.raises(StimulusError, match="FashionMNIST cannot be fetched into"):
        read_torchvision("FashionMNIST", tmp_path / "b", download=True)
    served[name] = whole
    assert len(read_torchvision("FashionMNIST", tmp_path / "b", download=True).table) == 5  # control: then it works
    monkeypatch.setattr(datasets.FashionMNIST, "mirrors", ["http://127.0.0.1:9/"])  # nobody listens: offline
    with pytest.raises(StimulusError, match="FashionMNIST cannot be fetched into") as caught:
        read_torchvision("FashionMNIST", tmp_path / "c", download=True)
    assert "\n" not in str(caught.value)


def test_fuzz_of_items_and_files(small_mnist: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    read_torchvision("FashionMNIST", tmp_path, download=True)
    raw = tmp_path / "FashionMNIST" / "raw"
    counted = {"read": 0, "refused": 0}
    for index in range(40):
        path = raw / ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")[index % 2]
        data = path.read_bytes()
        values = bytearray(data)
        if index % 3 == 0:
            values = values[: rng.integers(0, len(values))]
        else:
            for at in rng.integers(0, 20, 2) % len(values):
                values[at] = rng.integers(256)
        path.write_bytes(values)
        counted[_outcome(lambda: StimulusSet.from_torchvision("FashionMNIST", tmp_path).images([0]))] += 1
        path.write_bytes(data)
    dtypes = [np.uint8, np.int16, np.float32, np.float64, bool, np.complex64, "U3", object]
    for index in range(80):
        shape = tuple(int(each) for each in rng.choice([0, 1, 2, 3, 4, 9], rng.integers(0, 5)))
        value: Any = np.zeros(shape, dtypes[index % 8])
        value = [value, [value], {"image": value}, {"y": value}, (value, value)][index % 5]
        counted[_outcome(lambda: StimulusSet.from_dataset(Listed([value, value])).images([0]))] += 1  # noqa: B023
    assert counted["read"] > 5 and counted["refused"] > 60


def _outcome(attempt: Callable[[], Any]) -> str:
    try:
        attempt()
    except NetphysError as error:
        assert "\n" not in str(error)
        return "refused"
    return "read"
