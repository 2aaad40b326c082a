"""load_network: an address becomes a Network, or one line says why not."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision import models

from netphys.errors import AddressError, WeightsError
from netphys.networks import Preprocess, load_network


@pytest.mark.parametrize("name", ["alexnet", "resnet18", "squeezenet1_1", "mobilenet_v2", "googlenet"])
def test_untrained_models_are_those_that_anyone_gets(name: str) -> None:
    torch.manual_seed(5)
    expected_next = torch.rand(3)
    torch.manual_seed(5)
    network = load_network(f"torchvision:{name}", seed=0)
    assert torch.equal(torch.rand(3), expected_next)  # the global generator is where it was
    warned = pytest.warns(FutureWarning) if name == "googlenet" else nullcontext()
    with torch.random.fork_rng(), warned:
        torch.manual_seed(0)
        expected = models.get_model(name, weights=None).state_dict()
    assert network.module.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[key]) for key, value in network.module.state_dict().items())
    assert network.training == "untrained" and not network.module.training
    assert network.name == network.address == f"torchvision:{name}"


def test_seeds_differ_and_the_address_wins() -> None:
    zero, one = load_network("torchvision:squeezenet1_1"), load_network("torchvision:squeezenet1_1", seed=1)
    assert zero.digest != one.digest == load_network("torchvision:squeezenet1_1?seed=1", seed=7).digest
    assert zero.digest == load_network("torchvision:squeezenet1_1?seed=0").digest


def test_weights_from_a_file(tmp_path: Path) -> None:
    one = load_network("torchvision:squeezenet1_1?seed=1")
    save_file(one.module.state_dict(), tmp_path / "w.safetensors")
    loaded = load_network(f"torchvision:squeezenet1_1@{tmp_path}/w.safetensors")
    assert loaded.training == "pretrained" and loaded.digest == one.digest
    with pytest.raises(WeightsError, match="does not fit AlexNet: it lacks"):
        load_network(f"torchvision:alexnet@{tmp_path}/w.safetensors")
    small = load_network("netphys:small_alexnet?seed=3")
    save_file(small.module.state_dict(), tmp_path / "s.safetensors")
    assert load_network(f"netphys:small_alexnet@{tmp_path}/s.safetensors").digest == small.digest


def test_resize_is_exact_without_a_crop() -> None:
    network = load_network("torchvision:alexnet?resize=64")
    given = load_network("torchvision:alexnet").preprocess
    assert network.preprocess == Preprocess((64, 64), None, given.mean, given.std, given.interpolation)
    assert given.crop == 224 and network.digest != load_network("torchvision:alexnet").digest


def test_timm_models_are_theirs_with_their_preprocessing() -> None:
    network = load_network("timm:resnet10t", seed=2)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        expected = timm.create_model("resnet10t", pretrained=False)
    assert all(torch.equal(v, expected.state_dict()[k]) for k, v in network.module.state_dict().items())
    config = timm.data.resolve_model_data_config(expected)
    assert network.preprocess.crop == config["input_size"][-1] and network.preprocess.mean == tuple(config["mean"])
    assert network.preprocess.resize == int(config["input_size"][-1] / config["crop_pct"])
    theirs = timm.data.create_transform(**config, is_training=False)
    image = torch.randint(0, 256, (3, 300, 260), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    image = torch.nn.functional.avg_pool2d(image.float(), 9, 1, 4).to(torch.uint8)
    shown = theirs(Image.fromarray(image.permute(1, 2, 0).numpy()))
    # PIL rounds to whole grey levels after each of two passes
    assert (network.prepare(image[None])[0] - shown).abs().max() < 2.5 / 255 / min(config["std"])


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("torchvision:resnet81", "torchvision has no model 'resnet81'; near: 'resnet18'"),
        ("timm:resnet10x", "timm has no model 'resnet10x'; near: "),
        ("netphys:gabor", "netphys has no network 'gabor'; near: 'gabor_energy'"),
        ("netphys:pixels@DEFAULT", "netphys:pixels has no published weights; give a file"),
        ("torchvison:alexnet", "no network 'torchvison:alexnet'; near: 'torchvision'; an address is torchvision:NAME"),
        ("alexnet", "no network 'alexnet'; an address is torchvision:NAME"),
        ("torchvision:alexnet?resize=0", r"resize=0 is not understood \(at least 1"),
        ("torchvision:alexnet?rezise=64", "takes no option 'rezise'; near: 'resize'"),
        ("absent.py:net", "no file absent.py for network 'absent.py:net'"),
    ],
)
def test_addresses_that_lead_nowhere(address: str, said: str) -> None:
    with pytest.raises(AddressError, match=said) as caught:
        load_network(address)
    assert "\n" not in str(caught.value)


def test_a_function_of_a_users_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import torch\nfrom netphys.networks import Network, Preprocess\n"
        "def net(): return torch.nn.Linear(2, 2)\n"
        "def whole(): return Network(torch.nn.Linear(2, 2), Preprocess(resize=8), training='mine')\n"
        "def number(): return 3\n"
        "def odd(): return Network(torch.nn.Identity(), abs)\n"
    )
    torch.manual_seed(5)
    expected_next = torch.rand(3)
    torch.manual_seed(5)
    network = load_network(f"{file}:net", seed=4)
    assert torch.equal(torch.rand(3), expected_next)
    assert load_network(f"{file}:net?seed=4").digest == network.digest != load_network(f"{file}:net").digest
    assert load_network(f"{file}:whole").training == "mine" and load_network(f"{file}:whole").preprocess.resize == 8
    for address, said in (
        (f"{file}", "names no function; say .*mine.py:FUNCTION"),
        (f"{file}:nett", "has no function 'nett'; near: 'net'"),
        (f"{file}:odd?resize=8", "prepares its images itself.*, so that resize=8 means nothing to it"),
        (f"{file}:number", "returned int, not a torch module or a netphys Network"),
    ):
        with pytest.raises(AddressError, match=said):
            load_network(address)


# The library's weights, from a server of our own on this machine


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    """Serve a folder on 127.0.0.1, with a cache of torch's own for this test: (address, folder)."""
    folder = tmp_path / "served"
    folder.mkdir()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *given: object, **more: object) -> None:
            super().__init__(*given, directory=str(folder), **more)

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", folder
        running.shutdown()


