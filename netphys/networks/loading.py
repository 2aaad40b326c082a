"""An address becomes a Network.

=====================================  ===========================================================================
``torchvision:NAME``, ``timm:NAME``    untrained, built under ``torch.manual_seed(seed)``; never a download
``netphys:NAME``                       one of the package's own
``...@DEFAULT``                        the library's own weights, fetched once and checked
``...@FILE.safetensors``               weights from a file
``FILE.py:FUNCTION``                   a user's function that returns a module or a Network; the file is executed
``FOLDER``                             a network that netphys has trained (``network.toml`` beside its weights)
=====================================  ===========================================================================

A query tunes it: ``?resize=224`` (exactly 224 x 224, no crop), ``?normalise=imagenet`` (mean and sd of ImageNet's
colours; ``none``: images stay in [0, 1]), ``?colour=lightness`` (the network sees no colour), ``?head=none`` (without
the linear layer that ends a classifier), ``?fields=left,right`` (what its forward is given of a stimulus; default: the
image), ``?seed=1``; ``netphys:small_alexnet?width=32`` has half the channels.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netphys.addresses import Query, integer, split_address
from netphys.errors import AddressError, OptionError, WeightsError, near
from netphys.networks.folder import is_network_folder, network_of_folder
from netphys.networks.heads import without_head
from netphys.networks.network import Network
from netphys.networks.preprocessing import COLOURS_SEEN, Preprocess
from netphys.networks.user_files import network_of_file
from netphys.networks.weights import load_weights
from netphys.seeds import forked_torch

if TYPE_CHECKING:
    import torch

__all__ = ["as_network", "load_network"]

_FORMS = (
    "torchvision:NAME, timm:NAME, netphys:NAME (with @DEFAULT or @FILE.safetensors), FILE.py:FUNCTION, or the folder "
    "of a trained network"
)


def load_network(address: str, *, seed: int = 0) -> Network:
    """Load the network that an address leads to, in eval mode, on the CPU.

    Parameters
    ----------
    address : str
        See the module's table.
    seed : int
        Seed of an untrained network whose address names none: its weights are those that anyone gets who builds it
        under ``torch.manual_seed(seed)``.

    Raises
    ------
    AddressError
        If the address leads nowhere; near names are listed.
    WeightsError
        If the weights do not fit or cannot be fetched.

    Examples
    --------
    >>> load_network("netphys:pixels")
    Network(netphys:pixels: Pixels, 0 parameters, none)
    """
    body, query = split_address(address)
    seed = query.take("seed", integer(0), seed)
    changes = {
        "resize": query.take("resize", integer(1, 4096), None),
        "normalise": query.take("normalise", _normalisation, None),
        "colour": query.take("colour", _colour_seen, None),
    }
    headless = query.take("head", _no_head, False)
    looked_at = query.take("fields", _fields, None)
    network = _at(body, seed, query)
    query.finish()
    network = _with_preprocessing(network, body, {key: value for key, value in changes.items() if value is not None})
    if headless:
        without_head(network)
    network.module.eval()
    return replace(network, address=address, name=address, fields=looked_at or network.fields)


def _at(body: str, seed: int, query: Query) -> Network:
    """Make the network of an address without its query."""
    scheme, colon, rest = body.partition(":")
    if is_network_folder(body):
        return network_of_folder(Path(body), partial(load_network, seed=seed))
    if body.split(":")[0].endswith(".py"):
        return network_of_file(body, seed)
    if colon and scheme in _SCHEMES:
        name, _, weights = rest.partition("@")
        return _SCHEMES[scheme](name, weights, seed, query)
    if Path(body).is_dir():
        raise AddressError(f"{body} is a folder that holds no network (network.toml is not there)")
    raise AddressError(f"no network {body!r}{near(scheme, _SCHEMES) if colon else ''}; an address is {_FORMS}")


def _with_preprocessing(network: Network, body: str, changes: Mapping[str, Any]) -> Network:
    """Change what is done to an image as a query says."""
    if not changes:
        return network
    given = network.preprocess or Preprocess()
    if not isinstance(given, Preprocess):
        key, value = next(iter(changes.items()))
        said = f"{key}={value}" if key == "resize" else key
        raise AddressError(f"{body} prepares its images itself ({given!r:.60}), so that {said} means nothing to it")
    if "resize" in changes:
        given = replace(given, resize=(changes["resize"], changes["resize"]), crop=None)
    if "normalise" in changes:
        mean, std = changes["normalise"]
        given = replace(given, mean=mean, std=std)
    return replace(network, preprocess=replace(given, colour=changes.get("colour", given.colour)))


def as_network(network: Network | torch.nn.Module | str, *, seed: int = 0) -> Network:
    """Accept a plain module, or an address (built with `seed` where it is untrained), wherever a Network is.

    Raises
    ------
    OptionError
        If it is none of them.
    """
    import torch

    if isinstance(network, Network):
        return network
    if isinstance(network, torch.nn.Module):
        return Network(network)
    if isinstance(network, str):
        return load_network(network, seed=seed)
    raise OptionError(
        f"a network is a netphys Network, a torch.nn.Module or an address ({_FORMS}), not {type(network).__name__}"
    )


_NORMALISATIONS = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}


def _normalisation(text: str) -> Any:
    """Read the name of a normalisation."""
    if text not in _NORMALISATIONS:
        raise ValueError(f"one of {', '.join(_NORMALISATIONS)}")
    return _NORMALISATIONS[text]


def _colour_seen(text: str) -> str:
    """Read what colours a network sees."""
    if text not in COLOURS_SEEN:
        raise ValueError(f"one of {', '.join(COLOURS_SEEN)}")
    return text


def _fields(text: str) -> tuple[str, ...]:
    """Read names of fields, separated by commas."""
    names = tuple(each.strip() for each in text.split(","))
    if not all(names):
        raise ValueError("names of fields, such as left,right")
    return names


def _no_head(text: str) -> bool:
    """Read that the head is taken off."""
    if text != "none":
        raise ValueError("only head=none is known")
    return True


def _torchvision(name: str, weights: str, seed: int, query: Query) -> Network:
    """Build a classification model of torchvision; its published preprocessing holds for all weights."""
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise AddressError(f"torchvision has no model {name!r}{near(name, known)}")
    published = models.get_model_weights(name)
    preset = published.DEFAULT.transforms() if len(published) else None
    fetched = published.DEFAULT if weights == "DEFAULT" else None
    if fetched is not None:
        fetch_torchvision(fetched)
    with forked_torch(seed), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # googlenet and inception announce a change of initialisation
        # given its weights, for some set options by them (googlenet's transform_input, the image size of a ViT)
        module = models.get_model(name, weights=fetched, progress=False)
    if weights and fetched is None:
        load_weights(module, Path(weights))
    return Network(module, _from_preset(preset), training="pretrained" if weights else "untrained")


def fetch_torchvision(weights: Any) -> dict[str, torch.Tensor]:
    """Fetch a model's published weights into torch's cache: the hash in the file's name is checked, no code is run.

    Parameters
    ----------
    weights : torchvision WeightsEnum
        Has ``url``.

    Raises
    ------
    WeightsError
        If they cannot be fetched, in one line.
    """
    from urllib.error import URLError

    import torch

    try:
        return torch.hub.load_state_dict_from_url(
            weights.url, progress=sys.stderr.isatty(), check_hash=True, map_location="cpu", weights_only=True
        )
    except (URLError, OSError, RuntimeError) as error:
        reason = str(getattr(error, "reason", error)).splitlines()[0]
        raise WeightsError(
            f"weights {weights} cannot be fetched ({reason}); without a network give a file: NAME@FILE.safetensors"
        ) from None


def _from_preset(preset: Any) -> Preprocess:
    """Read torchvision's preset of a classification model."""
    if preset is None or not hasattr(preset, "crop_size"):
        return Preprocess()
    (resize,), (crop,) = preset.resize_size, preset.crop_size
    mean, std = (tuple(float(value) for value in each) for each in (preset.mean, preset.std))
    return Preprocess(resize=resize, crop=crop, mean=mean, std=std, interpolation=preset.interpolation.value)  # type: ignore[arg-type]


