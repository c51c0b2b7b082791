"""A hit whose address has a mail gateway's name is corrected after the answer; a name that leads elsewhere is none."""

from __future__ import annotations

import time

import pytest

from relay.core import gateway_names
from relay.core.model import Event
from relay.store import memory
from tests.fakes import names
from tests.store.contract import click, sent
from tests.until import until
from tracking_http import reverse_names

GATEWAY, LIAR, PERSON, SIX = "205.220.165.32", "8.8.4.4", "9.9.9.9", "2a01:111:f403::9"
OUTLOOK = "mail-9.outbound.protection.outlook.com"
RECORDS = {
    ("32.165.220.205.in-addr.arpa", "PTR"): "mx0a-1.pphosted.com.",
    ("mx0a-1.pphosted.com", "A"): GATEWAY,
    ("4.4.8.8.in-addr.arpa", "PTR"): "mx0a-1.pphosted.com.",
    ("9.9.9.9.in-addr.arpa", "PTR"): "dsl.isp.example.",
    ("9" + ".0" * 19 + ".3.0.4.f.1.1.1.0.1.0.a.2.ip6.arpa", "PTR"): OUTLOOK + ".",
    (OUTLOOK, "AAAA"): SIX,
}


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("mx0a-00069f02.pphosted.com.", True),
        ("ESA.x.IPHMX.com", True),
        ("pphosted.com", False),
        ("evilpphosted.com", False),
        ("pphosted.com.evil.example", False),
        ("eur.prod.outlook.com", False),
        ("", False),
    ],
)
def test_a_gateways_name(name: str, is_one: bool) -> None:
    assert gateway_names.of_gateway(name) is is_one


async def test_only_a_name_that_leads_back_corrects_a_hit() -> None:
    kept = memory.Memory()
    await kept.record_sent(sent())
    now = time.time()
    hits = {}
    async with names.resolver({}, RECORDS) as resolver:
        asked = reverse_names.ReverseNames(kept, lambda _: b"key", resolver)
        for address in (GATEWAY, LIAR, PERSON, SIX, GATEWAY, "10.0.0.1", ""):
            hit = await kept.append(click(at=now).with_(verdict="human", reason="browser"))
            assert isinstance(hit, Event)
            asked.ask(hit, address)
            hits.setdefault(address, []).append(hit.event_id)
        await until(lambda: not asked.tasks)
        found = {event.event_id: event for event in await kept.events()}
        for address, ids in hits.items():
            for one in ids:
                is_one = address in (GATEWAY, SIX)
                assert (found[one].verdict == "scanner") is is_one, address
                assert found[one].reason == ("gateway_name" if is_one else "browser")
                assert found[one].first_verdict == ("human" if is_one else "")
        assert [asked.is_gateway(a, now) for a in (GATEWAY, LIAR, PERSON, SIX, "10.0.0.1")] == [
            True,
            False,
            False,
            True,
            None,
        ]
        assert asked.is_gateway(GATEWAY, now + reverse_names.DAY + 1) is None
        assert GATEWAY not in repr(vars(asked))
        await asked.close()


async def test_the_senders_own_hit_and_what_is_a_machines_stay() -> None:
    kept = memory.Memory()
    await kept.record_sent(sent())
    async with names.resolver({}, RECORDS) as resolver:
        asked = reverse_names.ReverseNames(kept, lambda _: b"key", resolver)
        hit = await kept.append(click().with_(verdict="crawler", reason="crawler_agent"))
        assert isinstance(hit, Event)
        asked.ask(hit, GATEWAY)
        await until(lambda: not asked.tasks)
    (event,) = await kept.events()
    assert (event.verdict, event.first_verdict) == ("crawler", "")


async def test_no_more_wait_than_may() -> None:
    kept = memory.Memory()
    async with names.resolver({}, RECORDS) as resolver:
        asked = reverse_names.ReverseNames(kept, lambda _: b"key", resolver)
        for number in range(reverse_names.WAITING + 50):
            asked.ask(click(), f"8.9.{number >> 8}.{number & 255}")
        assert len(asked.tasks) == asked.hits == reverse_names.WAITING
        await asked.close()
        assert (asked.hits, asked.waiting) == (0, {})
