"""measure: sinks alone, in one pass; killed and resumed with the same bits; memory that does not grow."""

from __future__ import annotations

import logging
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import nn

import netphys
from netphys.errors import LayerNotFound, OptionError, RecordingError
from netphys.recording import measuring
from netphys.recording.measuring import measure
from netphys.recording.sinks import Callback, Gram, Histogram, Moments, Quantiles

OPTIONS: Any = {"layers": ["0", "1", "4"], "batch_size": 4, "device": "cpu"}


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(96, 5)
    )


def shown(n: int = 22, seed: int = 0) -> Any:
    images = np.random.default_rng(seed).integers(0, 256, (n, 3, 12, 12), dtype=np.uint8)
    return netphys.StimulusSet.from_arrays(images, ids=[f"s{at}" for at in range(n)])


def sinks() -> list[Any]:
    return [Moments(), Quantiles(capacity=64), Histogram(20, (-3, 3)), Gram(), Moments("none")]


def same(one: list[Any], other: list[Any]) -> bool:
    """Tell whether two lists of sinks are in the same state, to the bit."""
    states = [[each.state_dict() for each in part] for part in (one, other)]
    return all(
        ours.keys() == theirs.keys() and all(np.array_equal(ours[key], theirs[key]) for key in ours)
        for ours, theirs in zip(*states, strict=True)
    )


class Killed(BaseException):
    """Stands for a signal."""


def killed(at: int) -> Callback:
    """Stop a pass when it comes to a stimulus."""

    def look(layer: str, rows: np.ndarray, activation: torch.Tensor) -> None:
        if at in rows and layer == "1":  # in the midst of a batch
            raise Killed

    return Callback(look, plan={})


def test_several_at_once_are_each_as_alone_and_beside_a_recording() -> None:
    together = sinks()
    results = measure(net(), shown(), sinks=together, **OPTIONS)
    for index, alone in enumerate(sinks()):
        measure(net(), shown(), sinks=[alone], **OPTIONS)
        assert same([alone], [together[index]])
    beside = sinks()
    recording = netphys.record(net(), shown(), sinks=beside, **OPTIONS)
    assert same(beside[2:4], together[2:4])  # those whose parts merge without rounding, and one that is not merged
    for one, other in ((beside[0], together[0]), (beside[4], together[4])):
        for name, found in one.close().layers.items():
            np.testing.assert_allclose(found.variance, other.close().layers[name].variance, rtol=1e-6)
    values = np.array(recording.array("0"), np.float64).swapaxes(0, 1).reshape(6, -1)
    np.testing.assert_allclose(results[0].layers["0"].mean, values.mean(1), rtol=1e-6)
    assert results[0].network == recording.name and results[0].made["seed"] == 0
    assert (
        measure(net(), shown(seed=1), sinks=[Moments()], **OPTIONS)[0].layers["0"].mean[0]
        != results[0].layers["0"].mean[0]
    )


def test_how_often_a_state_is_saved_changes_nothing(tmp_path: Path, monkeypatch: Any) -> None:
    plain, saved = sinks(), sinks()
    measure(net(), shown(), sinks=plain, **OPTIONS)
    monkeypatch.setattr(measuring._Saved, "is_due", lambda self: True)
    measure(net(), shown(), sinks=saved, into=tmp_path / "a.safetensors", **OPTIONS)
    assert same(plain, saved)


