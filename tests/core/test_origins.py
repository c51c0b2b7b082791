"""The table of networks."""

from __future__ import annotations

import pytest

from relay import network_list
from relay.core import origins


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("104.47.1.2", "gateway"),
        ("40.93.0.1", "gateway"),
        ("2a01:111:f403:9::1", "gateway"),
        ("::ffff:104.47.1.2", "gateway"),
        ("67.231.152.1", "cloud"),
        ("66.249.84.1", ""),  # Google's image proxy
        ("203.0.113.1", ""),
        ("127.0.0.1", "local"),
        ("::1", "local"),
        ("", ""),
        ("no address", ""),
    ],
)
def test_the_table_that_comes_with_us(address: str, kind: str) -> None:
    assert network_list.load().of(address) == kind


@pytest.mark.parametrize(
    ("text", "line"), [("10.0.0.0/8 gateway\n10.0.0.0/8\n", 2), ("# x\n\n10.0.0.0/8 house", 3), ("10.0.0/8 cloud", 1)]
)
def test_a_mistake_is_named_by_its_line(text: str, line: int) -> None:
    with pytest.raises(origins.Unreadable) as error:
        origins.Origins(text)
    assert error.value.line == line


def test_the_narrowest_is_found_too() -> None:
    table = origins.Origins("192.0.2.7 gateway me\n2001:db8::/32 cloud # and a remark")
    assert [table.of(a) for a in ("192.0.2.7", "192.0.2.8", "2001:db8::1")] == ["gateway", "", "cloud"]


def test_networks_of_any_length_and_what_stands_first_of_two() -> None:
    table = origins.Origins(
        "198.18.0.0/16 gateway x\n4.0.0.0/6 cloud x\n5.5.0.0/16 gateway x\n7.7.0.0/12 gateway x\n2000::/3 cloud x"
    )
    asked = (
        "198.18.255.255",
        "198.19.0.0",
        "4.0.0.0",
        "7.255.255.255",
        "8.0.0.0",
        "5.5.0.1",
        "7.7.0.1",
        "3fff::1",
        "4000::",
    )
    kinds = ["gateway", "", "cloud", "cloud", "", "gateway", "cloud", "cloud", ""]
    assert [table.of(address) for address in asked] == kinds
