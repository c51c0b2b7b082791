"""Made-up hits of gateways and of people, with random parameters, for the table of confusion in docs/verdicts.md.

The shapes are what operators have published: all links of a message within a second, half of them some 43 s after
delivery and most between 20 s and 5 minutes; link by link over a minute; HEAD, then GET; the picture seldom loaded; a
browser's agent; a second look at the time of a person's click. And what people do, of which the worst are those who look
like a gateway: tabs opened in a row, the same mail on a telephone and at a desk, every link of a digest.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

Hit = dict[str, Any]
Labelled = tuple[Hit, bool]  # and whether a machine made it

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36"
)
BROWSERS = [
    *(CHROME.format(n) for n in range(120, 150, 3)),
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/137.0.0.0 Mobile Safari/537.36",
]
OUTLOOK = "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; WOW64; Trident/7.0; .NET4.0C; .NET4.0E; Microsoft Outlook 16.0.5134; ms-office; MSOffice 16)"
APPLE_MAIL = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)"
GMAIL = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"


class Scene:
    """One copy. Times are seconds after its delivery."""

    def __init__(self, dice: random.Random, links: int) -> None:
        self.dice = dice
        self.links = links
        self.sent_at = 1_790_000_000.0 + dice.random() * 1e6
        self.message, self.recipient = f"{dice.getrandbits(40):x}", f"{dice.getrandbits(24):x}@example.com"
        self.hits: list[Labelled] = []

    def address(self) -> str:
        return f"{self.dice.randint(11, 99)}.{self.dice.randint(0, 255)}.{self.dice.randint(0, 255)}.{self.dice.randint(1, 254)}"

    def browser(self) -> str:
        return self.dice.choice(BROWSERS)

    def hit(
        self, after: float, kind: str, ip: str, agent: str, machine: bool, link: int = 0, method: str = "GET"
    ) -> None:
        said: Hit = {
            "message": self.message, "recipient": self.recipient, "kind": kind, "links": self.links, "sent_at": self.sent_at,
            "at": self.sent_at + after, "method": method, "ip": ip, "user_agent": agent, "headers": {},
        }  # fmt: skip
        if kind == "click":
            said["link"] = link
        self.hits.append((said, machine))

    def delivered(self) -> float:
        """When a gateway comes: as published, 0.5% within 10 s, 66% at 20 to 60 s, 28% at 1 to 5 minutes."""
        return self.dice.choices(
            [self.dice.uniform(3, 10), self.dice.uniform(20, 60), self.dice.uniform(60, 300)], [1, 66, 33]
        )[0]

    def reading(self) -> float:
        return self.dice.uniform(20, 60) if self.dice.random() < 0.3 else self.dice.uniform(60, 90_000)

    def picture(self, at: float, ip: str, agent: str) -> None:
        """The picture as somebody's mail program loads it."""
        way = self.dice.random()
        if way < 0.35:
            self.hit(at, "open", f"66.249.{self.dice.randint(80, 95)}.{self.dice.randint(1, 254)}", GMAIL, False)
        elif way < 0.6:
            self.hit(at, "open", ip, self.dice.choice([OUTLOOK, APPLE_MAIL]), False)
        else:
            self.hit(at, "open", ip, agent, False)


def burst(s: Scene) -> None:
    at, ip, agent = s.delivered(), s.address(), s.browser()
    gap = s.dice.uniform(0.0, 0.95) / max(1, s.links - 1)
    for link in s.dice.sample(range(s.links), s.links):
        s.hit(at, "click", ip, agent, True, link)
        at += gap * s.dice.uniform(0.5, 1.0)


def burst_with_picture(s: Scene) -> None:
    at, ip, agent = s.delivered(), s.address(), s.browser()
    s.hit(at, "open", ip, agent, True)
    for link in range(s.links):
        at += s.dice.uniform(0.01, 0.2)
        s.hit(at, "click", ip, agent, True, link)


def burst_from_many(s: Scene) -> None:
    at = s.delivered()
    for link in range(s.links):
        s.hit(at, "click", s.address(), s.browser(), True, link)
        at += s.dice.uniform(0.0, 1.4) / s.links


def link_by_link(s: Scene) -> None:
    at, ip, agent = s.delivered(), s.address(), s.browser()
    gap = s.dice.uniform(30, 60) / (s.links - 1)
    for link in range(s.links):
        s.hit(at, "click", ip, agent, True, link)
        at += gap * s.dice.uniform(0.8, 1.2)


def head_then_get(s: Scene) -> None:
    at, ip, agent = s.delivered(), s.address(), s.browser()
    for link in range(s.links):
        s.hit(at, "click", ip, agent, True, link, "HEAD")
        s.hit(at + s.dice.uniform(0.05, 2), "click", ip, agent, True, link)
        at += s.dice.uniform(0.1, 6)


def late_burst(s: Scene) -> None:
    s.sent_at -= s.dice.uniform(3600, 80_000)
    burst(s)


