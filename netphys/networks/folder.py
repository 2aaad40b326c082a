"""A netphys network: a folder with ``weights.safetensors`` and ``network.toml``, which says what made it.

The folder is an address. ``network.toml`` names the architecture by its own address (as
``netphys:small_alexnet?width=32``), what is done to an image, what the network was trained to do and how; nothing in it
is executed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w

from netphys.errors import AddressError, OptionError, WeightsError
from netphys.files import committing, ensure_folder, sha256_of, write_text
from netphys.networks.network import Network
from netphys.networks.preprocessing import Preprocess
from netphys.networks.weights import load_weights

if TYPE_CHECKING:
    import torch

__all__ = ["is_network_folder", "network_of_folder", "read_network_toml", "save_network"]

FORMAT = "netphys-network-1"
_SET_BY_WEIGHTS = ("torchvision:googlenet", "torchvision:inception_v3", "torchvision:vit_h_14")  # their layers, too
_WEIGHTS, _TOML = "weights.safetensors", "network.toml"


def save_network(folder: Path | str, network: Network, made: Mapping[str, Any]) -> Path:
    """Write a network as a folder; ``network.toml`` is committed last, so that a kill leaves no network or a whole one.

    Parameters
    ----------
    folder : Path
        Where; made if it is not there.
    network : Network
        Its `address` says the architecture (the folder of a trained network: that network's); its `preprocess` is a
        Preprocess or None.
    made : mapping
        What made it: objective, options, digests, versions; plain data.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    OptionError
        If the network has no address, or prepares its images by a function of the user's, which no file can hold.
    """
    from safetensors.torch import save

    if not network.address:
        raise OptionError(
            f"{network.name} has no address, so that a file cannot say its architecture; make it by load_network"
        )
    if network.preprocess is not None and not isinstance(network.preprocess, Preprocess):
        raise OptionError(f"{network.name} prepares its images by {network.preprocess!r:.60}, which no file can hold")
    architecture = _architecture(network.address)
    folder = ensure_folder(folder)
    with committing(folder / _WEIGHTS) as temporary:
        temporary.write_bytes(save(_plain_state(network.module)))  # save_file would let nobody else read it
    table = {
        "format": FORMAT,
        "architecture": architecture,
        "training": network.training,
        "weights_sha256": sha256_of(folder / _WEIGHTS),
        "preprocess": _given(network.preprocess),
        "made": _without_none(dict(made)),
    }
    write_text(folder / _TOML, tomli_w.dumps(table))
    return folder


def is_network_folder(folder: Path | str) -> bool:
    """Tell whether a folder holds a netphys network."""
    return (Path(folder) / _TOML).is_file()


def read_network_toml(folder: Path | str) -> dict[str, Any]:
    """Read what a network's folder says of itself.

    Raises
    ------
    AddressError
        If it is no network's folder, or says not what it must.
    """
    path = Path(folder) / _TOML
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AddressError(f"{folder} holds no network ({_TOML} is not there)") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise AddressError(f"{path} cannot be read ({str(error).splitlines()[0]})") from None
    if table.get("format") != FORMAT:
        raise AddressError(f"{path} is not that of a netphys network (format {table.get('format')!r})")
    for key, kind in (("architecture", str), ("training", str), ("weights_sha256", str), ("preprocess", dict)):
        if not isinstance(table.get(key), kind):
            raise AddressError(f"{path} does not say its {key}")
    return table


def network_of_folder(folder: Path, build: Callable[[str], Network]) -> Network:
    """Load a network from its folder.

    Parameters
    ----------
    folder : Path
        Holds ``weights.safetensors`` and ``network.toml``.
    build : callable
        Makes the architecture of an address (:func:`netphys.load_network`).

    Raises
    ------
    AddressError
        If ``network.toml`` is not understood, or names another folder as its architecture.
    WeightsError
        If the weights are not those that were written, or do not fit.
    """
    table, weights = read_network_toml(folder), folder / _WEIGHTS
    architecture = table["architecture"]
    if Path(architecture.partition("?")[0]).is_dir():
        raise AddressError(f"{folder / _TOML} names a folder, {architecture}, as its architecture")
    if not weights.is_file():
        raise WeightsError(f"{folder} lacks its {_WEIGHTS}")
    if sha256_of(weights) != table["weights_sha256"]:
        raise WeightsError(f"{weights} is not what {_TOML} was written with (checksum); train it again")
    network = build(architecture)
    load_weights(network.module, weights)
    try:
        preprocess = Preprocess.from_dict(table["preprocess"])
    except OptionError as error:
        raise AddressError(f"{folder / _TOML}: {error}") from None
    network.module.eval()
    return replace(network, preprocess=preprocess, training=table["training"], address=str(folder), name=folder.name)


def _architecture(address: str) -> str:
    """Say the architecture of an address alone: the weights are the folder's own, and so is what is done to images.

    Of a trained network's folder it is the one that this folder names, without its head if the address says so.
    """
    body, _, query = address.partition("?")
    if is_network_folder(body):
        inner = _architecture_of_scheme(read_network_toml(body)["architecture"])
        if "head=none" in query.split("&") and "head=none" not in inner.partition("?")[2].split("&"):
            inner += f"{'&' if '?' in inner else '?'}head=none"
        return inner
    return _architecture_of_scheme(address)


def _architecture_of_scheme(address: str) -> str:
    """Leave the weights out of ``SCHEME:NAME@WEIGHTS?query``; a file of the user's stays as it is."""
    body, mark, query = address.partition("?")
    name, at, weights = body.partition("@")
    if not at or name.split(":")[0].endswith(".py") or ":" not in name:
        return address
    if weights == "DEFAULT" and name in _SET_BY_WEIGHTS:
        return address
    return name + mark + query


def _plain_state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return every tensor of a module on the CPU, each with memory of its own."""
    return {name: each.detach().cpu().contiguous().clone() for name, each in module.state_dict().items()}


def _given(preprocess: Preprocess | None) -> dict[str, Any]:
    """Write a preprocessing as TOML holds it."""
    return _without_none((preprocess or Preprocess()).to_dict())


def _without_none(value: Any) -> Any:
    """Leave out what is None, which TOML lacks; tuples become lists."""
    if isinstance(value, Mapping):
        return {str(key): _without_none(each) for key, each in value.items() if each is not None}
    if isinstance(value, list | tuple):
        return [_without_none(each) for each in value if each is not None]
    return value