@pytest.mark.parametrize("stops", [(0,), (5,), (9, 21), (4, 8, 8, 16)])
def test_killed_and_resumed_is_the_same_to_the_bit(tmp_path: Path, monkeypatch: Any, stops: tuple[int, ...]) -> None:
    monkeypatch.setattr(measuring._Saved, "is_due", lambda self: True)
    path = tmp_path / "states.safetensors"
    reference = sinks()
    measure(net(), shown(), sinks=reference, **OPTIONS)
    for stop in stops:
        with pytest.raises(Killed):
            measure(net(), shown(), sinks=[*sinks(), killed(stop)], into=path, **OPTIONS)
    rows: list[int] = []
    last = Callback(lambda layer, seen, _: rows.extend(seen if layer == "0" else ()), plan={})
    ended = sinks()
    measure(net(), shown(), sinks=[*ended, last], into=path, **OPTIONS)
    assert rows == list(range(stops[-1] // 4 * 4, 22))  # what is safe is not shown again
    assert same(reference, ended)
    assert [each.name for each in tmp_path.iterdir()] == ["states.safetensors"]


def test_control_a_sink_that_forgets_its_state_is_not_the_same(tmp_path: Path, monkeypatch: Any) -> None:
    class Forgets(Moments):
        def load_state_dict(self, state: Any) -> None:
            pass

    monkeypatch.setattr(measuring._Saved, "is_due", lambda self: True)
    path, reference, ended = tmp_path / "a.safetensors", Forgets(), Forgets()
    measure(net(), shown(), sinks=[reference], **OPTIONS)
    with pytest.raises(Killed):
        measure(net(), shown(), sinks=[Forgets(), killed(9)], into=path, **OPTIONS)
    measure(net(), shown(), sinks=[ended, Callback(print, plan={})], into=path, **OPTIONS)
    assert not same([reference], [ended])


def test_once_all_were_seen_nothing_is_shown_again(tmp_path: Path) -> None:
    path, first, again = tmp_path / "a.safetensors", sinks(), sinks()
    before = measure(net(), shown(), sinks=first, into=path, **OPTIONS)
    written = path.stat().st_mtime_ns
    never = Callback(lambda *_: pytest.fail("shown again"), plan={})
    with pytest.raises(RecordingError, match="begun with other sinks; remove it"):
        measure(net(), shown(), sinks=[*again, never], into=path, **OPTIONS)
    after = measure(net(), shown(), sinks=again, into=path, **OPTIONS)
    assert same(first, again) and path.stat().st_mtime_ns == written
    assert repr(before) == repr(after)


def test_another_pass_is_refused_by_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    measure(net(), shown(), sinks=[Moments(), Quantiles(0.5)], into=path, **OPTIONS)
    other = net()
    with torch.no_grad():
        other[0].weight[0, 0, 0, 0] += 1e-3
    wrong: list[tuple[Any, Any, list[Any], dict[str, Any], str]] = [
        (other, shown(), [Moments(), Quantiles(0.5)], {}, "network"),
        (net(), shown(seed=1), [Moments(), Quantiles(0.5)], {}, "stimuli"),
        (net(), shown(), [Moments(), Quantiles(0.5)], {"seed": 1}, "seed"),
        (net(), shown(), [Moments(), Quantiles(0.5)], {"batch_size": 8}, "batch_size"),
        (net(), shown(), [Moments(), Quantiles(0.5)], {"layers": "0"}, "layers"),
        (net(), shown(), [Moments(), Quantiles(0.6)], {}, "q of the sink Quantiles"),
        (net(), shown(), [Moments("none"), Quantiles(0.5)], {}, "over of the sink Moments"),
        (net(), shown(), [Moments()], {}, "sinks"),
    ]
    for module, stimuli, given, more, what in wrong:
        with pytest.raises(
            RecordingError, match=rf"^{re.escape(str(path))} was begun with other {what}; remove it, or"
        ):
            measure(module, stimuli, sinks=given, into=path, **{**OPTIONS, **more})


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    measure(net(), shown(), sinks=[Moments()], into=path, **OPTIONS)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for at in [0, 9, len(whole) - 1, *rng.integers(0, len(whole), 40)]:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(RecordingError, match="damaged|is not what was written|something else|begun with other"):
            measure(net(), shown(), sinks=[Moments()], into=path, **OPTIONS)
    path.write_bytes(whole[:100])
    with pytest.raises(RecordingError, match="is damaged or holds no states .*; remove it"):
        measure(net(), shown(), sinks=[Moments()], into=path, **OPTIONS)


def test_what_cannot_be_done_is_said(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"sinks=\[\]: nothing would be measured"):
        measure(net(), shown(), sinks=[], **OPTIONS)
    with pytest.raises(OptionError, match=r"safetensors file: .*/a\.safetensors, not .*/a\.h5"):
        measure(net(), shown(), sinks=[Moments()], into=tmp_path / "a.h5", **OPTIONS)
    broken = net()
    with torch.no_grad():
        broken[0].weight[2] = torch.nan
    with pytest.raises(RecordingError, match="^unit 2 of layer '0' is not a number .* for stimulus 's0'"):
        measure(broken, shown(), sinks=[Moments()], **OPTIONS)


def test_a_large_state_is_saved_less_often() -> None:
    saved = measuring._Saved(Path("never.safetensors"), {})
    saved._latest = time.monotonic() - 40
    assert saved.is_due()
    saved._cost = 10.0  # a saving that takes 10 s: every 200 s
    assert not saved.is_due()


_CHILD = """
import os, signal, sys, time
import numpy as np, torch
from netphys.recording import measuring
from netphys.recording.sinks import Callback, Gram, Moments, Quantiles

torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Conv2d(3, 6, 3), torch.nn.ReLU(inplace=True))
images = np.random.default_rng(0).integers(0, 256, (60, 3, 12, 12), dtype=np.uint8)
path, seconds = sys.argv[1], float(sys.argv[2])
measuring._EVERY = measuring._SHARE = 0.0
measuring._SHARE = 1e9  # after every batch
begun = []

def look(layer, rows, activation):
    if not begun:
        begun.append(signal.setitimer(signal.ITIMER_REAL, seconds) if seconds else 0)
    time.sleep(0.005)

signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
sinks = [Moments(), Quantiles(capacity=64), Gram(), Callback(look, plan={})]
measuring.measure(net, images, layers=["0", "1"], sinks=sinks, into=path, batch_size=4, device="cpu")
"""


@pytest.mark.slow
def test_killed_at_any_moment_the_file_ends_with_the_bits_of_an_undisturbed_pass(tmp_path: Path) -> None:
    def run(path: Path, seconds: float) -> int:
        return subprocess.run([sys.executable, "-c", _CHILD, str(path), str(seconds)], check=False).returncode

    assert run(tmp_path / "whole.safetensors", 0) == 0
    whole, killed_path = (tmp_path / f"{name}.safetensors" for name in ("whole", "killed"))
    rng, n_killed = np.random.default_rng(0), 0
    for _ in range(6):
        n_killed += run(killed_path, float(rng.uniform(0.001, 0.15))) == -signal.SIGKILL
    assert n_killed >= 2
    assert run(killed_path, 0) == 0
    ours, theirs = (load_file(each) for each in (killed_path, whole))
    assert ours.keys() == theirs.keys() and all(np.array_equal(ours[key], theirs[key]) for key in ours)
    assert len([each for each in tmp_path.iterdir() if each.suffix == ".safetensors"]) == 2


def _growth(sink: Any, caplog: Any) -> float:
    """MB by which a process grows from 1,000 to 5,000 stimuli."""
    import resource

    caplog.set_level(logging.ERROR)
    images = np.random.default_rng(0).integers(0, 256, (5000, 3, 12, 12), dtype=np.uint8)
    sizes = []

    def look(layer: str, rows: np.ndarray, _: torch.Tensor) -> None:
        if layer == "0" and rows[0] % 1000 == 0:
            with open("/proc/self/statm") as file:  # noqa: PTH123 - a kernel's table, not a file
                sizes.append(int(file.read().split()[1]) * resource.getpagesize() / 1e6)

    wide = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(inplace=True))  # 77 MB for the last 3,000 stimuli
    measure(wide, images, layers=["0", "1"], sinks=[sink, Callback(look)], batch_size=50, device="cpu")
    return sizes[-1] - sizes[1]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["moments", "apart", "quantiles", "histogram"])
