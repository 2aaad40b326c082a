"""netphys.seeds: one seed, a generator a part, and no global generator touched."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from netphys.seeds import derive_seed, forked_torch, generator


def test_known_seed_and_independence_of_parts() -> None:
    assert derive_seed(0, "cortex", "IT") == 1542574121065779142  # written in: it must never change
    seeds = {derive_seed(seed, name, index) for seed in range(20) for name in ("a", "b") for index in range(20)}
    assert len(seeds) == 800 and all(0 <= each < 2**63 for each in seeds)
    assert derive_seed(1, "a", "b") != derive_seed(1, "ab") != derive_seed(1, "a b")


def test_generators_of_two_parts_do_not_correlate() -> None:
    one, again, other = generator(0, "a"), generator(0, "a"), generator(0, "b")
    x = one.normal(size=4000)
    assert np.array_equal(x, again.normal(size=4000))
    assert abs(np.corrcoef(x, other.normal(size=4000))[0, 1]) < 4 / np.sqrt(4000)  # 4 standard errors


def test_the_fork_is_seeded_and_leaves_every_global_generator_as_found() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    python, legacy = random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002 - it is looked at, not used
    with forked_torch(11):
        inside = torch.rand(4)
    with pytest.raises(ZeroDivisionError), forked_torch(11):
        torch.rand(100)
        1 / 0  # noqa: B018
    assert torch.equal(torch.rand(4), expected)
    assert torch.equal(inside, torch.rand(4, generator=torch.Generator().manual_seed(11)))
    assert random.getstate() == python and np.array_equal(np.random.get_state()[1], legacy)  # noqa: NPY002


def test_without_the_fork_the_global_generator_moves() -> None:
    """Control: the check above can fail."""
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    torch.rand(1)
    assert not torch.equal(torch.rand(4), expected)