def _timm(name: str, weights: str, seed: int, query: Query) -> Network:
    """Build a model of timm with the preprocessing of its configuration."""
    try:
        import timm
    except ImportError:
        raise AddressError(f"timm:{name} needs timm, which is not installed; pip install 'netphys[timm]'") from None
    if not timm.is_model(name):
        raise AddressError(f"timm has no model {name!r}{near(name, timm.list_models())}")
    try:
        with forked_torch(seed):
            module = timm.create_model(name, pretrained=weights == "DEFAULT")
    except Exception as error:
        if weights != "DEFAULT":
            raise
        raise WeightsError(f"weights of timm:{name} cannot be fetched ({str(error).splitlines()[0]})") from None
    if weights not in ("", "DEFAULT"):
        load_weights(module, Path(weights))
    config = timm.data.resolve_model_data_config(module)
    side = int(config["input_size"][-1])
    interpolation = config["interpolation"] if config["interpolation"] in ("bilinear", "bicubic") else "bicubic"
    preprocess = Preprocess(
        resize=int(side / config["crop_pct"]),
        crop=side,
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        interpolation=interpolation,
    )
    return Network(module, preprocess, training="pretrained" if weights else "untrained")


def _own(name: str, weights: str, seed: int, query: Query) -> Network:
    """Build one of the package's own networks."""
    from netphys.networks.own import OWN_NETWORKS

    if name not in OWN_NETWORKS:
        raise AddressError(f"netphys has no network {name!r}{near(name, OWN_NETWORKS)}")
    if weights == "DEFAULT":
        raise AddressError(f"netphys:{name} has no published weights; give a file: netphys:{name}@FILE.safetensors")
    own = OWN_NETWORKS[name]
    options = {key: query.take(key, integer(1, 4096), None) for key in own.options}
    with forked_torch(seed):
        module = own.build(**{key: value for key, value in options.items() if value is not None})
    if weights:
        load_weights(module, Path(weights))
    return Network(module, Preprocess(), training=("pretrained" if weights else "untrained") if own.learns else "none")


_SCHEMES: dict[str, Callable[[str, str, int, Query], Network]] = {
    "torchvision": _torchvision,
    "timm": _timm,
    "netphys": _own,
}