def test_memory_does_not_grow_with_the_number_of_stimuli(kind: str, caplog: Any) -> None:
    made = {
        "moments": Moments(),
        "apart": Moments("none"),
        "quantiles": Quantiles(),
        "histogram": Histogram(50, (0, 1)),
    }
    assert _growth(made[kind], caplog) < 5  # MB; an allocator is not exact


@pytest.mark.slow
def test_control_a_list_of_activations_grows(caplog: Any) -> None:
    kept: list[Any] = []
    assert _growth(Callback(lambda *given: kept.append(given[2].clone())), caplog) > 40


@pytest.mark.parametrize("stored", [False, True])
def test_sinks_that_merge_see_everything_beside_one_that_does_not(stored: bool, tmp_path: Path) -> None:
    """Sinks that merge are fed shard by shard; one that has to see all in order changes nothing for them."""
    given: dict[str, Any] = {"layers": "energy", "keep": "mean", "into": tmp_path / "rec.h5" if stored else None}
    seen: list[int] = []
    moments = Moments()
    callback = Callback(lambda layer, rows, activation: seen.append(len(rows)))
    netphys.record("netphys:gabor_energy", "world:scenes?n=40", sinks=[moments, callback], **given)
    (alone,) = netphys.recording.measure(
        "netphys:gabor_energy", "world:scenes?n=40", layers="energy", sinks=[Moments()]
    )
    found = moments.close().layers["energy"]
    assert sum(seen) == 40 and np.all(found.n == alone.layers["energy"].n)
    # joined shard by shard: deviations within a block of activations are float32
    assert np.allclose(found.mean, alone.layers["energy"].mean, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("sinks", "said"),
    [
        (Moments(), r"sinks=.*: a list of sinks, say \[Moments\(\)\]"),
        ([Moments], r"Moments is not a sink; say Moments\(\)"),
        ([print], "builtin_function_or_method is not a sink: it has no open, write and close"),
    ],
)
def test_what_is_no_sink_is_one_line(sinks: Any, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        measure("netphys:gabor_energy", "world:scenes?n=2", layers="energy", sinks=sinks)
    with pytest.raises(OptionError, match=said):
        netphys.record("netphys:gabor_energy", "world:scenes?n=2", layers="energy", sinks=sinks)


def test_results_are_asked_of_the_sinks() -> None:
    sinks = [Moments(), Quantiles(q=0.5), Histogram(range=(0, 1)), Gram()]
    netphys.record("netphys:gabor_energy", "world:scenes?n=4", layers="energy", sinks=sinks)
    moments, quantiles, histogram, products = (sink.result for sink in sinks)
    assert moments["energy"].n > 0 and quantiles["energy"].values.shape == (40, 1)
    assert histogram.counts["energy"].shape[0] == 40 and products.matrix("energy").shape == (4, 4)
    with pytest.raises(LayerNotFound, match="no layer 'enrgy' was measured; near: 'energy'"):
        moments["enrgy"]
