"""Evaluation: rsatoolbox's variance on the same draws, calibrated tests, findings that say so, errors."""

import json
import subprocess
import sys

import numpy as np
import pytest

from netphys.errors import LayerNotFound, MatchError, OptionError
from netphys.inference import t_p
from netphys.rsa import COMPARISONS, compare, dissimilarities, evaluate, rdms
from netphys.scores import COLUMNS

N = 16
PAIRS = N * (N - 1) // 2


def models_and_data(seed=0, n_subjects=4):
    rng = np.random.default_rng(seed)
    shared = rng.random(PAIRS)
    data = shared + rng.random((n_subjects, PAIRS))
    models = {"conv1": rng.random(PAIRS), "conv2": shared + 0.3 * rng.random(PAIRS), "fc": shared + rng.random(PAIRS)}
    return models, data


@pytest.mark.parametrize("method", COMPARISONS)
def test_variance_interval_and_p_equal_rsatoolbox_on_the_same_draws(method, monkeypatch):
    import rsatoolbox.inference.evaluate as theirs
    from rsatoolbox.model import ModelFixed
    from rsatoolbox.rdm import RDMs

    models, data = models_and_data()
    drawn = []
    sampler = theirs.bootstrap_sample_pattern

    def recorded(*args):
        sample, index = sampler(*args)
        drawn.append(index)
        return sample, index

    monkeypatch.setattr(theirs, "bootstrap_sample_pattern", recorded)
    fixed = [ModelFixed(name, RDMs(value[None])) for name, value in models.items()]
    reference = theirs.eval_bootstrap_pattern(fixed, RDMs(data), method=method, N=60)
    monkeypatch.setattr("netphys.rsa.evaluation.stimulus_draws", lambda *_: np.array(drawn))
    found = evaluate(models, data, method=method, n_bootstraps=60)
    np.testing.assert_allclose(found.draws_scores, reference.evaluations, atol=1e-10)
    np.testing.assert_allclose(found.draws_ceiling.T, reference.noise_ceiling, atol=1e-10)
    np.testing.assert_allclose(found.variance, reference.model_var, atol=1e-10)
    assert found.dof == reference.dof
    # rsatoolbox centres its interval on the mean over draws; its width is the same
    low, high = reference.get_ci(0.95)
    np.testing.assert_allclose(found.ci_high - found.ci_low, high - low, atol=1e-10)
    pairs = [found.difference(a, b) for a, b in (("conv1", "conv2"), ("conv1", "fc"), ("conv2", "fc"))]
    widths = 2 * 2.131449545559323 * np.sqrt(reference.diff_var)  # t(15) at 0.975
    np.testing.assert_allclose([each.ci_high - each.ci_low for each in pairs], widths, atol=1e-10)


def test_score_is_the_mean_over_subjects_on_the_stimuli_as_shown():
    models, data = models_and_data()
    found = evaluate(models, data, n_bootstraps=0)
    np.testing.assert_allclose(found.scores, compare(np.stack(list(models.values())), data).mean(axis=1), atol=1e-12)
    assert np.isnan(found.ci_low).all() and np.isnan(found.p).all()
    assert found.draws_scores.shape == (0, 3)
    assert str(found).startswith("conv2 best of 3 layers: 0.")
    assert "[" not in str(found)


def test_shuffled_stimuli_score_nothing():
    rng = np.random.default_rng(0)
    models, data = models_and_data(n_subjects=6)
    first, second = np.triu_indices(N, 1)
    square = np.zeros((N, N))
    square[first, second] = square[second, first] = models["conv2"]
    order = rng.permutation(N)
    found = evaluate({"true": square[None], "shuffled": square[np.ix_(order, order)][None]}, data, n_bootstraps=500)
    assert found.p[0] < 0.001
    assert found.ci_low[0] > 0.4
    assert abs(found.scores[1]) < 0.15
    assert found.ci_low[1] < 0 < found.ci_high[1]
    assert found.difference("true", "shuffled").p < 0.001


def test_false_positives_of_unrelated_models_are_at_most_their_level():
    """1000 experiments of 20 new stimuli, a shared geometry, 4 subjects and a model that knows nothing of it.

    Measured: 2.8 %. The bootstrap over stimuli is conservative, rsatoolbox's too: a pair's own noise is weighted by
    c_i c_j, whose variance is 3, so that part of the variance is counted three times.
    """
    positives, naive, n_experiments, n_pairs = 0, 0, 1000, 190
    for seed in range(n_experiments):
        rng = np.random.default_rng([7, seed])
        brain, model = rng.normal(size=(20, 10)), rng.normal(size=(20, 10))
        data = np.array([dissimilarities(brain + 0.7 * rng.normal(size=(20, 10)), "euclidean") for _ in range(4)])
        model = dissimilarities(model, "euclidean")
        positives += evaluate(model, data, method="corr", n_bootstraps=100, seed=seed).p[0] < 0.05
        r = compare(model, data.mean(axis=0), method="corr")[0, 0]
        naive += t_p(r, (1 - r**2) / (n_pairs - 2), n_pairs - 2) < 0.05
    assert 0.01 < positives / n_experiments < 0.05 + 2 * np.sqrt(0.05 * 0.95 / n_experiments)
    assert naive / n_experiments > 0.1  # negative control, 16 %: pairs taken for independent, though they share stimuli