def before_a_person(s: Scene) -> None:
    """A gateway at delivery, and later the person behind it."""
    burst(s)
    one_click(s)


def at_the_click(s: Scene) -> None:
    """The gateway looks at the link that a person clicks, at that moment."""
    at, ip, agent = s.reading(), s.address(), s.browser()
    s.hit(at, "open", ip, s.dice.choice([OUTLOOK, agent]), False)
    at += s.dice.uniform(3, 120)
    link = s.dice.randrange(s.links)
    s.hit(at, "click", ip, agent, False, link)
    s.hit(at + s.dice.uniform(-1.5, 12), "click", s.address(), s.browser(), True, link)


def follows_the_canary(s: Scene) -> None:
    at, ip, agent = s.delivered(), s.address(), s.browser()
    order = [*range(s.links), -1]
    s.dice.shuffle(order)
    for link in order:
        s.hit(at, "canary" if link < 0 else "click", ip, agent, True, max(link, 0))
        at += s.dice.uniform(1, 8)


def one_click(s: Scene) -> None:
    at, ip, agent = s.reading(), s.address(), s.browser()
    s.picture(at, ip, agent)
    s.hit(at + s.dice.uniform(3, 300), "click", ip, agent, False, s.dice.randrange(s.links))


def one_click_without_picture(s: Scene) -> None:
    s.hit(s.reading(), "click", s.address(), s.browser(), False, s.dice.randrange(s.links))


def double_click(s: Scene) -> None:
    at, ip, agent, link = s.reading(), s.address(), s.browser(), s.dice.randrange(s.links)
    if s.dice.random() < 0.6:
        s.picture(at, ip, agent)
    at += s.dice.uniform(3, 100)
    for _ in range(s.dice.randint(2, 3)):
        s.hit(at, "click", ip, agent, False, link)
        at += s.dice.uniform(0.08, 0.5)


def two_fast_tabs(s: Scene) -> None:
    at, ip, agent = s.reading(), s.address(), s.browser()
    s.picture(at, ip, agent)
    at += s.dice.uniform(3, 100)
    for link in s.dice.sample(range(s.links), min(2, s.links)):
        s.hit(at, "click", ip, agent, False, link)
        at += s.dice.uniform(0.4, 2.5)


def tabs_in_a_row(s: Scene) -> None:
    at, ip, agent = s.reading(), s.address(), s.browser()
    s.picture(at, ip, agent)
    at += s.dice.uniform(3, 100)
    for link in sorted(s.dice.sample(range(s.links), s.dice.randint(min(3, s.links), s.links))):
        s.hit(at, "click", ip, agent, False, link)
        at += s.dice.uniform(0.4, 4)


def reads_it_all(s: Scene) -> None:
    at, ip, agent = s.reading(), s.address(), s.browser()
    if s.dice.random() < 0.85:
        s.picture(at, ip, agent)
    at += s.dice.uniform(5, 60)
    for link in range(s.links):
        s.hit(at, "click", ip, agent, False, link)
        at += s.dice.lognormvariate(3.6, 0.8) + 5


def forwarded(s: Scene) -> None:
    one_click(s)
    for _ in range(s.dice.randint(1, 4)):
        one_click(s)


def telephone_and_desk(s: Scene) -> None:
    at, agent, link = s.reading(), s.browser(), s.dice.randrange(s.links)
    for _ in range(2):
        ip = s.address()
        s.picture(at, ip, agent)
        s.hit(at + s.dice.uniform(3, 60), "click", ip, agent, False, link)
        at += s.dice.uniform(90, 9000)
        agent = s.browser()


def private(s: Scene) -> None:
    """Apple's proxy loads the picture, and the person clicks."""
    s.hit(s.dice.uniform(1, 600), "open", "104.28.1.1", "Mozilla/5.0", True)
    at, ip, agent = s.reading(), s.address(), BROWSERS[-3]
    for link in s.dice.sample(range(s.links), min(s.links, s.dice.randint(1, 2))):
        s.hit(at, "click", ip, agent, False, link)
        at += s.dice.uniform(1.5, 120)


def twice(s: Scene) -> None:
    """Each link two times, as a filter does that asks from two of its programs at once."""
    at, ip, agent = s.delivered(), s.address(), s.browser()
    for link in [*range(s.links)] * 2:
        s.hit(at + s.dice.uniform(0, 1.2), "click", ip, agent, True, link)


def rotating(s: Scene) -> None:
    """The picture and the links, each from another address by another browser, within three seconds."""
    at = s.delivered()
    s.hit(at, "open", s.address(), s.browser(), True)
    for link in range(s.links):
        s.hit(at + s.dice.uniform(0, 3), "click", s.address(), s.browser(), True, link)


def head_by_another(s: Scene) -> None:
    """HEAD by one program, GET by another at the same address."""
    at, ip, first, second = s.delivered(), s.address(), s.browser(), s.browser()
    for link in range(s.links):
        s.hit(at, "click", ip, first, True, link, "HEAD")
        s.hit(at + s.dice.uniform(0.05, 1), "click", ip, second, True, link)
        at += s.dice.uniform(0.5, 5)


