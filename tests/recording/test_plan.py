"""The plan: what the numbers depend on, the switches of torch among it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import netphys
from netphys.recording.plan import numerics, sink_plans
from netphys.recording.recorder import recording_digest, recording_plan


def _digest() -> str:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(48, 4))
    shown = netphys.StimulusSet.from_arrays(np.random.default_rng(0).integers(0, 256, (2, 3, 4, 4), dtype=np.uint8))
    return recording_digest(recording_plan(net, shown, layers="1", device="cpu"))


SWITCHES: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "matmul": (
        lambda: torch.set_float32_matmul_precision("medium"), lambda: torch.set_float32_matmul_precision("highest")
    ),
    "mkldnn": (lambda: torch.backends.mkldnn.set_flags(False), lambda: torch.backends.mkldnn.set_flags(True)),
    "deterministic": (
        lambda: torch.use_deterministic_algorithms(True), lambda: torch.use_deterministic_algorithms(False)
    ),
    "flush_denormal": (lambda: torch.set_flush_denormal(True), lambda: torch.set_flush_denormal(False)),
}  # fmt: skip


@pytest.mark.parametrize("switch", SWITCHES)
def test_switches_of_torch_make_another_digest_and_back_the_same(switch: str) -> None:
    before, there, (on, off) = _digest(), numerics(torch.device("cpu")), SWITCHES[switch]
    try:
        on()
        if numerics(torch.device("cpu")) == there and switch == "flush_denormal":
            pytest.skip("this processor cannot flush denormal numbers")
        assert numerics(torch.device("cpu"))[switch] != there[switch] and _digest() != before
    finally:
        off()
    assert _digest() == before  # control: it is not another one each time


def test_the_plan_is_plain_and_the_switches_are_in_it() -> None:
    found = numerics(torch.device("cpu"))
    assert found["matmul"] in ("ieee", "highest") and found["deterministic"] is False
    assert all(isinstance(value, str | bool) for value in found.values())


def test_plans_of_sinks() -> None:
    class Says:
        def __init__(self, k: int) -> None:
            self.k = k

        def plan(self) -> dict[str, Any]:
            return {"k": self.k, "at": np.arange(self.k)}

    class Silent: ...

    one, same, other = (list(sink_plans([Says(k)]).values())[0] for k in (2, 2, 3))  # type: ignore[list-item]
    assert one == same != other
    assert list(sink_plans([Silent()]).values()) == [None]  # type: ignore[list-item]
