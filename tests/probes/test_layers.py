"""Probes of the layers of a recording: one split for all, exact tests, controls as rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

import netphys
from netphys.errors import LayerNotFound, MatchError, OptionError, RecordingError
from netphys.probes import compare_probes, probe
from netphys.recording import Recording
from netphys.scores import COLUMNS

N = 160


def toy(*, seed=0, name="toy", order=None):
    """Layer ``noise`` knows nothing of the class, ``knows`` does; maps of 2 x 2."""
    rng = np.random.default_rng(seed)
    classes = np.array(["ape", "bee", "cat", "dog"])[np.arange(N) % 4]
    codes = (classes[:, None] == np.unique(classes)).astype(float)
    arrays = {
        "noise": rng.normal(size=(N, 6)),
        "knows": (rng.normal(size=(N, 4)) + 2.0 * codes)[:, :, None, None] + 0.1 * rng.normal(size=(N, 4, 2, 2)),
    }
    table = pd.DataFrame({"animal": classes, "scene": np.arange(N) // 8, "one": "x", "gap": ["", *"y" * (N - 1)]})
    ids = np.array([f"s{i:03d}" for i in range(N)])
    if order is not None:
        arrays, table, ids = {k: v[order] for k, v in arrays.items()}, table.iloc[order], ids[order]
    return Recording.from_arrays(arrays, list(ids), name=name, training="none", metadata=table.reset_index(drop=True))


@pytest.fixture(scope="module")
def result():
    return probe(toy(), "animal")


def test_a_layer_that_knows_and_one_that_does_not(result):
    frame = result.to_frame().set_index("layer")
    assert frame.loc["knows", "score"] > 0.6 and frame.loc["knows", "p"] < 1e-6
    assert frame.loc["noise", "ci_low"] < 0.25 < frame.loc["noise", "ci_high"] and frame.loc["noise", "p"] > 0.01
    assert result.layers[result.best] == "knows" and "at knows" in repr(result) and "chance 0.250" in repr(result)


def test_the_tidy_frame(result):
    frame = result.to_frame()
    assert tuple(frame.columns) == COLUMNS
    row = frame.iloc[1]
    assert row["dataset"] == "animal" and row["measure"] == "accuracy of a linear probe on animal"
    assert row["n_stimuli"] == 40 and row["n_units"] == 4 and row["ceiling_rule"].startswith("none: ")
    exact = binomtest(int(result.probes[1].correct.sum()), 40, 0.25, alternative="greater")
    assert row["p"] == pytest.approx(exact.pvalue, rel=1e-9)
    wilson = exact.proportion_ci(method="wilson")  # one-sided here; two-sided below
    two = binomtest(int(result.probes[1].correct.sum()), 40).proportion_ci(method="wilson")
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((two.low, two.high), abs=1e-9) and wilson.low > two.low


def test_the_order_of_the_recording_does_not_count(result):
    other = probe(toy(order=np.random.default_rng(1).permutation(N)), "animal")
    assert other.split == result.split and other.test_ids == result.test_ids
    for a, b in zip(result.probes, other.probes):
        assert np.array_equal(a.correct, b.correct) and a.penalty == b.penalty


def test_labels_by_column_by_order_and_by_id_are_one(result):
    table = toy().metadata
    for labels in (table["animal"], list(table["animal"]), dict(zip(table["stimulus_id"], table["animal"]))):
        other = probe(toy(), labels)
        assert other.split == result.split and other.probes[1].accuracy == result.probes[1].accuracy
    assert probe(toy(), table["animal"]).label == "animal"


def test_groups_stay_whole_and_without_them_they_do_not():
    scene = dict(zip(toy().metadata["stimulus_id"], toy().metadata["scene"]))
    for groups, shared in (("scene", False), (None, True)):
        tested = set(probe(toy(), "animal", groups=groups).test_ids)
        scenes = [{scene[each] for each in part} for part in (tested, set(scene) - tested)]
        assert bool(scenes[0] & scenes[1]) == shared
    assert probe(toy(), "animal", groups="scene").groups == "scene"


def test_the_mean_of_units_is_another_probe():
    pooled = probe(toy(), "animal", pool="mean", layers="knows")
    assert pooled.probes[0].n_features == 4 and probe(toy(), "animal", layers="knows").probes[0].n_features == 16


def test_differences_are_paired_by_stimulus(result):
    other = probe(toy(seed=1, name="twin"), "animal")
    table = result.difference(other)
    assert table["layer"].tolist() == ["noise", "knows"] and set(table["other_network"]) == {"twin"}
    assert table["difference"][1] == pytest.approx(result.probes[1].accuracy - other.probes[1].accuracy)
    own = result.difference(pairs=[("knows", "noise")]).iloc[0]
    assert own["ci_low"] > 0 and own["p"] < 1e-3
    itself = result.difference(probe(toy(), "animal"))  # control: the same answers differ nowhere
    assert (itself["difference"] == 0).all() and (itself["p"] == 1).all()
    both = compare_probes({"toy": result, "twin": other})
    assert len(both) == 1 and both["layer"][0] == both["other_layer"][0] == "knows"


def test_what_was_tested_on_other_stimuli_is_not_compared(result):
    for other in (probe(toy(), "animal", seed=1), probe(toy(), "animal", test=0.5), probe(toy(), "scene")):
        with pytest.raises(MatchError, match="were not tested on the same stimuli"):
            result.difference(other)
    with pytest.raises(OptionError, match="no layers to compare"):
        result.difference()
    with pytest.raises(LayerNotFound, match="no layer 'know' in this result; near: 'knows'"):
        result.difference(pairs=[("know", "noise")])
    with pytest.raises(OptionError, match="no result 'x'"):
        compare_probes({"a": result}, [("a", "x")])


def test_confusion_plot_and_save(result, tmp_path):
    table = result.confusion("knows")
    assert table.to_numpy().sum() == 40 and list(table.index) == ["ape", "bee", "cat", "dog"]
    ax = result.plot()
    assert [each.get_text() for each in ax.get_xticklabels()] == ["noise", "knows"]
    assert any("chance 0.25" in each.get_text() for each in ax.texts)
    assert result.probes[1].plot().images[0].get_array().sum() == pytest.approx(400)  # percent of each of 4 classes
    csv, made = result.save(tmp_path, "toy")
    assert csv.name == "toy.csv" and made.name == "toy.json"
    assert pd.read_csv(csv)["score"].tolist() == pytest.approx(result.to_frame()["score"].tolist())
    assert [each.name for each in result.probes[0].save(tmp_path)] == ["probe.csv", "probe.json"]


def test_pixels_and_an_untrained_network_are_rows_like_any_other():
    shown = netphys.load_stimuli("world:scenes?n=120&size=64")
    rows = []
    for address, patterns in (("netphys:pixels", "pixels"), ("netphys:small_alexnet", ["conv1", "conv5"])):
        recording = netphys.record(address, shown, layers=patterns, keep="pooled")
        assert all(np.prod(recording.shape(each)[1:]) <= 512 for each in recording.layers)
        rows.append(probe(recording, "category"))
    assert rows[0].split == rows[1].split
    frame = pd.concat([each.to_frame() for each in rows])
    assert frame["training"].tolist() == ["none", "untrained", "untrained"] and frame["score"].notna().all()


@pytest.mark.parametrize(
    ("labels", "options", "error", "text"),
    [
        ("animals", {}, OptionError, "the metadata of toy have no column 'animals'; near: 'animal'"),
        ("one", {}, OptionError, "all stimuli are 'x' in 'one'; a probe needs two classes"),
        ("gap", {}, OptionError, "1 of 160 stimuli have no value in 'gap', first 's000'"),
        (["a", "b"], {}, OptionError, "2 labels for 160 stimuli of toy"),
        ({"s000": "a"}, {}, MatchError, "159 stimuli of toy have no labels, first 's001'"),
        ("animal", {"pool": "max"}, OptionError, "pool='max' is not known"),
        ("animal", {"groups": "animal"}, OptionError, "no stimulus of class '.*' is left for"),
        ("animal", {"layers": "conv*"}, LayerNotFound, "conv"),
        (["a"] * 158 + ["b"] * 2, {"test": 0.5}, OptionError, "class 'b' has fewer than 2 training stimuli"),
    ],
)
def test_what_cannot_be_probed_is_one_line(labels, options, error, text):
    with pytest.raises(error, match=text) as caught:
        probe(toy(), labels, **options)
    assert "\n" not in str(caught.value)


def test_activations_that_are_not_finite_are_refused():
    broken = np.random.default_rng(0).normal(size=(8, 3))
    broken[2, 1] = np.nan
    recording = Recording.from_arrays({"fc": broken}, list("abcdefgh"), name="broken")
    with pytest.raises(
        RecordingError, match="layer 'fc' of broken has 1 activations that are not finite.*first to stimulus 'c'"
    ):
        probe(recording, ["x", "y"] * 4)
    with pytest.raises(OptionError, match=r"have no column 'x'; it has none but stimulus_id: name a file"):
        probe(recording, "x")
