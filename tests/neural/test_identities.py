"""Which neuroids are one, which were recorded together, and how much an average weighs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from netphys.errors import MatchError, NeuralDataError
from netphys.neural import (
    NeuralData,
    average,
    average_repetitions,
    load_neural,
    match,
    pool,
    pseudo_population,
    repetitions,
    require_simultaneous,
    select,
    stack_sessions,
    subsample,
    where,
    window,
    z_score,
)


def shown(n_repetitions, ids=("n0", "n1"), seed=0, **coords):
    values = np.random.default_rng(seed).normal(size=(6 * n_repetitions, len(ids)))
    stimuli = [f"s{at}" for at in range(6)] * n_repetitions
    own = {"stimulus_id": ("presentation", stimuli), "neuroid_id": ("neuroid", list(ids))}
    own["repetition"] = ("presentation", np.repeat(np.arange(n_repetitions), 6))
    return xr.DataArray(values, dims=("presentation", "neuroid"), coords=own | coords)


def test_averages_of_sessions_weigh_by_their_presentations():
    days = [shown(20, seed=1), shown(2, seed=2)]
    everything = average_repetitions(stack_sessions(days, names=["1", "2"]))[1]
    averages = stack_sessions([average(each) for each in days], names=["1", "2"])
    np.testing.assert_allclose(average_repetitions(averages)[1], everything, atol=1e-12)  # sums in another order
    alike = average_repetitions(averages.drop_vars("n_repetitions"))[1]
    assert np.abs(alike - everything).max() > 0.1  # control: 20 and 2 as if they were one each
    for call in (repetitions, pseudo_population):
        with pytest.raises(NeuralDataError, match=r"means of up to 20 presentations"):
            call(averages)


@pytest.mark.parametrize("count", [np.nan, 2.5, 0.0, -1.0])
def test_counts_are_whole(count):
    data = shown(2).assign_coords(n_repetitions=("presentation", [count, *[1.0] * 11]))
    with pytest.raises(NeuralDataError, match=r"n_repetitions is .* a whole number from 1"):
        average(data)
    data = shown(2).assign_coords(n_repetitions=("presentation", [6.000000000000001] * 12))
    assert average(data)["n_repetitions"].values.tolist() == [12] * 6


def test_neuroids_of_two_animals_with_one_id_are_two():
    common = np.random.default_rng(0).normal(size=(240, 1))
    data = shown(40, ids=("u", "u"), animal=("neuroid", ["A", "B"]))
    data = data.copy(data=common + 0.1 * data.values)

    def noise_correlation(assembly):
        cube = repetitions(assembly)[1]
        return np.corrcoef((cube - cube.mean(axis=0)).reshape(-1, 2).T)[0, 1]

    assert noise_correlation(data) > 0.95
    drawn = pseudo_population(data)
    assert abs(noise_correlation(drawn)) < 0.25  # 4 / sqrt(240)
    back = pseudo_population(data.isel(neuroid=[1, 0])).isel(neuroid=[1, 0])
    np.testing.assert_array_equal(back.values, drawn.values)
    for draw in range(5):
        first, second = (subsample(each, 1, draw=draw)["animal"].item() for each in (data, data[:, ::-1]))
        assert first == second
    with pytest.raises(NeuralDataError, match=r"n_repetitions=2.5: it is a whole number"):
        pseudo_population(data, 2.5)


def test_one_recording_of_a_pool_is_no_pseudo_population():
    parts = [shown(3, seed=at, session=("neuroid", [f"day{at}"] * 2), animal="A") for at in range(2)]
    both = pool(parts)
    with pytest.raises(NeuralDataError, match=r"take one recording, where\(assembly, neuroids=\"recording == '0'\"\)"):
        require_simultaneous(both, "it")
    for one in (select(both, sessions="day1"), where(both, neuroids="recording == '1'")):
        assert "pseudo_population" not in one.attrs
        require_simultaneous(one, "it")
        np.testing.assert_array_equal(average(one).values, average(parts[1]).values)
    shuffled = pseudo_population(both)
    with pytest.raises(NeuralDataError, match="as they were recorded"):  # control: drawn anew, nothing is together
        require_simultaneous(select(shuffled, sessions="day1"), "it")


def test_neural_data_are_taken_everywhere():
    assembly = shown(3, session=("presentation", ["a"] * 18))
    data = NeuralData("assembly", tuple(f"s{at}" for at in range(6)), (), "", "x", "", assembly=assembly)
    xr.testing.assert_identical(z_score(data), z_score(assembly))
    xr.testing.assert_identical(average(data), average(assembly))
    xr.testing.assert_identical(pool([data, data], names=["a", "b"]), pool([assembly] * 2, names=["a", "b"]))
    rdms = NeuralData("rdms", ("a", "b"), ("x",), "", "x", "", dissimilarities=np.ones((1, 1)))
    for call in (z_score, average, repetitions, lambda each: window(each, 0, 1), lambda each: pool([each])):
        with pytest.raises(NeuralDataError, match="x is RDMs, not responses"):
            call(rdms)
        with pytest.raises(NeuralDataError, match="not ndarray"):
            call(np.ones((2, 2)))


def test_a_list_with_stimuli_that_were_never_shown():
    with pytest.raises(MatchError, match=r"1 of the stimuli given were never shown: 'typo'.*partial=True"):
        match(shown(1), ["s0", "s1", "typo"])


def _saved(path: Path, **arrays) -> str:
    np.savez(path, r=np.arange(8.0).reshape(4, 2), **arrays)
    return f"{path}?variable=r&kind=responses&axes=presentation,neuroid"


def test_files_whose_ids_or_repetitions_return(tmp_path):
    address = _saved(tmp_path / "a.npz", stimulus_id=np.array(list("aabb")), nth=np.array([0, 0, 0, 1]))
    assert load_neural(address).assembly["repetition"].values.tolist() == [0, 1, 0, 1]
    with pytest.raises(NeuralDataError, match=r"a\.npz: presentations 0 and 1 .* repetition 0 of stimulus 'a'"):
        load_neural(f"{address}&repetition=nth")
    address = _saved(
        tmp_path / "b.npz", stimulus_id=np.array(list("aabb")), nth=np.array([0, 0, 0, 1]), day=[1, 2, 1, 1]
    )
    assert load_neural(f"{address}&repetition=nth&session=day").assembly.sizes["presentation"] == 4


def test_an_array_of_numbers_is_no_region_and_a_part_that_is_not_there_no_value(tmp_path):
    address = _saved(tmp_path / "a.npz", stimulus_id=np.array(list("abcd")), V4=np.ones(2), one=np.array("IT"))
    assert load_neural(f"{address}&region=V4").region == "V4"
    assert load_neural(f"{address}&region=one").region == "IT"


def test_the_digest_tells_units_dims_and_marks_not_the_order_of_bytes():
    def digest(assembly):
        return NeuralData("assembly", ("s0",), (), "", "x", "", assembly=assembly).digest

    data = shown(1)
    marked = [
        data.assign_attrs(unit="spikes"),
        data.assign_attrs(unit="spikes/s"),
        data.assign_attrs(pseudo_population=1),
    ]
    square = data.isel(presentation=[0, 1])
    placed = [square.assign_coords(foo=(dim, [1, 2])) for dim in ("presentation", "neuroid")]
    assert len({digest(each) for each in (data, *marked, *placed)}) == 6
    assert digest(data.astype(">f8")) == digest(data)
