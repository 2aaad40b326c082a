"""Packages order conditions differently ("10" sorts before "2"): by position, RDMs compare other stimuli."""

import numpy as np
import pytest

from netphys.rsa import compare, evaluate, rdms


def test_order_of_conditions_unlike_the_ids():
    from rsatoolbox.data import Dataset
    from rsatoolbox.rdm import calc_rdm

    patterns = np.random.default_rng(0).normal(size=(30, 12))
    ids = [str(k) for k in range(30)]
    ours = rdms(patterns, stimulus_ids=ids)
    theirs = calc_rdm(Dataset(patterns.copy(), obs_descriptors={"stimulus_id": ids}), "correlation", "stimulus_id")
    assert list(theirs.pattern_descriptors["stimulus_id"])[:3] == ["0", "1", "10"]  # sorted as text
    assert compare(ours, theirs)[0, 0] == pytest.approx(1)
    assert evaluate(ours, theirs, n_bootstraps=0).scores[0] == pytest.approx(1)
    assert abs(compare(ours.get_vectors(), theirs.get_vectors())[0, 0]) < 0.5  # by position it is another RDM
