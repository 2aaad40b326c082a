"""Device, precision and ranks; a library that would talk and change global things is kept from it."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings

import pytest
import torch

from netphys.errors import DeviceError, OptionError
from netphys.ranks import Alone
from netphys.training import engine
from netphys.training.engine import Engine, resolve_precision

CPU = torch.device("cpu")


def test_auto_follows_the_processor(monkeypatch) -> None:
    for there, precision in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(engine, "_has_dot_products", lambda there=there: there)
        assert resolve_precision("auto", CPU) == precision
        assert resolve_precision("float32", CPU) == "float32"


def test_unknown_names_are_refused() -> None:
    with pytest.raises(OptionError, match="precision='bf16' is not known; near: 'bfloat16'|precision='bf16'"):
        Engine("cpu", "bf16")
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="no CUDA device found"):
            Engine("cuda")


def test_the_precision_is_that_of_products_inside_the_block() -> None:
    for precision, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        made = Engine("cpu", precision)
        assert isinstance(made.ranks, Alone) and made.device == CPU
        with made.autocast():
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_alone_averages_nothing() -> None:
    values = torch.ones(3)
    Engine("cpu", "float32").average([values])
    assert torch.equal(values, torch.ones(3))


def test_making_one_changes_nothing_global(capfd) -> None:
    Engine("cpu", "bfloat16")  # what an import changes once is looked at in a process of its own, below
    filters, disabled, state = list(warnings.filters), logging.root.manager.disable, torch.get_rng_state()
    Engine("cpu", "bfloat16")
    assert warnings.filters == filters and logging.root.manager.disable == disabled
    assert torch.equal(torch.get_rng_state(), state)
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_the_first_one_of_a_process_neither() -> None:
    program = (
        "import warnings, torch, netphys.training.engine as engine\n"
        "import torchvision.models\n"
        "before, state = list(warnings.filters), torch.get_rng_state()\n"
        "engine.Engine('cpu', 'bfloat16')\n"
        "assert warnings.filters == before, warnings.filters\n"
        "assert torch.equal(torch.get_rng_state(), state)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done.stderr
