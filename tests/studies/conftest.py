"""A study of seconds: few scenes, two networks without learning, one simulated region."""

from __future__ import annotations

import pytest

SMALL = """
title = "small"
[stimuli]
address = "world:scenes?n=16&size=32&seed=3"
[[networks]]
name = "Gabor energy"
address = "netphys:gabor_energy"
layers = ["simple", "energy"]
[[networks]]
name = "pixels"
address = "netphys:pixels"
[[neural]]
name = "simulated IT"
address = "world:cortex?region=IT&seed=1&subjects=3&neuroids=20"
[rsa]
n_bootstraps = 40
"""


@pytest.fixture(scope="session")
def small_study(tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "small.toml"
    path.write_text(SMALL)
    return path


TRAINED = """
title = "small, with training"
[stimuli]
address = "world:scenes?n=16&size=32&seed=3"
[training]
stimuli = "world:scenes?n=64&size=32&seed=4"
labels = "object"
n_steps = 6
batch_size = 16
precision = "float32"
[probe]
stimuli = "world:scenes?n=96&size=32&seed=5"
labels = "scene"
[units]
n_top = 4
[[networks]]
name = "SimCLR"
address = "netphys:small_alexnet?width=4"
layers = ["relu1", "relu5"]
control = "untrained"
[networks.train]
objective = "simclr"
[[networks]]
name = "supervised"
address = "netphys:small_alexnet?width=4"
layers = ["relu1", "relu5"]
control = "untrained"
[networks.train]
objective = "supervised"
n_steps = 9
[[networks]]
name = "untrained"
address = "netphys:small_alexnet?width=4"
layers = ["relu1", "relu5"]
[[networks]]
name = "pixels"
address = "netphys:pixels"
[[neural]]
name = "simulated IT"
address = "world:cortex?region=IT&seed=1&subjects=3&neuroids=20"
[rsa]
n_bootstraps = 40
"""


@pytest.fixture(scope="session")
def trained_study(tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "trained.toml"
    path.write_text(TRAINED)
    return path