def _publish(name: str, server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, *, sha: str = "") -> dict:
    """Put weights of seed 9 where torchvision will look for them; return them."""
    address, folder = server
    state = load_network(f"torchvision:{name}?seed=9").module.state_dict()
    torch.save(state, folder / "w")
    sha = sha or hashlib.sha256((folder / "w").read_bytes()).hexdigest()[:8]
    (folder / "w").rename(folder / f"{name}-{sha}.pth")
    weights = models.get_model_weights(name).DEFAULT
    monkeypatch.setattr(weights.value, "url", f"{address}/{name}-{sha}.pth")
    return state


def test_default_fetches_once_and_loads(server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    state = _publish("squeezenet1_1", server, monkeypatch)
    network = load_network("torchvision:squeezenet1_1@DEFAULT")
    assert network.training == "pretrained"
    assert all(torch.equal(value, state[key]) for key, value in network.module.state_dict().items())
    for file in server[1].iterdir():
        file.unlink()
    assert load_network("torchvision:squeezenet1_1@DEFAULT").digest == network.digest  # from torch's cache


def test_default_sets_what_the_library_sets_with_its_weights(
    server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """GoogLeNet's weights expect inputs that its module rescales; built without them it would not."""
    _publish("googlenet", server, monkeypatch)
    fetched, untrained = load_network("torchvision:googlenet@DEFAULT"), load_network("torchvision:googlenet")
    assert fetched.module.transform_input and not untrained.module.transform_input


def test_a_wrong_hash_is_refused(server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    _publish("squeezenet1_1", server, monkeypatch, sha="0123abcd")
    with pytest.raises(WeightsError, match=r"cannot be fetched \(invalid hash value") as caught:
        load_network("torchvision:squeezenet1_1@DEFAULT")
    assert "\n" not in str(caught.value)


def test_without_a_network_one_line_says_so(server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    _publish("squeezenet1_1", server, monkeypatch)
    weights = models.get_model_weights("squeezenet1_1").DEFAULT
    monkeypatch.setattr(weights.value, "url", "http://127.0.0.1:9/a-0123abcd.pth")
    with pytest.raises(
        WeightsError, match=r"cannot be fetched \(.*refused.*\); without a network give a file"
    ) as caught:
        load_network("torchvision:squeezenet1_1@DEFAULT")
    assert "\n" not in str(caught.value)
