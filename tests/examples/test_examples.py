"""Every example runs as it stands, under a minute, and shows the number that its docstring states."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))


@pytest.fixture(params=EXAMPLES, ids=lambda path: path.stem)
def ran(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return request.param.stem, runpy.run_path(str(request.param)), tmp_path


def test_an_example_draws_its_figure_and_shows_its_number(ran):
    name, values, folder = ran
    assert (folder / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    CHECKS[name](values)


def check_layers_and_it(values):
    result = values["result"]
    assert ((result.scores > 0.1) & (result.scores < 0.5)).all()
    assert result.ceiling.lower > 0.6
    assert result.ceiling.lower - 0.02 < values["best_possible"].scores[0] < result.ceiling.upper


def check_in_place_operations(values):
    assert len(values["negative"]) == 5
    for plain, right in values["negative"].values():
        assert plain == 0
        assert 0.2 < right < 0.8


def check_random_projection(values):
    assert -0.6 < values["slope"] < -0.4
    assert values["correlation"][1000] > 0.98
    assert values["correlation"][32] < 0.9  # control: few numbers do not do


def check_first_layer_filters(values):
    assert values["found"] == set(values["units"].tolist())
    assert len(values["found"]) == 32
    assert values["by_r2_alone"] > 55


def check_probe_by_layer(values):
    assert values["pixels"].probes[0].accuracy > 1 / 3
    against = values["against_pixels"].set_index("layer")
    assert 0.05 < against.loc["conv2", "difference"] < 0.17


def check_train_and_look(values):
    for name, result in values["results"].items():
        assert result.held_out < result.references["untrained"], name
    simclr = values["results"]["simclr"]
    assert simclr.references["untrained"] - simclr.held_out > 0.5
    assert values["same"]["supervised"] > values["same"]["untrained"] > 1 / 8


def check_classic_stimuli(values):
    assert values["peak"] == (0, 16) and values["rest"] < 0.01
    assert all(len(each) >= 5 for each in values["sets"].values())


def check_matched_stimuli(values):
    assert values["told"]["grey"] > 0.95
    for name in ("luminance", "histogram", "spectrum"):
        assert values["told"][name] == 0.5, name
        assert values["tables"][name]["mean"].std() < 0.01 * values["tables"]["grey"]["mean"].std(), name


def check_neural_population(values):
    agreement = {key: np.median(each) for key, each in values["agreement"].items()}
    assert agreement["60 to 200 ms", 147] > 0.9 and agreement["60 to 200 ms", 8] < 0.7
    assert all(abs(each) < 0.2 for (name, _), each in agreement.items() if name == "0 to 60 ms")  # control
    assert values["population"].attrs["pseudo_population"] == 1


def check_behaviour(values):
    assert values["found"]["subject 2"][0].correlation < 0.6 and values["found"]["subject 2"][3].correlation > 0.9
    for name, row in values["found"].items():
        assert all(abs(each.score - values["truth"][name]) < 0.1 for each in row), name


def check_reliability(values):
    for count, truth in values["truth"].items():
        assert abs(np.median(values["measured"][count].rho) - truth) < 0.05
        assert 0.97 < np.nanmean(values["corrected"][count]) < 1.1
    assert np.mean(values["raw"][2]) < 0.4  # control: uncorrected, a perfect model looks poor


CHECKS = {name.removeprefix("check_"): value for name, value in list(globals().items()) if name.startswith("check_")}


def test_every_example_has_a_check():
    assert sorted(CHECKS) == [path.stem for path in EXAMPLES]


def test_examples_are_short():
    for path in EXAMPLES:
        assert len(path.read_text().splitlines()) < 60, path.name
