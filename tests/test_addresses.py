"""netphys.addresses: one line that leads somewhere; a misspelt key is refused."""

from __future__ import annotations

import pytest

from netphys.addresses import integer, split_address
from netphys.errors import AddressError


def test_split_take_finish() -> None:
    body, query = split_address("world:scenes?n=100&where=a == 'b=c'")
    assert body == "world:scenes" and query.take("n", int, 1) == 100 and query.take("seed", int, 7) == 7
    assert query.take("where", str, "") == "a == 'b=c'"
    query.finish()
    assert split_address("C:/a b/ü.py:net")[0] == "C:/a b/ü.py:net"


def test_a_misspelt_key_is_refused_with_the_near_one() -> None:
    _, query = split_address("torchvision:alexnet?rezise=224")
    assert query.take("resize", int, 0) == 0 and query.take("seed", int, 0) == 0
    with pytest.raises(
        AddressError, match=r"'torchvision:alexnet\?rezise=224' takes no option 'rezise'; near: 'resize'"
    ):
        query.finish()


@pytest.mark.parametrize("address", ["a?", "a?n", "a?=1", "a?n=1&", "a?&n=1"])
def test_what_is_not_key_value_is_refused(address: str) -> None:
    with pytest.raises(AddressError, match="is not key=value"):
        split_address(address)


def test_a_key_said_twice_and_a_value_that_is_no_number_are_refused() -> None:
    with pytest.raises(AddressError, match="says n twice"):
        split_address("a?n=1&n=2")
    limits = "at least 1, at most 9"
    for text, reason in (("many", "a whole number is wanted"), ("0", limits), ("10", limits)):
        _, query = split_address(f"a?n={text}")
        with pytest.raises(AddressError, match=rf"n={text} is not understood \(.*{reason}"):
            query.take("n", integer(1, 9), 1)
