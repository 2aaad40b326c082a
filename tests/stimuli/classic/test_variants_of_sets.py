"""What variants hand on of the set that they are made of, and what their digest hangs on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from netphys.errors import OptionError
from netphys.stimuli import StimulusSet
from netphys.stimuli.classic import varied as module
from netphys.stimuli.classic.crowding import crowded
from netphys.stimuli.classic.cutouts import objects_on_backgrounds
from netphys.stimuli.classic.cutting_out import cutouts_from_arrays
from netphys.stimuli.classic.occlusion import occluded
from netphys.stimuli.classic.scrambling import phase_scrambled

RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (4, 3, 12, 12), dtype=np.uint8)
TABLE = pd.DataFrame({"stimulus_id": list("abcd"), "degrees": 3.0})
FACES = StimulusSet.from_arrays(PICTURES, metadata=TABLE, name="faces")

each_variant = pytest.mark.parametrize("vary", [crowded, occluded, phase_scrambled])


@each_variant
def test_a_variant_keeps_what_was_done_to_its_originals(vary: Callable[..., StimulusSet]) -> None:
    from netphys.stimuli.sources import clipped_of

    treated = FACES.treated("grey() | luminance() | contrast(2)")
    treated.left_out = ("e.png",)
    treated.address = "faces/"
    shown = vary(treated, n=2)
    assert shown.treatment == treated.treatment and shown.left_out == ("e.png",)
    assert shown.address == f"faces/ (variant {vary.__name__})"
    assert shown.targets == treated.targets and shown.targets
    shown.images(range(8))
    expected = np.repeat(clipped_of(treated._source, np.arange(4), "image"), 2)
    assert (expected > 0).any()
    assert np.allclose(clipped_of(shown._source, np.arange(8), "image"), expected)
    assert clipped_of(shown._source, np.arange(8), "mask") is None
    some = shown.subset([5, 0])
    assert some.treatment == treated.treatment and some.address.endswith("(a selection)")
    plain = vary(FACES)
    assert (plain.treatment, plain.left_out, plain.address, plain.targets) == ("", (), "", {})


def test_a_variant_of_a_part_of_a_set_says_what_was_clipped_of_its_own_originals() -> None:
    from netphys.stimuli.sources import clipped_of

    treated = FACES.treated("contrast(3)")
    part = treated.subset(["d", "b"])
    shown = occluded(part)
    shown.images([0, 1])
    wanted = clipped_of(treated._source, np.array([3, 1]), "image")
    assert wanted[0] != wanted[1] and np.array_equal(clipped_of(shown._source, np.arange(2), "image"), wanted)


def test_variants_of_the_same_extent_keep_the_degrees_and_those_on_a_new_screen_have_its_own() -> None:
    for vary in (occluded, phase_scrambled):
        table = vary(FACES).metadata
        assert (table["degrees"] == 3).all() and "original_degrees" not in table
    picture = np.full((4, 9, 9), 255, dtype=np.uint8)
    objects = cutouts_from_arrays([picture, picture])
    objects = objects.join(pd.DataFrame({"stimulus_id": objects.ids, "degrees": 3.0, "size": 9}))
    table = objects_on_backgrounds(objects, n_per_object=1, size=np.int64(32), degrees=8).metadata  # type: ignore[arg-type]
    assert (table[["degrees", "size", "original_degrees", "original_size"]] == [8, 32, 3, 9]).all(axis=None)


@each_variant
def test_the_generators_release_is_part_of_the_digest(
    vary: Callable[..., StimulusSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = vary(FACES).digest
    assert vary(FACES).digest == before == vary(FACES, seed=np.int64(0)).digest
    monkeypatch.setattr(module, "releases", lambda *names: {"numpy": "9.9"})
    assert vary(FACES).digest != before


@each_variant
@pytest.mark.parametrize("seed", [1.5, True, "1", None])
def test_a_seed_is_a_whole_number(vary: Callable[..., StimulusSet], seed: object) -> None:
    with pytest.raises(OptionError, match="a whole number is wanted"):
        vary(FACES, seed=seed)