def test_equal_seeds_give_equal_bits_and_other_seeds_do_not():
    models, data = models_and_data()
    first, second = (evaluate(models, data, n_bootstraps=50, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.draws_scores, second.draws_scores)
    assert not np.array_equal(first.draws_scores, evaluate(models, data, n_bootstraps=50, seed=4).draws_scores)


def labelled(seed=0):
    """RDMs of 3 layers and 2 subjects whose stimuli are in different orders."""
    import xarray as xr

    rng = np.random.default_rng(seed)
    ids = [f"image{k}" for k in range(N)]
    features = rng.normal(size=(N, 8))
    layers = {name: features + noise * rng.normal(size=(N, 8)) for name, noise in (("a", 3), ("b", 0.1), ("c", 1))}
    order = rng.permutation(N)
    responses = np.concatenate([features + 0.5 * rng.normal(size=(N, 8)) for _ in range(2)], axis=1)[order]
    assembly = xr.DataArray(
        responses,
        dims=("presentation", "neuroid"),
        coords={
            "stimulus_id": ("presentation", [ids[k] for k in order]),
            "neuroid_id": ("neuroid", np.arange(16)),
            "animal": ("neuroid", ["chabo"] * 8 + ["tito"] * 8),
            "region": ("neuroid", ["IT"] * 16),
        },
    )
    return rdms(layers, stimulus_ids=ids), rdms(assembly)


def test_finding_frame_and_files(tmp_path):
    models, data = labelled()
    found = evaluate(models, data, n_bootstraps=100, network="toy", training="untrained", dataset="made up")
    assert str(found).startswith("b best of 3 layers: 0.")
    assert "ceiling 0." in str(found) and "pure noise: 0.71" in str(found)
    frame = found.to_frame()
    assert tuple(frame.columns) == COLUMNS
    row = frame.iloc[1]
    assert (row.network, row.training, row.layer, row.layer_index) == ("toy", "untrained", "b", 1)
    assert (row.dataset, row.region, row.subject) == ("made up", "IT", "mean of 2")
    assert row.measure == "spearman of correlation RDMs"
    assert row.n_units == 8 and row.n_stimuli == N and row.seed == 0
    assert row.score_ceiled == pytest.approx(row.score / row.ceiling_low)
    path = found.save(tmp_path / "new")
    again = __import__("pandas").read_csv(path)
    np.testing.assert_allclose(again["score"], frame["score"])
    record = json.loads(path.with_suffix(".json").read_text())
    assert record["made_by"] == "netphys.rsa.evaluate"
    assert record["options"] == {"method": "spearman", "n_bootstraps": 100}
    assert record["finding"] == str(found)
    assert set(record["inputs"]) == {"models", "data"}


def test_joined_by_id_and_not_by_position():
    models, data = labelled()
    found = evaluate(models, data, n_bootstraps=0)
    assert found.scores[1] > 0.5
    by_position = evaluate(models.get_vectors(), data.get_vectors(), n_bootstraps=0)
    assert abs(by_position.scores[1]) < 0.2  # negative control


def test_one_subject_has_no_ceiling():
    models, data = models_and_data(n_subjects=1)
    found = evaluate(models, data, n_bootstraps=50)
    assert str(found).endswith("ceiling none: one RDM")
    frame = found.to_frame()
    assert frame["ceiling_low"].isna().all() and frame["score_ceiled"].isna().all()
    assert set(frame["ceiling_rule"]) == {"none: one RDM"}
    assert np.isnan(found.draws_ceiling).all()


def test_differences_are_antisymmetric_and_zero_with_itself():
    found = evaluate(*models_and_data(), n_bootstraps=100)
    there, back = found.difference("conv1", "conv2"), found.difference("conv2", "conv1")
    assert there.estimate == -back.estimate
    assert (there.ci_low, there.p) == (-back.ci_high, back.p)
    assert found.difference("fc", "fc").estimate == 0
    assert tuple(there.to_frame().columns) == ("first", "second", "estimate", "ci_low", "ci_high", "p", "n_bootstraps")
    assert str(there).startswith("conv1 - conv2: -0.")


def test_models_of_two_results_are_compared_draw_by_draw_or_not_at_all():
    from netphys.rsa import compare_models

    models, data = models_and_data()
    one, other = (evaluate({name: models[name]}, data, n_bootstraps=100) for name in ("conv1", "conv2"))
    both = evaluate(models, data, n_bootstraps=100).difference("conv1", "conv2")
    assert compare_models(one, other).ci_low == pytest.approx(both.ci_low, abs=1e-12)
    with pytest.raises(MatchError, match="seed is 0 in one and 1"):
        compare_models(one, evaluate(models, data, n_bootstraps=100, seed=1))
    with pytest.raises(MatchError, match="other data"):
        compare_models(one, evaluate(models, data + 1, n_bootstraps=100))
    with pytest.raises(LayerNotFound, match="no layer 'conv9' in this result"):
        one.difference("conv9", "conv1")


def test_constant_model_has_no_score_and_is_named():
    models, data = models_and_data()
    models["dead"] = np.ones(PAIRS)
    with pytest.warns(UserWarning, match="constant RDM, no score: dead"):
        found = evaluate(models, data, n_bootstraps=20)
    assert np.isnan(found.scores[3]) and np.isfinite(found.scores[:3]).all()
    assert found.layers[found.best] == "conv2"


def test_errors_are_one_line():
    models, data = models_and_data()
    lacking = dict(models, half=np.where(np.arange(PAIRS) % 3, np.nan, 1.0))
    twice, of_two = labelled()
    of_two.rdm_descriptors["subject"] = ["chabo", "chabo"]
    unknown = labelled()[1]
    unknown.pattern_descriptors["stimulus_id"][0] = "image99"
    cases = [
        (OptionError, "no comparison 'pearson'", lambda: evaluate(models, data, method="pearson")),
        (OptionError, "3 stimuli are too few", lambda: evaluate(np.ones((2, 3)), np.ones(3))),
        (OptionError, "name 'half' of the model RDMs lacks 67%", lambda: evaluate(lacking, data)),
        (OptionError, "subject 'chabo' has 2 RDMs", lambda: evaluate(twice, of_two)),
        (OptionError, "constant", lambda: evaluate(models, np.ones(PAIRS))),
        (OptionError, "n_bootstraps=-1", lambda: evaluate(models, data, n_bootstraps=-1)),
        (OptionError, "n_bootstraps=2.5: it must be a whole number", lambda: evaluate(models, data, n_bootstraps=2.5)),
        (OptionError, "2 stimuli are too few", lambda: evaluate(np.ones(1), np.ones(1))),
        (OptionError, "2 stimuli, which have one dissimilarity", lambda: compare(np.ones(1), np.ones(1))),
        (OptionError, "of 1 stimuli; an RDM needs at least 2", lambda: rdms(np.ones((1, 9)))),
        (OptionError, "netphys.rdms\\(x\\) makes RDMs", lambda: evaluate(object(), data)),
        (OptionError, "has 4 RDMs; a dict holds one a name", lambda: evaluate({"a": data}, data)),
        (MatchError, "1 of 16 stimuli of the data RDMs are not among", lambda: evaluate(twice, unknown)),
        (MatchError, "have 16 stimuli, the data RDMs have 15", lambda: evaluate(models, data[:, :105])),
        (MatchError, "same stimuli", lambda: evaluate({"a": data[0], "b": data[0, :105]}, data)),
    ]
    for kind, text, call in cases:
        with pytest.raises(kind, match=text) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_import_is_light():
    code = "import sys, netphys.rsa, netphys.inference; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "netphys.rsa.evaluation" in loaded
    heavy = {"torch", "rsatoolbox", "matplotlib", "pandas", "xarray", "scipy", "tqdm", "jaxtyping"}
    assert not heavy & set(loaded)


def test_arrays_need_no_rsatoolbox():
    code = (
        "import sys, numpy as np, netphys.rsa as rsa; x = np.random.default_rng(0).random((12, 5));"
        "r = rsa.evaluate({'a': rsa.dissimilarities(x)}, rsa.dissimilarities(x + 1), n_bootstraps=10);"
        "print(*sorted(sys.modules))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"rsatoolbox", "matplotlib", "torch", "pandas"} & set(loaded)


def of_network(network, training, seed):
    found = rdms({"fc": np.random.default_rng(seed).normal(size=(N, 9)), "a/b": np.eye(N)}, stimulus_ids=range(N))
    found.rdm_descriptors.update(network=[network] * 2, training=[training] * 2)
    return found


def two_networks():
    from rsatoolbox.rdm import concat

    both = concat([of_network("A", "pretrained", 0), of_network("B", "untrained", 1)])
    brain = rdms(np.random.default_rng(2).normal(size=(N, 9)), stimulus_ids=range(N))
    with pytest.warns(UserWarning, match="constant RDM"):  # the identity has equal dissimilarities
        return evaluate(both, brain, n_bootstraps=30)


def test_every_row_has_the_training_of_its_network():
    found = two_networks()
    assert found.training == ("pretrained", "pretrained", "untrained", "untrained")  # not the first one's for all
    assert found.to_frame()["training"].tolist() == list(found.training)
    assert evaluate(*models_and_data(), n_bootstraps=0).training == ("none",) * 3
    assert evaluate(*models_and_data(), n_bootstraps=0, training="vicreg").training == ("vicreg",) * 3


def test_a_layer_of_two_networks_is_named_with_its_network_or_refused():
    found = two_networks()
    with pytest.raises(OptionError, match=r"'fc' names 2 models of this result; say which: 'A/fc', 'B/fc'"):
        found.difference("fc", "fc")
    by_name, by_pair = found.difference("A/fc", "B/fc"), found.difference(("A", "fc"), ("B", "fc"))
    assert by_name.estimate == by_pair.estimate == found.scores[0] - found.scores[2] != 0
    assert (by_name.first, by_name.second) == ("A fc", "B fc")
    assert np.isnan(found.difference("A/a/b", "B/a/b").estimate)  # a name with a slash of its own
    with pytest.raises(LayerNotFound, match="no layer 'C/fc' in this result; near: .*'A/fc'"):
        found.difference("C/fc", "A/fc")
    with pytest.raises(LayerNotFound, match="no layer 'fc/A'"):
        found.difference(("fc", "A"), "A/fc")


def test_stimuli_without_any_dissimilarity_are_neither_drawn_nor_counted():
    models, data = labelled()
    ids = list(data.pattern_descriptors["stimulus_id"])
    patterns = np.random.default_rng(0).normal(size=(N, 8))
    patterns[[1, 5, 6, 9]] = 1.0  # constant: no dissimilarity
    with pytest.warns(UserWarning, match="a constant pattern for 4 of 16"):
        lacking = rdms(patterns, stimulus_ids=ids)
    with pytest.warns(UserWarning) as told:
        found = evaluate(lacking, data, n_bootstraps=200)
    names = [str(each.message) for each in told if "left out" in str(each.message)]
    assert names == [
        "4 of 16 stimuli have no dissimilarity in all RDMs and are left out: "
        f"{ids[1]!r}, {ids[5]!r}, {ids[6]!r} and 1 more"
    ]
    rest = np.delete(np.arange(N), [1, 5, 6, 9])
    alone = evaluate(
        rdms(patterns[rest], stimulus_ids=[ids[k] for k in rest]),
        data.subset_pattern("stimulus_id", [ids[k] for k in rest]),
        n_bootstraps=200,
    )
    assert (found.n_stimuli, found.dof) == (12, 11) == (alone.n_stimuli, alone.dof)  # 16 and 15 before
    np.testing.assert_array_equal(found.draws_scores, alone.draws_scores)
    np.testing.assert_array_equal(found.ci_low, alone.ci_low)
    assert found.kept == pytest.approx(66 / 120) and alone.kept == 1
    assert (found.to_frame()["n_stimuli"] == 12).all()
    assert found.difference("model 0", "model 0").estimate == 0
    whole = evaluate(models, data, n_bootstraps=0)
    assert whole.n_stimuli == N  # control: nothing is left out where nothing is missing


def test_neural_data_are_taken_as_they_come():
    from netphys.neural import NeuralData
    from netphys.rsa import bootstrap, noise_ceiling, plot_rdm

    models, of_animals = labelled()
    ids = tuple(of_animals.pattern_descriptors["stimulus_id"])
    vectors = of_animals.get_vectors()
    data = NeuralData("rdms", ids, ("chabo", "tito"), "IT", "toy", "made up", dissimilarities=vectors)
    np.testing.assert_array_equal(compare(models, data), compare(models, of_animals))
    assert noise_ceiling(data) == noise_ceiling(of_animals)
    found, expected = (evaluate(models, each, n_bootstraps=20) for each in (data, of_animals))
    np.testing.assert_array_equal(found.draws_scores, expected.draws_scores)
    assert found.region == "IT" and found.subjects == ("chabo", "tito")
    draws = np.array([[0, 1, 2, 3, 4]])
    np.testing.assert_array_equal(bootstrap(models, data, draws=draws), bootstrap(models, of_animals, draws=draws))
    assert evaluate(data, of_animals, n_bootstraps=0).layers == ("chabo", "tito")
    with pytest.raises(OptionError, match="draws one RDM, got 2"):
        plot_rdm(data)
    with pytest.raises(OptionError, match="layers= chooses from a recording"):
        rdms(data, layers=["a"])
    with pytest.raises(MatchError, match="differ from those that x carries"):
        rdms(data, stimulus_ids=list("abcdefghijklmnop"))
