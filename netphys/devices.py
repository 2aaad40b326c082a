"""Which device computes: ``auto``, ``cpu``, ``cuda``; never a silent fallback."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netphys.errors import DeviceError

if TYPE_CHECKING:
    import torch

__all__ = ["describe_device", "resolve_device"]


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """Turn a device's name into a torch device that is there.

    Parameters
    ----------
    device : str
        ``"auto"`` (the first CUDA device if there is one, else the CPU), ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.

    Raises
    ------
    DeviceError
        If the device is unknown or absent.
    """
    import torch

    if str(device) == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError:
        raise DeviceError(f"no device {str(device)!r}; say 'auto', 'cpu', 'cuda' or 'cuda:1'") from None
    if resolved.type == "cpu":
        return torch.device("cpu")
    if resolved.type != "cuda":
        raise DeviceError(f"netphys computes on 'cpu' and 'cuda', not on {str(device)!r}")
    n_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (resolved.index or 0) >= n_devices:
        found = f"{n_devices} CUDA device(s)" if n_devices else "no CUDA device"
        raise DeviceError(f"device={str(device)!r} asked for, {found} found; pass device='cpu'")
    return torch.device("cuda", resolved.index or 0)


def describe_device(device: torch.device) -> str:
    """Name a device as a methods section would: ``"cpu"`` or ``"cuda (NVIDIA H100)"``."""
    import torch

    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type
