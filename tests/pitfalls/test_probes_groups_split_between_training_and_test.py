"""Views of one object on both sides of the split: a probe knows the object and seems to know its class."""

from __future__ import annotations

import numpy as np
import pandas as pd

from netphys.probes import probe
from netphys.recording import Recording


def views(seed=0, *, n_objects=40, n_views=8):
    """Each object has an appearance of its own, which says nothing of its class."""
    rng = np.random.default_rng(seed)
    objects = np.repeat(np.arange(n_objects), n_views)
    appearance = rng.normal(size=(n_objects, 60))[objects]
    classes = np.array(["a", "b"])[rng.permutation(np.arange(n_objects) % 2)][objects]
    table = pd.DataFrame({"class": classes, "object": [f"object {each}" for each in objects]})
    arrays = {"layer": appearance + 0.3 * rng.normal(size=appearance.shape)}
    return Recording.from_arrays(arrays, [f"{i}" for i in range(len(objects))], metadata=table)


def test_groups_split_between_training_and_test():
    loose, whole = [], []
    for seed in range(6):
        recording = views(seed)
        loose.append(probe(recording, "class", seed=seed).probes[0].accuracy)
        whole.append(probe(recording, "class", groups="object", seed=seed).probes[0].accuracy)
    assert np.mean(loose) > 0.9  # the mistake: classes are told from objects seen in training
    # ten objects a test: one accuracy has an sd of about .16, the mean of six .065
    assert abs(np.mean(whole) - 0.5) < 3 * 0.065
