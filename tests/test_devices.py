"""netphys.devices: never a silent fallback."""

from __future__ import annotations

import pytest
import torch

from netphys.devices import describe_device, resolve_device
from netphys.errors import DeviceError


def test_the_cpu_is_always_there() -> None:
    assert resolve_device("cpu") == resolve_device("cpu:0") == torch.device("cpu")
    assert describe_device(torch.device("cpu")) == "cpu"


def test_without_cuda_auto_is_the_cpu_and_cuda_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == torch.device("cpu")
    with pytest.raises(DeviceError, match="device='cuda' asked for, no CUDA device found; pass device='cpu'"):
        resolve_device("cuda")


def test_with_one_cuda_device_auto_is_it_and_a_second_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert resolve_device("auto") == resolve_device("cuda") == torch.device("cuda", 0)
    with pytest.raises(DeviceError, match=r"device='cuda:1' asked for, 1 CUDA device\(s\) found"):
        resolve_device("cuda:1")


@pytest.mark.parametrize(("name", "said"), [("gpu", "no device 'gpu'"), ("meta", "computes on 'cpu' and 'cuda'")])
def test_unknown_devices_are_named(name: str, said: str) -> None:
    with pytest.raises(DeviceError, match=said):
        resolve_device(name)
