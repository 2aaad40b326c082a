"""Weights from a safetensors file into a module: every key and shape must fit; nothing executes on load."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from netphys.errors import WeightsError

if TYPE_CHECKING:
    import torch

__all__ = ["load_weights"]


def load_weights(module: torch.nn.Module, path: Path) -> None:
    """Load weights into `module`, cast to its dtypes (a file may mix float16 and float32).

    Raises
    ------
    WeightsError
        If the file is absent, no safetensors, or its keys or shapes are not those of the module.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if path.suffix != ".safetensors":
        raise WeightsError(f"weights {path} are not .safetensors; other formats can run code when they are opened")
    if not path.is_file():
        raise WeightsError(f"no weights at {path}")
    try:
        state = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path} is damaged or not a safetensors file ({str(error).splitlines()[0]})") from None
    fit(module, state, source=str(path))


def fit(module: torch.nn.Module, state: Mapping[str, torch.Tensor], *, source: str) -> None:
    """Load a state into a module, or raise a WeightsError that says what does not fit."""
    own = module.state_dict()
    missing, extra = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    if missing or extra:
        parts = [f"lacks {len(missing)}, first {missing[0]!r}"] if missing else []
        parts += [f"has {len(extra)} that the network lacks, first {extra[0]!r}"] if extra else []
        raise WeightsError(f"{source} does not fit {type(module).__name__}: it {' and '.join(parts)}")
    for name, tensor in own.items():
        if tensor.shape != state[name].shape:
            raise WeightsError(
                f"{source} does not fit {type(module).__name__}: {name!r} is {tuple(state[name].shape)}, "
                f"the network's is {tuple(tensor.shape)}"
            )
    module.load_state_dict(dict(state))
