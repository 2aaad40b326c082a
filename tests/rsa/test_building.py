"""RDMs of recordings, assemblies and arrays: equal to rsatoolbox, with descriptors, in order of first appearance."""

from dataclasses import dataclass

import numpy as np
import pytest
import xarray as xr

from netphys.errors import LayerNotFound, MatchError, NeuralDataError, OptionError
from netphys.rsa import dissimilarities, rdms

IDS = [f"s{k}" for k in range(9, -1, -1)]


@dataclass
class ToyRecording:
    """What rsa asks of a recording."""

    activations: dict
    stimulus_ids: tuple
    name: str = "toy"
    training: str = "unknown"

    def shape(self, layer):
        return self.activations[layer].shape

    @property
    def layers(self):
        return tuple(self.activations)

    def unit_blocks(self, layer, max_bytes=1 << 20):
        x = self.activations[layer].reshape(len(self.stimulus_ids), -1)
        for start in range(0, x.shape[1], 7):
            yield x[:, start : start + 7]


def toy_recording(seed=0):
    rng = np.random.default_rng(seed)
    return ToyRecording({"conv1": rng.normal(size=(10, 4, 3, 3)), "fc": rng.normal(size=(10, 20))}, tuple(IDS))


def assembly(seed=0, repetitions=3, animals=("nano", "magneto")):
    """Presentations in random order; stimulus ids so that sorting them changes their order."""
    rng = np.random.default_rng(seed)
    ids = np.repeat(IDS, repetitions)
    order = rng.permutation(len(ids))
    values = rng.normal(size=(len(ids), 12))
    animal = np.repeat(animals, 12 // len(animals))
    return xr.DataArray(
        values,
        dims=("presentation", "neuroid"),
        coords={
            "stimulus_id": ("presentation", ids[order]),
            "repetition": ("presentation", np.tile(np.arange(repetitions), 10)[order]),
            "neuroid_id": ("neuroid", np.arange(12)),
            "animal": ("neuroid", animal),
            "region": ("neuroid", ["IT"] * 12),
        },
    )


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("method", ["correlation", "euclidean"])
def test_equal_to_rsatoolbox(method, seed):
    from rsatoolbox.data import Dataset
    from rsatoolbox.rdm import calc_rdm

    x = np.random.default_rng(seed).normal(size=(25, 60))
    theirs = calc_rdm(Dataset(x.copy()), method=method)
    ours = rdms(x, method=method)
    np.testing.assert_allclose(ours.get_vectors(), theirs.get_vectors(), atol=1e-10)
    assert ours.dissimilarity_measure == theirs.dissimilarity_measure


def test_recording_gives_one_rdm_a_layer():
    recording = toy_recording()
    found = rdms(recording)
    assert found.rdm_descriptors["layer"] == ["conv1", "fc"]
    assert found.rdm_descriptors["layer_index"] == [0, 1]
    assert found.rdm_descriptors["n_units"] == [4, 20]  # units, not units x positions
    assert found.rdm_descriptors["network"] == ["toy", "toy"]
    assert found.rdm_descriptors["training"] == ["unknown", "unknown"]
    assert list(found.pattern_descriptors["stimulus_id"]) == IDS
    np.testing.assert_allclose(
        found.get_vectors()[0], dissimilarities(recording.activations["conv1"].reshape(10, -1)), atol=1e-12
    )
    assert rdms(recording, layers=["fc"]).rdm_descriptors["layer_index"] == [1]


def test_the_package_s_own_recording():
    from netphys.recording import Recording

    toy = toy_recording()
    recording = Recording.from_arrays(toy.activations, IDS, name="toy")
    found, expected = rdms(recording), rdms(toy)
    np.testing.assert_allclose(found.get_vectors(), expected.get_vectors(), atol=1e-12)
    assert found.rdm_descriptors == expected.rdm_descriptors
    assert found.pattern_descriptors == expected.pattern_descriptors


def test_assembly_gives_one_rdm_an_animal_of_averaged_repetitions_in_order_of_appearance():
    data = assembly()
    data.values[4] = np.nan  # a presentation that was lost
    found = rdms(data)
    seen = list(dict.fromkeys(data["stimulus_id"].values))
    assert seen != sorted(seen)
    assert list(found.pattern_descriptors["stimulus_id"]) == seen
    assert found.rdm_descriptors["subject"] == ["nano", "magneto"]
    assert found.rdm_descriptors["region"] == ["IT", "IT"]
    assert found.rdm_descriptors["n_units"] == [6, 6]
    by_hand = [np.nanmean(data.values[data["stimulus_id"].values == each], axis=0) for each in seen]
    np.testing.assert_allclose(found.get_vectors()[1], dissimilarities(np.array(by_hand)[:, 6:]), atol=1e-12)


def test_assembly_averages_equal_rsatoolbox_after_its_sorting_is_undone():
    from rsatoolbox.data import Dataset
    from rsatoolbox.rdm import calc_rdm

    data = assembly(animals=("nano",))
    ids = data["stimulus_id"].values
    theirs = calc_rdm(Dataset(data.values, obs_descriptors={"stimulus_id": ids}), "correlation", "stimulus_id")
    ours = rdms(data)
    order = [
        list(ours.pattern_descriptors["stimulus_id"]).index(each) for each in theirs.pattern_descriptors["stimulus_id"]
    ]
    np.testing.assert_allclose(ours.get_matrices()[0][np.ix_(order, order)], theirs.get_matrices()[0], atol=1e-10)
    assert np.abs(ours.get_vectors() - theirs.get_vectors()).max() > 0.1  # by position they differ


def test_a_stimulus_stays_one_though_another_coordinate_differs_between_repetitions():
    data = assembly().assign_coords(session=("presentation", np.arange(30)))
    assert rdms(data).n_cond == 10


def test_permuting_presentations_changes_nothing_but_the_order():
    data = assembly()
    moved = data.isel(presentation=np.random.default_rng(5).permutation(30))
    ours, theirs = rdms(data), rdms(moved)
    order = [list(theirs.pattern_descriptors["stimulus_id"]).index(e) for e in ours.pattern_descriptors["stimulus_id"]]
    np.testing.assert_allclose(theirs.get_matrices()[:, order][:, :, order], ours.get_matrices(), atol=1e-12)


def test_arrays_by_name_and_ids():
    rng = np.random.default_rng(0)
    named = {"early": rng.normal(size=(6, 5)), "late": rng.normal(size=(6, 8))}
    found = rdms(named, stimulus_ids=range(6))
    assert found.rdm_descriptors["layer"] == ["early", "late"]
    assert list(found.pattern_descriptors["stimulus_id"]) == [str(k) for k in range(6)]
    assert "stimulus_id" not in rdms(named["early"]).pattern_descriptors


def test_errors_are_one_line_that_says_what_to_do():
    data = assembly()
    x = np.ones((4, 3))
    cases = [
        (OptionError, "near: 'correlation'", lambda: rdms(x, method="correlations")),
        (OptionError, "flatten with", lambda: rdms(np.ones((4, 3, 2)))),
        (OptionError, "numbers", lambda: rdms(np.array([["a", "b"]]))),
        (OptionError, "dict is empty", lambda: rdms({})),
        (MatchError, "has 4 rows, there are 3 stimuli", lambda: rdms(x, stimulus_ids=["a", "b", "c"])),
        (MatchError, "more than once: 'a'", lambda: rdms(x, stimulus_ids=["a", "a", "b", "c"])),
        (MatchError, "differ from those that x carries", lambda: rdms(data, stimulus_ids=list("abcdefghij"))),
        (MatchError, "'b' has 5 rows", lambda: rdms({"a": x, "b": np.ones((5, 3))})),
        (
            LayerNotFound,
            "no layer 'conv2' to make an RDM of; near: 'conv1'",
            lambda: rdms(toy_recording(), layers=["conv2"]),
        ),
        (NeuralDataError, "no coordinate stimulus_id", lambda: rdms(data.drop_vars("stimulus_id"))),
        (NeuralDataError, "time_bin", lambda: rdms(data.expand_dims(time_bin=3))),
    ]
    for kind, text, call in cases:
        with pytest.raises(kind, match=text) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_one_time_bin_is_no_obstacle():
    data = assembly()
    assert rdms(data.expand_dims(time_bin=1)) == rdms(data)


def test_neural_data_give_their_rdms_or_those_of_their_assembly():
    from netphys.neural import NeuralData

    given = assembly()
    ids = tuple(dict.fromkeys(given["stimulus_id"].values.tolist()))
    data = NeuralData("assembly", ids, ("nano", "magneto"), "IT", "toy", "made up", assembly=given)
    np.testing.assert_array_equal(rdms(data).get_vectors(), rdms(given).get_vectors())
    vectors = np.random.default_rng(0).random((2, 45))
    data = NeuralData("rdms", ids, ("a", "b"), "IT", "toy", "made up", dissimilarities=vectors)
    np.testing.assert_array_equal(rdms(data).get_vectors(), vectors)
    assert rdms(data).rdm_descriptors["subject"] == ["a", "b"]


def test_layer_index_is_the_place_in_the_network_where_the_recording_knows_it():
    class Placed(ToyRecording):
        def layer_index(self, layer):
            return {"conv1": 3, "fc": 11}[layer]

    toy = toy_recording()
    placed = Placed(toy.activations, toy.stimulus_ids)
    assert rdms(placed).rdm_descriptors["layer_index"] == [3, 11]
    assert rdms(placed, layers=["fc"]).rdm_descriptors["layer_index"] == [11]
    assert rdms(toy).rdm_descriptors["layer_index"] == [0, 1]  # control: what cannot say is counted


def test_a_recording_is_taken_wherever_rdms_are():
    from netphys.recording import Recording
    from netphys.rsa import compare, evaluate

    recording = Recording.from_arrays(toy_recording().activations, IDS, name="toy")
    brain = rdms(toy_recording(1))
    np.testing.assert_array_equal(compare(recording, brain), compare(rdms(recording), brain))
    result = evaluate(recording, brain, n_bootstraps=0)
    assert result.layers == ("conv1", "fc") and result.networks == ("toy", "toy")


def test_regions_that_are_mixed_are_told():
    import xarray as xr

    coords = {
        "stimulus_id": ("presentation", list("abcd")),
        "neuroid_id": ("neuroid", list("wxyz")),
        "region": ("neuroid", ["V4", "V4", "IT", "IT"]),
    }
    values = np.random.default_rng(0).normal(size=(4, 4))
    assembly = xr.DataArray(values, dims=("presentation", "neuroid"), coords=coords)
    with pytest.warns(UserWarning, match=r"holds neuroids of V4\+IT; choose one by \?region="):
        assert rdms(assembly).rdm_descriptors["region"] == ["V4+IT"]
    rdms(assembly.isel(neuroid=slice(2)))  # control: one region is not warned of
