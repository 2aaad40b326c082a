"""Sparse random projections: what they keep, and how far off they say they are."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import netphys
from netphys.errors import OptionError, RecordingError
from netphys.provenance import array_digest
from netphys.recording.keep import Projection
from netphys.recording.keep import projection as projecting
from netphys.recording.keep.distances import bound_of, size_for
from netphys.recording.keep.sparse_matrix import BLOCK, SparseMatrix, signed_cells
from netphys.recording.layers import Layer
from netphys.seeds import derive_seed


def _layer(*shape: int, name: str = "conv") -> Layer:
    dims = {1: ("unit",), 2: ("unit", "token"), 3: ("unit", "y", "x")}[len(shape)]
    return Layer(name, "Conv2d", shape, dims)


def _maps(n: int, *shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed)).relu_()


def _squared_distances(values: Any) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
    first, second = np.triu_indices(len(values), 1)
    return ((values[first] - values[second]) ** 2).sum(1)


def _dense(matrix: SparseMatrix) -> np.ndarray:
    """Write R out."""
    dense = np.zeros((matrix.k, matrix.n_numbers))
    for block in range(matrix.n_blocks):
        columns, starts = matrix.entries(block)
        ends = [*starts[1:], len(columns)]
        for row, (start, end) in enumerate(zip(starts, ends)):
            own = columns[start:end].astype(int)
            dense[row, block * BLOCK + np.where(own < 0, ~own, own)] += np.where(own < 0, -1, 1)
    return dense


# What it keeps


def test_the_gram_matrix_is_kept_within_what_is_measured() -> None:
    layer, maps = _layer(32, 14, 14), _maps(60, 32, 14, 14)
    keep = Projection(1000, seed=1)  # the bound is not sure: 4 seeds of 40 exceed it, as with a normal matrix
    kept = keep.reduce(maps, layer).numpy().astype(np.float64)
    exact = maps.flatten(1).double().numpy()
    said = keep.measured(layer)
    assert said["epsilon"] < said["bound"] < 0.25
    norms = np.sqrt(np.outer((exact**2).sum(1), (exact**2).sum(1)))
    assert np.abs(kept @ kept.T - exact @ exact.T).max() < said["bound"] * norms.max()
    unscaled = kept / np.sqrt(said["s"] / 1000)  # control: without sqrt(s/k)
    assert np.abs(_squared_distances(unscaled) / _squared_distances(exact) - 1).max() > 10 * said["bound"]


@pytest.mark.parametrize("s", ["sqrt", 3, 1])
def test_squared_norms_are_right_on_average(s: Any) -> None:
    layer, one = _layer(3, 20, 20), _maps(1, 3, 20, 20)
    norm, k = float((one.double() ** 2).sum()), 20
    ratios = np.array(
        [float((Projection(k, s=s, seed=seed).reduce(one, layer).double() ** 2).sum()) / norm for seed in range(200)]
    )
    error = ratios.std(ddof=1) / np.sqrt(200)
    assert abs(ratios.mean() - 1) < 4 * error  # four standard errors: 1 seed set in 16,000 fails
    unscaled = ratios * k / (np.sqrt(1200) if s == "sqrt" else s)  # control: without sqrt(s/k)
    assert abs(unscaled.mean() - 1) > 4 * unscaled.std(ddof=1) / np.sqrt(200)


@pytest.mark.parametrize("shape", [(7,), (2, 9000), (5, 60, 70)])
def test_it_is_the_product_with_the_matrix(shape: tuple[int, ...]) -> None:
    layer, maps = _layer(*shape), _maps(4, *shape)
    keep = Projection(6, s=3, seed=5)
    dense = _dense(SparseMatrix("conv", maps[0].numel(), 6, 3, 5)) * np.sqrt(3 / 6)
    expected = maps.flatten(1).double().numpy() @ dense.T
    size = np.abs(expected).max()
    assert np.allclose(keep.reduce(maps, layer).numpy(), expected, rtol=0, atol=1e-6 * size)  # float32 sums
    assert np.allclose(keep.reduce(maps.double(), layer).numpy(), expected, rtol=0, atol=1e-13 * size)
    assert keep.reduce(maps.half(), layer).dtype == torch.float32


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 31])
def test_a_stimulus_alone_and_among_others_is_the_same_to_the_last_bit(n: int) -> None:
    layer, maps = _layer(8, 50, 50), _maps(32, 8, 50, 50)
    keep = Projection(100)
    whole = keep.reduce(maps, layer)
    assert torch.equal(keep.reduce(maps[:n], layer), whole[:n])
    last = maps[:n].contiguous(memory_format=torch.channels_last)
    moved = maps[:n].permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    assert torch.equal(keep.reduce(last, layer), whole[:n]) and torch.equal(keep.reduce(moved, layer), whole[:n])


def test_a_small_layer_is_kept_whole() -> None:
    layer, maps = _layer(5, 2, 2), _maps(3, 5, 2, 2)
    keep = Projection(20)
    assert keep.shape(layer) == (20,) and keep.dims(layer) == ("unit",)
    assert torch.equal(keep.reduce(maps, layer), maps.flatten(1))
    assert keep.measured(layer) == {"whole": True, "n_numbers": 20}


# The entries


def _entries_one_by_one(n_cells: int, s: float, bits: np.random.PCG64) -> Iterator[tuple[int, bool]]:
    """The definition in whole numbers: how far to the next entry, by P(none among m) = (1 - 1/s)^m."""
    zero, reached, n_table = 1 - 1 / Fraction(s), 0, 2 * int(np.ceil(s))
    while reached < n_cells:
        drawn, ahead = int(bits.random_raw()), 0
        while ahead < n_table and Fraction(drawn, 1 << 64) < zero ** (ahead + 1):
            ahead += 1
        if ahead < n_table and reached + ahead < n_cells:
            yield reached + ahead, bool(drawn & 1)
        reached += ahead + (ahead < n_table)


@pytest.mark.parametrize("s", [1.0, 3.0, 7.5])
def test_entries_are_those_of_the_definition_however_many_are_drawn_at_a_time(s: float) -> None:
    cells, negative = signed_cells(500, s, np.random.PCG64(4))
    one_by_one = list(_entries_one_by_one(500, s, np.random.PCG64(4)))
    assert cells.tolist() == [cell for cell, _ in one_by_one]
    assert negative.tolist() == [sign for _, sign in one_by_one]
    longer, _ = signed_cells(5000, s, np.random.PCG64(4))  # another block of the same stream begins with the same
    assert np.array_equal(longer[: len(cells)], cells)


@pytest.mark.parametrize("s", [1.0, 3.0, 30.0, 900.0])
def test_one_entry_in_s_is_not_zero_and_half_are_negative(s: float) -> None:
    n_cells = 400_000
    cells, negative = signed_cells(n_cells, s, np.random.PCG64(int(s)))
    share, n = 1 / s, len(cells)
    assert abs(n - n_cells * share) <= 4 * np.sqrt(n_cells * share * (1 - share))  # four sd of a binomial
    assert abs(negative.mean() - 0.5) < 4 * 0.5 / np.sqrt(n)
    gaps = np.diff(cells)
    assert gaps.min() >= 1 and abs(gaps.mean() / s - 1) < 4 * np.sqrt(1 / n) + 1e-9
    assert abs((gaps > 2 * s).mean() - (1 - share) ** (2 * s)) < 4 * 0.5 / np.sqrt(n)  # beyond the table's end
    if s > 1:  # a sign says nothing of the distance
        assert abs(np.corrcoef(gaps, negative[1:])[0, 1]) < 4 / np.sqrt(n)


FROZEN = [
    "3a5f1e484a32dcc0",
    "2340867fed46d042",
    "9fd9c41ebdc97f53",
    "fd3133b2457b69dc",
    "675c9488256a7249",
    "6c61d7e3393296cf",
]


def test_entries_are_the_same_on_every_machine() -> None:
    matrix = SparseMatrix("layer1.0.conv1", 2 * BLOCK + 100, 50, np.sqrt(2 * BLOCK + 100), 3)
    digests = [array_digest(each)[:16] for block in range(3) for each in matrix.entries(block)]
    assert matrix.n_blocks == 3 and digests == FROZEN
    assert all(np.array_equal(*pair) for pair in zip(matrix.entries(1), matrix.entries(1)))


def test_entries_follow_from_seed_layer_and_block() -> None:
    def first(layer: str, seed: int, block: int = 0) -> list[int]:
        return SparseMatrix(layer, 3 * BLOCK, 20, 300, seed).entries(block)[0][:9].tolist()

    found = [first("a", 0), first("b", 0), first("a", 1), first("a", 0, 1), first("a", 0, 2)]
    assert len({tuple(each) for each in found}) == 5
    assert derive_seed(0, "projection", "a", 0) != derive_seed(0, "projection", "a", 1)


def test_rows_of_the_matrix_are_independent() -> None:
    dense = _dense(SparseMatrix("conv", 20_000, 30, 20, 0))
    gram = dense @ dense.T / 20_000 * 20
    off = gram[~np.eye(30, dtype=bool)]
    assert np.abs(np.diag(gram) - 1).max() < 5 * np.sqrt(20 / 20_000)
    assert abs(off.std() / np.sqrt(1 / 20_000) - 1) < 0.15 and np.abs(off).max() < 5 * np.sqrt(1 / 20_000)
    columns = (dense**2).sum(0)  # entries of a number: binomial
    assert columns.mean() == pytest.approx(1.5, abs=4 * np.sqrt(1.5 / 20_000))
    assert columns.var() == pytest.approx(30 * 0.05 * 0.95, rel=0.06)  # four sd of a variance of 20,000


def test_memory_of_entries_is_as_stated_and_bounded(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    layer, maps = _layer(64, 40, 40), _maps(3, 64, 40, 40)
    held = Projection(200)
    first = held.reduce(maps, layer)
    matrix = held._matrices["conv"]
    taken = sum(each.nbytes for pair in matrix._made.values() for each in pair)
    assert len(matrix._made) == matrix.n_blocks == 7 and taken == pytest.approx(matrix.n_bytes, rel=0.05)
    monkeypatch.setattr(projecting, "HELD_BYTES", matrix.n_bytes - 1)
    again = Projection(200)
    with caplog.at_level(logging.WARNING):
        assert torch.equal(again.reduce(maps, layer), first) and torch.equal(again.reduce(maps, layer), first)
    assert not again._matrices["conv"]._made
    assert [record.getMessage()[:31] for record in caplog.records] == ["the projection of layer 'conv' "]


# How far it is off


def test_what_is_measured_is_what_all_pairs_of_the_first_batches_say() -> None:
    layer, maps = _layer(8, 30, 30), _maps(120, 8, 30, 30)
    keep = Projection(300)
    kept = [keep.reduce(batch, layer) for batch in maps.split(20)]
    ratios = np.concatenate(
        [_squared_distances(own) / _squared_distances(batch) for own, batch in zip(kept[:6], maps.split(20)[:6])]
    )
    said = keep.measured(layer)
    assert said["n_pairs"] == len(ratios) == 1140 and said["n_stimuli"] == 120  # 190 pairs a batch: six of them
    assert said["epsilon"] == pytest.approx(np.abs(ratios - 1).max(), rel=1e-5)  # float32 of what is kept
    assert said["epsilon_rms"] == pytest.approx(np.sqrt(((ratios - 1) ** 2).mean()), rel=1e-5)
    keep.reduce(maps[:20] * 1e6, layer)
    assert keep.measured(layer) == said  # enough have been seen


def test_heavy_tails_break_the_bound_of_a_very_sparse_matrix_and_this_is_seen() -> None:
    layer, maps = _layer(16, 32, 32), 0.01 * _maps(50, 16, 32, 32)
    maps[torch.arange(50), torch.arange(50) % 16, 5, 7] = 100.0  # one position of each stimulus is nearly all of it
    sparse, dense = Projection(400), Projection(400, s=3)
    for keep in (sparse, dense):
        keep.reduce(maps, layer)
    assert sparse.measured(layer)["epsilon"] > sparse.measured(layer)["bound"]
    assert dense.measured(layer)["epsilon"] < dense.measured(layer)["bound"]


def test_stimuli_that_are_the_same_have_no_ratio() -> None:
    layer, maps = _layer(8, 20, 20), _maps(4, 8, 20, 20)
    keep = Projection(300)
    keep.reduce(maps[[0, 0, 1, 2]], layer)
    said = keep.measured(layer)
    assert said["n_pairs"] == 5 and said["epsilon"] < 1
    keep.load_state_dict({})
    keep.reduce(maps[[0, 0]], layer)
    assert keep.measured(layer)["epsilon"] is None and keep.measured(layer)["n_pairs"] == 0


def test_a_pass_that_goes_on_or_is_shared_measures_the_same() -> None:
    layer, maps = _layer(8, 30, 30), _maps(160, 8, 30, 30)
    starts = range(0, 160, 16)

    def run(keep: Projection, firsts: Any) -> Projection:
        for first in firsts:
            keep.at(first)
            keep.reduce(maps[first : first + 16], layer)
        return keep

    undisturbed = run(Projection(100), starts).measured(layer)
    assert undisturbed["n_pairs"] == 1080  # nine of ten batches
    stopped = Projection(100)
    stopped.load_state_dict(run(Projection(100), starts[:4]).state_dict())
    assert run(stopped, starts[4:]).measured(layer) == undisturbed
    ranks = [run(Projection(100), starts[rank::3]) for rank in range(3)]
    assert ranks[1].measured(layer) != undisturbed  # control: one rank's share alone
    for other in (ranks[2], ranks[0], ranks[0]):
        ranks[1].merge(other.state_dict())
    assert ranks[1].measured(layer) == undisturbed


def test_the_error_is_distributed_as_that_of_scikit_learn() -> None:
    stats = pytest.importorskip("scipy.stats")
    peer = pytest.importorskip("sklearn.random_projection")
    maps = torch.exp(_maps(24, 8, 20, 20) * 1.5) - 1  # heavy tails
    exact = _squared_distances(maps)
    ours, theirs = [], []
    for seed in range(40):
        keep = Projection(64, seed=seed)
        keep.reduce(maps, _layer(8, 20, 20))
        ours.append(keep.measured(_layer(8, 20, 20))["epsilon"])
        projected = peer.SparseRandomProjection(64, density="auto", random_state=seed).fit_transform(maps.flatten(1))
        theirs.append(np.abs(_squared_distances(projected) / exact - 1).max())
    assert stats.ks_2samp(ours, theirs).pvalue > 0.001  # a right one fails 1 in 1000; the seeds are fixed
    wrong = [each * 1.3 for each in theirs]  # control: an error a third larger is told
    assert stats.ks_2samp(ours, wrong).pvalue < 0.001


def test_k_of_the_bound() -> None:
    assert size_for(0.1, 1000) == 5920 and Projection(eps=0.1, n=1000).k == 5920
    peer = pytest.importorskip("sklearn.random_projection")
    for eps in (0.05, 0.2, 0.5, 0.9):
        for n in (2, 50, 10_000):
            assert size_for(eps, n) == peer.johnson_lindenstrauss_min_dim(n, eps=eps)
            assert bound_of(size_for(eps, n) + 1, n) <= eps <= (bound_of(max(size_for(eps, n) - 1, 1), n) or 1)
    assert bound_of(10, 1000) is None


# Through a recording


def test_two_recordings_agree_and_are_projections_of_the_whole() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (11, 3, 20, 20), dtype=np.uint8)
    shown = netphys.StimulusSet.from_arrays(pixels)
    net = nn.Sequential(nn.Identity(), nn.ReLU(inplace=True), nn.Flatten(), nn.LazyLinear(4))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net(torch.zeros(1, 3, 20, 20))
    options: dict[str, Any] = {"layers": ["0", "3"], "batch_size": 4}
    one, two = (netphys.record(net, shown, keep="projection?k=30", **options) for _ in range(2))
    whole = netphys.record(net, shown, keep="all", **options)
    assert one.shape("0") == (11, 30) and one.shape("3") == (11, 4)
    assert np.array_equal(one.array("0"), two.array("0")) and np.array_equal(one.array("3"), whole.array("3"))
    expected = Projection(30).reduce(torch.from_numpy(whole.array("0").copy()), _layer(3, 20, 20, name="0"))
    assert np.array_equal(one.array("0"), expected.numpy())
    other = netphys.record(net, shown, keep="projection?k=30&seed=1", **options)
    assert not np.array_equal(one.array("0"), other.array("0"))


@pytest.mark.parametrize("options", [{}, {"k": 0}, {"k": 2.5}, {"k": 5, "s": "root"}, {"k": 5, "s": float("nan")}])
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        Projection(**options)


def test_a_matrix_that_meets_hardly_anything_is_refused() -> None:
    with pytest.raises(RecordingError, match="layer 'conv' has 100 numbers a stimulus; of a projection with s=1000"):
        Projection(5, s=1000).shape(_layer(100))