def before_who_sees_no_pictures(s: Scene) -> None:
    """A gateway's row from one address, from many, or link by link, and minutes later one click of somebody who loads no picture."""
    s.dice.choice([burst, link_by_link, burst_from_many])(s)
    end = max(hit["at"] for hit, _ in s.hits) - s.sent_at
    s.hit(end + s.dice.uniform(40, 500), "click", s.address(), s.browser(), False, s.dice.randrange(s.links))


def behind_one_address(s: Scene) -> None:
    """The filter in a company's own network: it and the person behind it have the same address."""
    at, ip = s.delivered(), s.address()
    machine, person = s.dice.sample(BROWSERS, 2)
    for link in range(s.links):
        s.hit(at + s.dice.random(), "click", ip, machine, True, link)
    s.hit(at + s.dice.uniform(40, 500), "click", ip, person, False, s.dice.randrange(s.links))


def fetched_ahead(s: Scene) -> None:
    """A browser that fetches the links under the pointer ahead of the click."""
    at, ip, agent = s.reading(), s.address(), BROWSERS[0]
    s.picture(at, ip, agent)
    at += s.dice.uniform(3, 60)
    links = s.dice.sample(range(s.links), min(s.links, s.dice.randint(1, 4)))
    for link in links:
        s.hit(at, "click", ip, agent, True, link)
        s.hits[-1][0]["headers"] = {"Sec-Purpose": "prefetch"}
        at += s.dice.uniform(0.05, 0.5)
    s.hit(at, "click", ip, agent, False, links[-1])


def digest(s: Scene) -> None:
    """Forty links, nearly all followed by somebody who reads on."""
    s.links = 40
    at, ip, agent = s.reading(), s.address(), s.browser()
    s.picture(at, ip, agent)
    at += s.dice.uniform(4, 30)
    for link in range(40):
        if s.dice.random() < 0.9:
            s.hit(at, "click", ip, agent, False, link)
            at += s.dice.lognormvariate(1.5, 0.8)


MACHINES: list[Callable[[Scene], None]] = [
    burst, burst_with_picture, burst_from_many, link_by_link, head_then_get, late_burst, before_a_person, at_the_click, follows_the_canary,
    twice, rotating, head_by_another, before_who_sees_no_pictures, behind_one_address,
]  # fmt: skip
PEOPLE: list[Callable[[Scene], None]] = [
    one_click, one_click_without_picture, double_click, two_fast_tabs, tabs_in_a_row, reads_it_all, forwarded, telephone_and_desk, private,
    fetched_ahead, digest,
]  # fmt: skip
FEWEST: dict[Callable[[Scene], None], int] = {
    burst: 2,
    burst_with_picture: 2,
    burst_from_many: 3,
    link_by_link: 3,
    late_burst: 2,
    before_a_person: 2,
    twice: 2,
    rotating: 3,
    head_by_another: 2,
    before_who_sees_no_pictures: 3,
    behind_one_address: 2,
}


def scenes(kind: Callable[[Scene], None], number: int, seed: int = 1) -> Iterator[list[Labelled]]:
    """So many copies, each with its hits in order of time."""
    dice = random.Random(f"{kind.__name__} {seed}")
    for _ in range(number):
        scene = Scene(dice, dice.randint(FEWEST.get(kind, 1), 12))
        kind(scene)
        yield sorted(scene.hits, key=lambda one: one[0]["at"])


def many_recipients(number: int, seed: int = 1) -> Iterator[list[Labelled]]:
    """One gateway follows the only link of many recipients' copies, each a message of its own."""
    dice = random.Random(seed)
    for _ in range(number):
        hits: list[Labelled] = []
        ip, agent = f"52.1.{dice.randint(0, 255)}.{dice.randint(1, 254)}", dice.choice(BROWSERS)
        sent_at = 1_790_000_000.0
        for n in range(dice.randint(6, 40)):
            scene = Scene(dice, 1)
            scene.sent_at = sent_at
            scene.hit(30 + n * dice.uniform(0.05, 0.6), "click", ip, agent, True)
            hits += scene.hits
        yield sorted(hits, key=lambda one: one[0]["at"])


def office(number: int, seed: int = 1) -> Iterator[list[Labelled]]:
    """A hundred people behind one address, with the same mail program, load the picture within five minutes."""
    dice = random.Random(seed)
    for _ in range(number):
        hits: list[Labelled] = []
        for _ in range(100):
            scene = Scene(dice, 3)
            scene.sent_at = 1_790_000_000.0
            scene.hit(dice.uniform(5, 300), "open", "203.0.113.9", OUTLOOK, False)
            hits += scene.hits
        yield sorted(hits, key=lambda one: one[0]["at"])


def lines(hits: list[Labelled]) -> list[bytes]:
    return [json.dumps(hit).encode() for hit, _ in hits]
