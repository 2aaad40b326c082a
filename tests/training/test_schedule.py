"""The learning rate is a pure function of the step: a line up, half a cosine down."""

from __future__ import annotations

import math

import pytest

from netphys.errors import OptionError
from netphys.training import rate_at


def test_values_by_hand() -> None:
    rates = [rate_at(step, n_steps=10, rate=2.0, warm_up=0.2) for step in range(10)]
    assert rates[:3] == [1.0, 2.0, 2.0]
    for step in range(2, 10):
        assert rates[step] == pytest.approx(1 + math.cos(math.pi * (step - 2) / 8))
    assert rate_at(6, n_steps=10, rate=2.0, warm_up=0.2) == pytest.approx(1.0)  # half-way down


def test_it_ends_where_it_was_told_to() -> None:
    assert rate_at(10, n_steps=10, rate=1.0) == pytest.approx(0, abs=1e-15)  # cos(pi) in doubles
    assert rate_at(10, n_steps=10, rate=1.0, final=0.1) == pytest.approx(0.1)


def test_without_warm_up_it_begins_at_the_top() -> None:
    assert rate_at(0, n_steps=5, rate=0.3) == 0.3


def test_the_rate_scales_with_its_maximum_and_the_curve_with_the_steps() -> None:
    assert rate_at(30, n_steps=100, rate=3.0, warm_up=0.1) == pytest.approx(
        3 * rate_at(30, n_steps=100, rate=1, warm_up=0.1)
    )
    assert rate_at(300, n_steps=1000, rate=1, warm_up=0.1) == pytest.approx(
        rate_at(30, n_steps=100, rate=1, warm_up=0.1)
    )


def test_a_warm_up_that_is_no_share_is_refused() -> None:
    with pytest.raises(OptionError, match=r"warm_up=1 is no share"):
        rate_at(0, n_steps=5, rate=1, warm_up=1)
