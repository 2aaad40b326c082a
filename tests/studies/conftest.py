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
