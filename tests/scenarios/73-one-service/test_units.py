"""Units: services of their own with one state folder. `admin` answers for all of them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests import peers
from tests.fakes.upstream import Upstream
from tests.scenarios import hostile, service
from tests.until import eventually


@contextlib.contextmanager
def reached(port: int) -> Iterator[Upstream]:
    """The upstream, while it is there."""
    with hostile.elsewhere() as run:
        upstream = Upstream()
        run(upstream.start(port))
        yield upstream
        run(upstream.stop())


def accepted(running: service.Service) -> float:
    return hostile.metrics(running.admin)["trackrelay_accepted_total"]


def readyz(running: service.Service) -> dict[str, Any]:
    with hostile.Http(running.admin) as client:
        found: dict[str, Any] = json.loads(client.get("/readyz")[2])
    return found


def upstreams(running: service.Service) -> list[str]:
    """What is said of upstreams."""
    return [each for each in readyz(running)["warnings"] if each.startswith("upstream: ")]


def send(running: service.Service, times: int) -> None:
    for _ in range(times):
        with hostile.Smtp(running.smtp) as client:
            assert client.mail(hostile.letter("", "X-Track: all")).startswith("250")


def test_admin_knows_the_figures_and_the_troubles_of_the_others(tmp_path: Path) -> None:
    port = peers.free_port()
    ports = service.settings(tmp_path, upstream=port, smtp="workers = 2", out='patience = "1s"')

    def unit(only: str) -> Any:
        return service.running(tmp_path, ports, only=only)

    with unit("admin,webhooks,mailbox") as admin:
        with unit("smtp") as smtp:
            send(smtp, 1)  # nobody is there who takes it: it is kept
            eventually(lambda: upstreams(admin), pause=0.5)
            assert readyz(admin)["ready"]
            assert len(upstreams(admin)) == 1
            with reached(port):
                eventually(lambda: not upstreams(admin), pause=0.5)
                send(smtp, 5)
                eventually(lambda: accepted(admin) == 6)
                smtp.kill()
                assert accepted(admin) == 6
        with reached(port), unit("smtp") as again:
            assert accepted(admin) == 6
            send(again, 1)
            eventually(lambda: accepted(admin) == 7)
        assert accepted(admin) == 7  # it was stopped
        assert not upstreams(admin)
