"""How good the real data are: the truths of ../shared/data/README.md."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from netphys.neural import load_neural
from netphys.neural.quality.ceilings import ceiling
from netphys.neural.quality.reliability import reliability
from netphys.neural.quality.split_halves import spearman_brown
from netphys.rsa import noise_ceiling

pytestmark = pytest.mark.real


def test_macaque_v4(real_data):
    """The README's .730, .750, .514 are 2 r / (1 + r): the reliability of the presentations in both halves.

    One of an odd number of presentations is left out of them; of all presentations it is .744, by both methods.
    """
    file = real_data / "v4_cowley" / "responses.npz"
    if not file.is_file():
        pytest.skip(f"no {file}")
    ids = [f"images_210325/image{at:04d}.jpg" for at in range(1, 641)]
    address = f"{file}?variable=trials_210325&kind=responses&axes=neuroid,stimulus,repetition&region=V4"
    found = reliability(load_neural(address, ids=ids).assembly)
    assert found.split_half.mean() == pytest.approx(0.588, abs=1e-3)
    halves = spearman_brown(found.split_half)
    # other halves are drawn: over 30 seeds the standard deviations are .0003, .0010 and .0030
    assert halves.mean() == pytest.approx(0.730, abs=0.0015)
    assert np.median(halves) == pytest.approx(0.750, abs=0.004)
    assert halves.min() == pytest.approx(0.514, abs=0.012)
    assert found.rho.mean() == pytest.approx(found.anova.mean(), abs=0.002) == pytest.approx(0.744, abs=0.002)
    assert (found.low < found.rho).all() and (found.rho < found.high).all()
    assert found.presentations == (6, 10) and (found.n_stimuli == 640).all()
    assert ceiling(found, of="r").mean() == pytest.approx(0.860, abs=0.005)
    assert "6-10 repetitions of 640 stimuli" in str(found)


def test_stimuli_shuffled_have_no_reliability(real_data):
    """Control: the same responses, their stimuli permuted over presentations."""
    file = real_data / "v4_cowley" / "responses.npz"
    if not file.is_file():
        pytest.skip(f"no {file}")
    ids = [f"images_210325/image{at:04d}.jpg" for at in range(1, 641)]
    address = f"{file}?variable=trials_210325&kind=responses&axes=neuroid,stimulus,repetition"
    assembly = load_neural(address, ids=ids).assembly
    shuffled = np.random.default_rng(0).permutation(assembly["stimulus_id"].values)
    found = reliability(assembly.assign_coords(stimulus_id=("presentation", shuffled)))
    # noise correlations make the neuroids' values depend on each other: about 10 independent ones
    assert abs(found.rho.mean()) < 3 * 0.09 / np.sqrt(10)


@pytest.mark.parametrize(
    ("region", "squared", "plain"),
    [("EVC", (0.0068, 0.0640), (0.0157, 0.2205)), ("IT", (0.0028, 0.0647), (0.0116, 0.2346))],
)
def test_ceilings_of_fmri_of_fifteen_subjects(real_data, region, squared, plain):
    file = real_data / "cichy78" / "fmri_rdms.npz"
    if not file.is_file():
        pytest.skip(f"no {file}")
    data = load_neural(f"{file}?variable={region}&region={region}", ids=[f"image_{at:02d}.jpg" for at in range(1, 79)])
    rdms = data.dissimilarities
    of_all = [float(spearmanr(each, rdms.mean(axis=0)).statistic) for each in rdms]
    of_others = [
        float(spearmanr(each, np.delete(rdms, at, axis=0).mean(axis=0)).statistic) for at, each in enumerate(rdms)
    ]
    found = np.mean(of_others), np.mean(of_all)
    assert found == pytest.approx(plain, abs=5e-5)
    assert (np.mean(np.square(of_others)), np.mean(np.square(of_all))) == pytest.approx(squared, abs=5e-5)
    # netphys pools ranks, the README dissimilarities; the mean of ranks agrees best with the subjects' ranks
    pooled = noise_ceiling(data, method="spearman")
    assert pooled.lower == pytest.approx(plain[0], abs=0.01)
    assert plain[1] < pooled.upper == pytest.approx({"EVC": 0.261, "IT": 0.256}[region], abs=5e-4)
    assert pooled.n_subjects == 15 and abs(pooled.upper - pooled.noise_only) < 0.01  # no more than noise alone
