"""The address world:cortex on stimuli that are given."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import netphys
from netphys.errors import AddressError, NeuralDataError
from netphys.neural import average_repetitions, load_neural, true_responses, v1_features
from netphys.neural.cortex.populations import Cells, TolerantReadouts
from netphys.neural.cortex.v1 import V1Bank
from netphys.neural.cortex.v4 import V4Bank, v4_features

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 3, 32, 32), dtype=np.uint8)
LATENTS = np.random.default_rng(1).normal(size=(12, 4)).astype(np.float32)


class _Stimuli:
    """What this room needs of a StimulusSet."""

    def __init__(self, fields: tuple[str, ...]) -> None:
        self.ids = tuple(f"scene/{at}" for at in range(12))
        self.fields = fields
        self.digest = "d" * 64

    def __len__(self) -> int:
        return 12

    def images(self, indices) -> np.ndarray:
        return IMAGES[list(indices)]

    def get(self, indices, field="image") -> np.ndarray:
        assert field == "latents"
        return LATENTS[list(indices)]


def test_it_is_driven_by_the_latents():
    data = load_neural(
        "world:cortex?region=IT&seed=3&subjects=2&neuroids=5&repetitions=2", stimuli=_Stimuli(("image", "latents"))
    )
    assert data.kind == "assembly" and data.region == "IT" and data.subjects == ("subject1", "subject2")
    assert data.assembly.shape == (24, 10) and data.stimulus_ids == tuple(f"scene/{at}" for at in range(12))
    np.testing.assert_array_equal(data.truth, true_responses(LATENTS, region="IT", seed=3))
    assert data.assembly.attrs["stimulus_set_digest"] == "d" * 64
    assert repr(data).startswith(
        "NeuralData(world:cortex: assembly of IT from 2 animals, 24 presentations, 10 neuroids, 12 stimuli"
    )


def test_v1_is_driven_by_the_images():
    data = load_neural("world:cortex?region=V1&noise=0&shared=1&name=v1", stimuli=_Stimuli(("image",)))
    assert data.region == "V1" and data.name == "v1" and data.assembly.shape == (48, 360)
    features, units = v1_features(IMAGES), V1Bank.sampled(32, 32).units
    cells = Cells(units.receptive_fields)
    np.testing.assert_array_equal(data.truth, true_responses(features, region="V1", population=cells))
    _, means = average_repetitions(data.assembly)
    scaled = (features - features.mean(0)) / features.std(0)
    which = np.abs(means[:, :, None] - scaled[:, None]).max(axis=0).argmin(axis=1)  # every neuroid is one cell
    np.testing.assert_allclose(means, scaled[:, which], atol=1e-9)
    for name, values in (("rf_x", units.x), ("rf_orientation", units.orientation), ("rf_frequency", units.frequency)):
        np.testing.assert_array_equal(data.assembly[name].values, values[which])
    first, second = which[:60], which[60:120]
    assert len(set(first)) == 60 and len(set(first) & set(second)) < 20  # subjects: other cells of the same cortex
    assert data.digest == load_neural("world:cortex?region=V1&noise=0&shared=1", stimuli=_Stimuli(("image",))).digest
    assert (
        data.digest
        != load_neural("world:cortex?region=V1&noise=0&shared=1&seed=1", stimuli=_Stimuli(("image",))).digest
    )


def test_v4_is_driven_by_the_images():
    stimuli = _Stimuli(("image",))
    data = load_neural("world:cortex?region=V4&noise=0&shared=1&subjects=1&neuroids=9", stimuli=stimuli)
    features, units = v4_features(IMAGES), V4Bank.sampled(32, 32).units
    cells = Cells(units.receptive_fields)
    np.testing.assert_array_equal(data.truth, true_responses(features, region="V4", population=cells))
    _, means = average_repetitions(data.assembly)
    scaled = (features - features.mean(0)) / features.std(0)
    which = np.abs(means[:, :, None] - scaled[:, None]).max(axis=0).argmin(axis=1)
    np.testing.assert_allclose(means, scaled[:, which], atol=1e-9)
    np.testing.assert_array_equal(data.assembly["rf_size"].values, units.size[which])
    assert "rf_orientation" not in data.assembly.coords  # a set of products has none


def test_latents_without_positions_give_no_receptive_fields_and_say_so():
    data = load_neural("world:cortex?region=IT&neuroids=3", stimuli=_Stimuli(("image", "latents")))
    assert "rf_x" not in data.assembly.coords and "no positions are known" in data.source


def test_the_world_s_positions_move_the_gain():
    scenes = netphys.load_stimuli("world:scenes?n=40&size=32&seed=0")
    data = load_neural("world:cortex?region=IT&noise=0&shared=1&subjects=1&neuroids=40", stimuli=scenes)
    latents = scenes.get(range(40), field="latents")
    latents = np.asarray(latents, dtype=np.float64)
    positions = (scenes.metadata[["x", "y"]].to_numpy(dtype=np.float64) - 0.5) * 4.0
    law = TolerantReadouts(positions)
    np.testing.assert_allclose(data.truth, true_responses(latents, region="IT", population=law), atol=1e-4)  # float32
    plain = true_responses(latents, region="IT")
    assert not np.allclose(data.truth, plain, atol=0.1)  # control: without the gain
    field = data.assembly
    assert (np.hypot(field["rf_x"], field["rf_y"]) < field["rf_size"] / 2).all() and "no positions" not in data.source


def test_laws_of_noise_by_address():
    stimuli = _Stimuli(("image", "latents"))
    small = "world:cortex?subjects=1&neuroids=8"
    counts = load_neural(f"{small}&noise_kind=poisson&rate=50&fano=2&noise_spread=.3", stimuli=stimuli).assembly
    assert counts.attrs["unit"] == "spikes" and (counts.values == counts.values.astype(int)).all()
    assert counts.attrs["rate"] == 50 and counts.attrs["fano"] == 2 and "noise" not in counts.attrs
    assert counts["time_bin_end"].item() - counts["time_bin_start"].item() == 100
    gaussian = load_neural(f"{small}&noise=2&noise_correlation=.1&noise_spread=.5", stimuli=stimuli).assembly
    assert gaussian.attrs["noise_kind"] == "gaussian" and gaussian.attrs["noise_correlation"] == 0.1
    assert len(set(gaussian["true_reliability"].values)) == 8 and "unit" not in gaussian.attrs


def test_mistakes():
    stimuli = _Stimuli(("image",))
    for address, given, told in (
        (
            "world:cortex?region=IT",
            stimuli,
            r"needs generated stimuli \(world:scenes\).* have the fields image; take region=V1 or region=V4",
        ),
        ("world:cortex?region=IT", None, r"is simulated on stimuli; give them"),
        ("world:cortex?region=V2", stimuli, r"no simulated region 'V2'; near: "),
        ("world:cortex?region=V1&noise_kind=poison", stimuli, r"no noise_kind 'poison'; near: 'poisson'"),
        ("world:cortex?region=V1&fano=2", stimuli, r"fano belongs to noise_kind=poisson, the noise here is gaussian"),
        ("world:cortex?noise_kind=poisson&noise=2", stimuli, r"noise belongs to noise_kind=gaussian"),
        ("world:cortex?noise_kind=poisson&fano=.5", stimuli, r"fano=0\.5 is no Fano factor"),
        ("world:cortex?region=V1&noise_correlation=.9", stimuli, r"noise_correlation=0\.9 is more than these neuroids"),
        ("world:cortex?region=V1&shared=2", stimuli, r"shared=2\.0 is no share"),
    ):
        with pytest.raises(NeuralDataError, match=told):
            load_neural(address, stimuli=given)
    for option, close in (("sead", "seed"), ("noise_knd", "noise_kind"), ("fanno", "fano")):
        with pytest.raises(AddressError, match=rf"takes no option '{option}'; near: '{close}'"):
            load_neural(f"world:cortex?region=V1&{option}=2", stimuli=stimuli)
    with pytest.raises(AddressError, match=r"subjects=0 is not understood \(at least 1"):
        load_neural("world:cortex?region=V1&subjects=0", stimuli=stimuli)


def test_a_stimulus_set_of_the_package_will_do():
    scenes = netphys.load_stimuli("world:scenes?n=6&size=32&seed=0")
    for region, n_true in (("V1", 1000), ("V4", 1000), ("IT", 2000)):
        data = load_neural(f"world:cortex?region={region}", stimuli=scenes)
        assert data.stimulus_ids == tuple(map(str, scenes.ids)) and data.truth.shape == (6, n_true)


def test_types_of_the_stub_are_those_of_torch():
    torch = pytest.importorskip("torch")
    stimuli = _Stimuli(("image", "latents"))
    as_torch = SimpleNamespace(
        ids=stimuli.ids,
        fields=stimuli.fields,
        digest=stimuli.digest,
        images=lambda indices: torch.from_numpy(stimuli.images(indices)),
        get=lambda indices, field: torch.from_numpy(stimuli.get(indices, field)),
    )
    as_torch = type(
        "Torch",
        (),
        {"__len__": lambda self: 12, **{k: staticmethod(v) if callable(v) else v for k, v in vars(as_torch).items()}},
    )()
    for region in ("V1", "V4", "IT"):
        address = f"world:cortex?region={region}&neuroids=5"
        assert load_neural(address, stimuli=as_torch).digest == load_neural(address, stimuli=stimuli).digest


def test_the_caller_s_seed_is_used_where_the_address_names_none():
    stimuli = _Stimuli(("image", "latents"))

    def digest(query="", **options):
        return load_neural(f"world:cortex?region=IT&neuroids=5{query}", stimuli=stimuli, **options).digest

    assert digest() == digest(seed=0) == digest("&seed=0") == digest("&seed=0", seed=7)
    assert digest(seed=7) == digest("&seed=7") != digest()
    assert "(seed 7)" in load_neural("world:cortex?region=V1", stimuli=stimuli, seed=7).source


@pytest.fixture
def greys(tmp_path):
    """Address of ten even images of 64 pixels, each of another grey."""
    from PIL import Image

    for at in range(10):
        Image.new("RGB", (64, 64), (20 * at, 20 * at, 20 * at)).save(tmp_path / f"{at}.png")
    return str(tmp_path)


@pytest.mark.parametrize("region", ["V1", "V4"])
def test_even_images_drive_no_cell(greys, region):
    """What rounding leaves of them is not made a signal (control: before, a reliability of .8)."""
    with pytest.raises(NeuralDataError, match="do not vary over the stimuli"):
        load_neural(f"world:cortex?region={region}", stimuli=greys)


def test_images_too_small_for_any_frequency():
    rng = np.random.default_rng(0)
    assert v1_features(rng.random((3, 3, 7, 7)), n_units=5).shape == (3, 5)
    with pytest.raises(NeuralDataError, match="at least 7 pixels on the longer side, not 6"):
        v1_features(rng.random((3, 3, 6, 6)), n_units=5)


def test_stimuli_may_be_an_address():
    data = load_neural("world:cortex?region=V1&subjects=1&neuroids=4", stimuli="world:scenes?n=8&size=32")
    assert data.assembly.sizes["neuroid"] == 4 and len(data.stimulus_ids) == 8
