"""The address world:cortex on stimuli that are given."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from netphys.errors import AddressError, NeuralDataError
from netphys.neural import load_neural, true_responses, v1_features

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
    np.testing.assert_array_equal(data.truth, true_responses(v1_features(IMAGES), region="V1"))
    assert data.digest == load_neural("world:cortex?region=V1&noise=0&shared=1", stimuli=_Stimuli(("image",))).digest
    assert (
        data.digest
        != load_neural("world:cortex?region=V1&noise=0&shared=1&seed=1", stimuli=_Stimuli(("image",))).digest
    )


def test_mistakes():
    stimuli = _Stimuli(("image",))
    for address, given, told in (
        (
            "world:cortex?region=IT",
            stimuli,
            r"needs generated stimuli \(world:scenes\).* have the fields image; take region=V1",
        ),
        ("world:cortex?region=IT", None, r"is simulated on stimuli; give them"),
        ("world:cortex?region=V4", stimuli, r"no simulated region 'V4'; near: 'V1'"),
        ("world:cortex?region=V1&shared=2", stimuli, r"shared=2\.0 is no share"),
    ):
        with pytest.raises(NeuralDataError, match=told):
            load_neural(address, stimuli=given)
    with pytest.raises(AddressError, match=r"takes no option 'sead'; near: 'seed'"):
        load_neural("world:cortex?region=V1&sead=2", stimuli=stimuli)
    with pytest.raises(AddressError, match=r"subjects=0 is not understood \(at least 1"):
        load_neural("world:cortex?region=V1&subjects=0", stimuli=stimuli)


def test_a_stimulus_set_of_the_package_will_do():
    stimuli = pytest.importorskip("netphys.stimuli")
    try:
        scenes = stimuli.load_stimuli("world:scenes?n=6&size=32&seed=0")
    except (AttributeError, ImportError) as error:  # the world is being built
        pytest.skip(f"world:scenes is not there yet ({error})")
    for region in ("V1", "IT"):
        data = load_neural(f"world:cortex?region={region}", stimuli=scenes)
        assert data.stimulus_ids == tuple(map(str, scenes.ids)) and data.truth.shape == (6, 2000)


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
    for region in ("V1", "IT"):
        address = f"world:cortex?region={region}&neuroids=5"
        assert load_neural(address, stimuli=as_torch).digest == load_neural(address, stimuli=stimuli).digest


def test_the_caller_s_seed_is_used_where_the_address_names_none():
    stimuli = _Stimuli(("image", "latents"))

    def digest(query="", **options):
        return load_neural(f"world:cortex?region=IT&neuroids=5{query}", stimuli=stimuli, **options).digest

    assert digest() == digest(seed=0) == digest("&seed=0") == digest("&seed=0", seed=7)
    assert digest(seed=7) == digest("&seed=7") != digest()
    assert "(seed 7)" in load_neural("world:cortex?region=V1", stimuli=stimuli, seed=7).source
