"""What a process of a service has in common with the others, and what stands in for it where there are none.

Owns: the interfaces `Sum`, `Held`, `Latest`, `Answers` and `Shared`, and `ALONE`, a single process', which costs nothing:
sums and held numbers of others are 0, and `Latest` is a dictionary. Leaves to others: the memory that several see
(`board`), what is counted, and what follows from it (`smtp.limits`, `smtp.throttle`, `tracking_http.listener`).
"""

from __future__ import annotations

import math
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

Sums = Literal["smtp.connections", "smtp.in_flight", "http.connections"]
Helds = Literal["smtp.addresses", "smtp.trying", "http.clients"]
Latests = Literal["smtp.failures", "smtp.friends", "smtp.known", "smtp.budget", "smtp.rates", "http.about"]

MAX_KEYS = 20_000  # of a `Latest` in a single process
SECRET = 16  # octets
# Turns of an event loop after which the end of a connection that has come is known to whoever reads it: one to read it,
# some for TLS, for the protocol, and for the task that is cancelled.
TURNS = 12


class Told(NamedTuple):
    """The value of a key, and when that was so, as whoever wrote it has the time."""

    value: float
    at: float


class Sum(Protocol):
    def others(self) -> int:
        """What all others hold together."""
        ...

    def hold(self, value: int) -> None:
        """So much is held here now."""
        ...


class Held(Protocol):
    def others(self, key: str) -> int:
        """What all others hold of it together."""
        ...

    def hold(self, key: str, value: int) -> None:
        """So much of it is held here now."""
        ...


class Latest(Protocol):
    def get(self, key: str) -> Told | None:
        """What was put last, by any of them."""
        ...

    def put(self, key: str, value: float, at: float) -> None: ...


class Answer(NamedTuple):
    """`code` 0: it is not known yet. `UNDER_WAY`: nor is its client gone. What is below that is the code, negative, that
    its client was there to hear; its text is not known."""

    code: int
    text: str = ""


UNDER_WAY = -1
Place = tuple[int, int]  # and what its key is known by


class Answers(Protocol):
    """`until` is when it is forgotten; all times are monotonic seconds."""

    def begin(self, key: str, now: float, until: float) -> tuple[bool, Place]:
        """This process has the message from now on, and its client waits. Whether another has it, or had; and what `over`
        is to be told."""
        ...

    def over(self, place: Place, code: int, until: float) -> None:
        """It is under way no more: its client, which is not known to have left, hears this. 0: nobody has the message."""
        ...

    def ask(self, key: str, now: float, before: float) -> Callable[[], bool]:
        """Asks those who have it under way since before then whether its client is gone. Gives what says whether all of
        them have looked since: `find` has it, then."""
        ...

    def listen(self) -> None:
        """On the event loop that runs: looks when it is asked to."""
        ...

    def expect(self, key: str, until: float) -> None:
        """This process has the message, and will know."""
        ...

    def settle(self, key: str, answer: Answer) -> None:
        """What was expected is this."""
        ...

    def drop(self, key: str) -> None:
        """It is not to be had from here: nobody has the message."""
        ...

    def find(self, key: str, now: float, before: float = math.inf) -> Answer | None:
        """What any of the others has that it began before then, or what is known here. One that is known counts before one
        that is not, and that before one whose client waits."""
        ...


class Shared(Protocol):
    """What a process has in common with the others of its service. `secret` is the same in all of them, and another one
    after each start."""

    @property
    def alone(self) -> bool: ...

    @property
    def secret(self) -> bytes: ...

    @property
    def number(self) -> int:
        """What tells this service from another one; 0 for a single process."""
        ...

    def sum(self, name: Sums) -> Sum: ...

    def held(self, name: Helds) -> Held: ...

    def latest(self, name: Latests) -> Latest: ...

    def answers(self) -> Answers: ...

    def ring(self) -> None:
        """For whoever listens."""
        ...

    def listen(self, heard: Callable[[], None]) -> None:
        """`heard` is called on the event loop, soon after another process has rung. One process listens."""
        ...

    def page(self) -> memoryview | None:
        """Where this process' figures are to be, if others look there."""
        ...

    def pages(self) -> Sequence[memoryview]:
        """Those of the others."""
        ...


# -- a single process --------------------------------------------------------------------------------------------------


class Nobody:
    """There are no others."""

    def others(self, key: str = "") -> int:
        return 0

    def hold(self, *what: object) -> None:
        return None


class NoAnswers:
    """Of nobody else."""

    def begin(self, key: str, now: float, until: float) -> tuple[bool, Place]:
        return False, (0, 0)

    def over(self, place: Place, code: int, until: float) -> None: ...

    def ask(self, key: str, now: float, before: float) -> Callable[[], bool]:
        return lambda: True

    def listen(self) -> None: ...

    def expect(self, key: str, until: float) -> None: ...

    def settle(self, key: str, answer: Answer) -> None: ...

    def drop(self, key: str) -> None: ...

    def find(self, key: str, now: float, before: float = math.inf) -> None:
        return None


class Own:
    """A `Latest` of one process: of the keys beyond `keys`, the ones written longest ago are forgotten."""

    def __init__(self, keys: int) -> None:
        self._keys = keys
        self._told: OrderedDict[str, Told] = OrderedDict()

    def get(self, key: str) -> Told | None:
        return self._told.get(key)

    def put(self, key: str, value: float, at: float) -> None:
        self._told[key] = Told(value, at)
        self._told.move_to_end(key)
        while len(self._told) > self._keys:
            self._told.popitem(last=False)


class Alone:
    """`keys` are remembered of each `Latest`."""

    alone = True
    number = 0

    def __init__(self, keys: int = MAX_KEYS) -> None:
        self._keys = keys
        self.secret = secrets.token_bytes(SECRET)

    def sum(self, name: Sums) -> Sum:
        return Nobody()

    def held(self, name: Helds) -> Held:
        return Nobody()

    def latest(self, name: Latests) -> Latest:
        return Own(self._keys)

    def answers(self) -> Answers:
        return NoAnswers()

    def ring(self) -> None: ...

    def listen(self, heard: Callable[[], None]) -> None: ...

    def page(self) -> None:
        return None

    def pages(self) -> tuple[memoryview, ...]:
        return ()


ALONE = Alone()
