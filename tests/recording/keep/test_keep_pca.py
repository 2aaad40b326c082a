"""Principal components, fitted on a recording of other stimuli."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import netphys
from netphys.errors import LayerNotFound, OptionError, RecordingError
from netphys.recording import Recording
from netphys.recording.keep import PCA, Fitted, as_keep, principal
from netphys.recording.keep.principal import principal_components
from netphys.recording.layers import Layer


def _layer(*shape: int, name: str = "conv") -> Layer:
    return Layer(name, "Conv2d", shape, {1: ("unit",), 3: ("unit", "y", "x")}[len(shape)])


def _values(n: int, *shape: int, seed: int = 0, mean: float = 3.0) -> np.ndarray:
    """Correlated numbers with a spectrum, float32."""
    rng = np.random.default_rng(seed)
    n_numbers = int(np.prod(shape))
    mix = np.random.default_rng(99).normal(size=(n_numbers, n_numbers)) / np.sqrt(1 + np.arange(n_numbers))[:, None]
    return (rng.normal(size=(n, n_numbers)) @ mix + mean).astype(np.float32).reshape(n, *shape)


def _fit(array: np.ndarray, *, keep: str = "all", name: str = "fit") -> Recording:
    """A recording in memory that says what made it."""
    made = {"inputs": {"network": "net", "stimuli": "old"}, "options": {"keep": keep}}
    header = {"digest": "0" * 64, "provenance": made}
    return replace(
        Recording.from_arrays({"conv": array}, [f"old-{index}" for index in range(len(array))], name=name),
        header=header,
    )


@pytest.mark.parametrize("n, shape", [(40, (6, 5, 5)), (200, (3, 4, 4)), (60, (30,))])
@pytest.mark.parametrize("whiten", [False, True])
def test_equals_scikit_learn(n: int, shape: tuple[int, ...], whiten: bool) -> None:
    peer = pytest.importorskip("sklearn.decomposition")
    seed = int(np.random.SeedSequence().generate_state(1)[0])  # fresh input
    old, new, k = _values(n, *shape, seed=seed), _values(9, *shape, seed=seed + 1), 8
    keep = PCA(_fit(old), k, whiten=whiten)
    layer = _layer(*shape)
    found = keep.reduce(torch.from_numpy(new), layer).numpy()
    theirs = peer.PCA(k, svd_solver="full", whiten=whiten).fit(old.reshape(n, -1).astype(np.float64))
    expected = theirs.transform(new.reshape(9, -1).astype(np.float64))
    signs = np.sign((theirs.components_ * keep.principal("conv").components.T).sum(1))
    assert np.allclose(found, expected * signs, rtol=0, atol=1e-5 * np.abs(expected).max()), seed
    said = keep.measured(layer)
    assert np.allclose(said["explained_variance"], theirs.explained_variance_, rtol=1e-9)
    assert np.allclose(said["explained_variance_ratio"], theirs.explained_variance_ratio_, rtol=1e-9)
    assert said["explained"] == pytest.approx(theirs.explained_variance_ratio_.sum()) and said["n_stimuli"] == n
    uncentred = new.reshape(9, -1) @ keep.principal("conv").components  # control: without the fit's mean
    assert not np.allclose(uncentred, expected * signs, rtol=0, atol=0.1 * np.abs(expected).max())


def test_the_largest_loading_is_positive() -> None:
    components = principal_components(_fit(_values(30, 50)), "conv", 10).components
    largest = components[np.abs(components).argmax(0), np.arange(10)]
    assert (largest > 0).all() and components.dtype == np.float32
    assert np.allclose(components.T @ components, np.eye(10), atol=1e-6)  # float32


def test_a_planted_direction_is_found_and_noise_has_none() -> None:
    rng = np.random.default_rng(0)
    direction = rng.normal(size=300)
    direction /= np.linalg.norm(direction)
    planted = 40 * rng.normal(size=(50, 1)) * direction + rng.normal(size=(50, 300))
    found = principal_components(_fit(planted.astype(np.float32)), "conv", 1)
    assert abs(found.components[:, 0] @ direction) > 0.98 and found.variance[0] / found.total > 0.7
    noise = principal_components(_fit(rng.normal(size=(50, 300)).astype(np.float32)), "conv", 1)  # control
    assert abs(noise.components[:, 0] @ direction) < 5 / np.sqrt(300) and noise.variance[0] / noise.total < 0.06


def test_all_components_keep_all_distances_and_a_rotation_changes_no_variance() -> None:
    old, new = _values(60, 20), _values(8, 20, seed=1)
    kept = PCA(_fit(old), 20).reduce(torch.from_numpy(new), _layer(20)).numpy()
    assert np.allclose(np.linalg.norm(kept[0] - kept[1:], axis=1), np.linalg.norm(new[0] - new[1:], axis=1), rtol=1e-5)
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(20, 20)))[0]
    one, two = (principal_components(_fit((values).astype(np.float32)), "conv", 5) for values in (old, old @ turn))
    assert np.allclose(one.variance, two.variance, rtol=1e-5)  # of values rounded to float32


def test_a_large_mean_costs_no_digits() -> None:
    small = _values(40, 6, 5, 5, mean=0.0) / 64  # their sum with 4096 is exact to 2^-12
    small = (np.round(small * 2**11) / 2**11).astype(np.float32)
    large = small + np.float32(4096)
    one, two = PCA(_fit(small), 5), PCA(_fit(large), 5)
    found = [keep.reduce(torch.from_numpy(each), _layer(6, 5, 5)) for keep, each in ((one, small), (two, large))]
    assert torch.allclose(found[0], found[1], rtol=0, atol=1e-5 * float(found[0].abs().max()))
    components = torch.from_numpy(two.principal("conv").components)  # control: centred after the product
    late = (
        torch.from_numpy(large).flatten(1) @ components
        - torch.from_numpy(two.principal("conv").mean.astype(np.float32)) @ components
    )
    assert not torch.allclose(found[0], late, rtol=0, atol=1e-4 * float(found[0].abs().max()))


@pytest.mark.parametrize("n", [30, 400])
def test_blocks_of_other_sizes_give_the_same(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    fit = _fit(_values(n, 4, 7, 7))
    whole = principal_components(fit, "conv", 6)
    monkeypatch.setattr(principal, "_BYTES", 5000)
    blocks = principal_components(fit, "conv", 6)
    assert np.allclose(whole.variance, blocks.variance, rtol=1e-12)
    assert np.allclose(whole.components, blocks.components, rtol=0, atol=1e-6) and whole.total == pytest.approx(
        blocks.total
    )


def test_order_of_memory_does_not_count() -> None:
    keep, layer = PCA(_fit(_values(40, 6, 5, 5)), 5), _layer(6, 5, 5)
    new = torch.from_numpy(_values(8, 6, 5, 5, seed=1))
    last = new.contiguous(memory_format=torch.channels_last)
    assert torch.equal(keep.reduce(new, layer), keep.reduce(last, layer))


@pytest.mark.parametrize("n", [1, 5, 31, 32, 33])
def test_a_stimulus_alone_and_among_others_is_the_same_to_the_last_bit(n: int) -> None:
    keep, layer = PCA(_fit(_values(40, 6, 9, 9)), 20), _layer(6, 9, 9)
    new = torch.from_numpy(_values(40, 6, 9, 9, seed=1))
    assert torch.equal(keep.reduce(new[:n], layer), keep.reduce(new, layer)[:n])


# Through a recording


def _network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(96, 5))


def _shown(n: int, seed: int, prefix: str) -> netphys.StimulusSet:
    pixels = np.random.default_rng(seed).integers(0, 256, (n, 3, 9, 9), dtype=np.uint8)
    return netphys.StimulusSet.from_arrays(pixels, ids=[f"{prefix}{index}" for index in range(n)])


@pytest.mark.parametrize("kept", ["all", "mean"])
def test_a_recording_holds_the_components_of_another(kept: str, tmp_path: Path) -> None:
    net = _network()
    fit = netphys.record(net, _shown(30, 0, "old"), layers=["0", "3"], keep=kept, into=tmp_path / "fit.h5")
    keep = as_keep(f"pca?k=4&fit={tmp_path / 'fit.h5'}")
    assert keep.address == f"pca?k=4&fit={tmp_path / 'fit.h5'}" and isinstance(keep, Fitted)
    new = netphys.record(net, _shown(8, 1, "new"), layers=["0", "3"], keep=keep, batch_size=5)
    whole = netphys.record(net, _shown(8, 1, "new"), layers=["0", "3"], keep=kept, batch_size=5)
    for layer in ("0", "3"):
        old = fit.array(layer).reshape(30, -1).astype(np.float64)
        components = np.linalg.svd(old - old.mean(0), full_matrices=False)[2][:4].T
        expected = (whole.array(layer).reshape(8, -1) - old.mean(0)) @ components
        assert new.shape(layer) == (8, 4)
        assert np.allclose(np.abs(new.array(layer)), np.abs(expected), rtol=0, atol=1e-5 * np.abs(expected).max())
    memory = netphys.record(net, _shown(30, 0, "old"), layers=["0", "3"], keep=kept)
    again = netphys.record(net, _shown(8, 1, "new"), layers=["0", "3"], keep=PCA(memory, 4), batch_size=5)
    assert np.array_equal(again.array("0"), new.array("0"))


def test_the_plan_knows_the_contents_of_the_fit_and_not_its_place(tmp_path: Path) -> None:
    net = _network()
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        netphys.record(net, _shown(30, seed, "old"), layers="0", into=tmp_path / f"{name}.h5")
    plans = [dict(PCA(tmp_path / f"{name}.h5", 4).plan()) for name in "abc"]
    assert plans[0] == plans[1] and plans[0] != plans[2] and str(tmp_path) not in str(plans[0])


def test_a_fit_that_does_not_go_with_what_is_recorded_is_refused() -> None:
    keep = PCA(_fit(_values(30, 50)), 3)
    keep.check(network="net", stimuli="new", stimulus_ids=["new-0", "new-1"])
    with pytest.raises(RecordingError, match="the fit fit was recorded of these stimuli: components .* same=true"):
        keep.check(network="net", stimuli="old", stimulus_ids=["new-0"])
    with pytest.raises(RecordingError, match="of 2 of these stimuli .'old-3'.: components are fitted on other"):
        keep.check(network="net", stimuli="new", stimulus_ids=["new-0", "old-3", "old-4"])
    with pytest.raises(RecordingError, match="a recording of another network"):
        keep.check(network="other", stimuli="new", stimulus_ids=["new-0"])
    told = PCA(_fit(_values(30, 50)), 3, same=True)
    told.check(network="net", stimuli="old", stimulus_ids=["old-0"])
    assert told.address.endswith("&same=true") and told.measured(_layer(50))["same_stimuli"] is True
    with pytest.raises(RecordingError, match="another network"):
        told.check(network="other", stimuli="old", stimulus_ids=["old-0"])


def test_components_that_there_are_not_are_refused() -> None:
    keep = PCA(_fit(_values(30, 50)), 29)
    with pytest.raises(LayerNotFound, match="the fit fit has no layer 'convs'; near: 'conv'"):
        keep.shape(_layer(50, name="convs"))
    with pytest.raises(RecordingError, match=r"layer 'conv' is \(50,\) in the fit fit and \(2, 5, 5\) here"):
        keep.shape(_layer(2, 5, 5))
    assert keep.shape(_layer(50)) == (29,)
    with pytest.raises(RecordingError, match="has 50 numbers and the fit fit 30 stimuli: k is at most 29, not 30"):
        PCA(_fit(_values(30, 50)), 30).shape(_layer(50))
    with pytest.raises(RecordingError, match="k is at most 5, not 6"):
        PCA(_fit(_values(30, 5)), 6).shape(_layer(5))
    flat = _values(30, 50)
    flat[:, 4:] = 1
    with pytest.raises(RecordingError, match="varies along 4 directions over its 30 stimuli; k=5 is too many"):
        PCA(_fit(flat), 5).principal("conv")
    flat[3, 3] = np.nan
    with pytest.raises(RecordingError, match="holds nan or infinity"):
        PCA(_fit(flat), 3).principal("conv")


@pytest.mark.parametrize("k", [0, -1, 2.5, True])
def test_k_is_a_whole_number(k: Any) -> None:
    with pytest.raises(OptionError, match="a whole number, at least 1"):
        PCA(_fit(_values(30, 50)), k)


def test_a_fit_without_a_history_or_of_components_is_refused() -> None:
    arrays = Recording.from_arrays({"conv": _values(5, 3)}, list("abcde"), name="theirs")
    with pytest.raises(RecordingError, match="the fit theirs does not say of which network and stimuli it is"):
        PCA(arrays, 2)
    with pytest.raises(RecordingError, match="holds principal components itself"):
        PCA(_fit(_values(5, 3), keep="pca?k=3&fit=x.h5"), 2)
