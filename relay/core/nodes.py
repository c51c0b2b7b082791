"""The processes that share a store, and what is wrong among them.

Owns: what a node says of itself, who is taken for gone, what must not differ. Leaves to others: keeping what they say
(`store`), saying it and hearing the others (`relay.nodes`).

All times are the store's own: the clocks of the machines do not matter.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Literal

from relay.core.model import Endpoint, Keys, Value

EVERY = 10.0  # seconds between two signs of life
GONE = 60.0  # seconds without one, after which a node is taken for gone
FORGET = 86_400.0  # seconds after which one that is gone, and has no mail, is forgotten

APART_SECONDS = 10.0  # by which a machine's clock may differ from the store's

Kind = Literal["gone", "name", "keys", "endpoints", "clock"]
KINDS: tuple[Kind, ...] = ("gone", "name", "keys", "endpoints", "clock")


class Node(Value, frozen=True):
    """A process, as it said last. Its machine may run others of the same `name` in other `roles`; `process` is another
    at each start. `queue` messages are in its spool, since `oldest` (0: none). `keys` are the token keys that it has: id,
    as text, and `fingerprint`; `signs` is the id of that which it signs with, -1 where it signs nothing. `endpoints` are
    those of its configuration: id and `likeness`."""

    name: str
    roles: tuple[str, ...]
    process: str
    version: str = ""
    started_at: float = 0.0
    at: float = 0.0
    queue: int = 0
    oldest: float = 0.0
    keys: Mapping[str, str] = {}
    signs: int = -1
    endpoints: Mapping[str, str] = {}
    stopped: bool = False

    @property
    def called(self) -> str:
        return f"{self.name} ({', '.join(self.roles)})" if self.roles else self.name


class Roll(Value, frozen=True):
    """All nodes at this time, by name and roles. `was` is what stood in the place of the one that asks."""

    now: float
    nodes: tuple[Node, ...] = ()
    was: Node | None = None


class Trouble(Value, frozen=True):
    """Something for the operator, in a sentence. The same trouble has the same `subject`, whatever the sentence."""

    kind: Kind
    subject: str
    sentence: str


def fingerprint(secret: bytes) -> str:
    """Tells one key from another, and nothing of the key."""
    return hashlib.sha256(b"trackrelay token key " + secret).hexdigest()[:12]


def ring(keys: Keys) -> dict[str, str]:
    return {str(key_id): fingerprint(secret) for key_id, secret in sorted(keys.secrets.items())}


def likeness(endpoint: Endpoint) -> str:
    """What an endpoint of the configuration is, and after a dot its secret, where this process reads it."""
    said = "\0".join((endpoint.url, *sorted(endpoint.triggers), "", *sorted(endpoint.verdicts), "", endpoint.format))
    secret = hashlib.sha256(b"trackrelay secret " + endpoint.secret.encode()).hexdigest()[:12]
    return f"{hashlib.sha256(said.encode()).hexdigest()[:12]}.{secret if endpoint.secret else ''}"


# -- what is wrong -----------------------------------------------------------------------------------------------------


def troubles(roll: Roll, *, since: float = 0.0, process: str = "") -> list[Trouble]:
    """`since` is when whoever asks began to hear the others, and has done so ever since: it calls nobody gone whom it
    could not have heard. `process` is its own, once it has said something."""
    living = [node for node in roll.nodes if alive(node, roll.now, since)]
    found = [*gone(roll, living)]
    if process and roll.was is not None and roll.was.process != process:
        found.append(twin(roll.was))
    found += keys_apart(living)
    found += endpoints_apart(living)
    return found


def alive(node: Node, now: float, since: float = 0.0) -> bool:
    return not node.stopped and now - max(node.at, since) <= GONE


def missing(node: Node, now: float, since: float = 0.0) -> bool:
    """Also one that was stopped: a restart takes no minute."""
    return now - max(node.at, since) > GONE


def gone(roll: Roll, living: Collection[Node]) -> Iterator[Trouble]:
    """With mail in its spool, or perhaps: what came after it was heard last nobody knows. One that came back in other roles
    goes on with the spool that it had."""
    back = {node.name for node in living if "queue" in node.roles}
    for node in roll.nodes:
        if node in living or roll.now - node.at <= GONE or node.name in back:
            continue
        heard = f"{age(roll.now - node.at)} ago"
        if node.queue:
            how = f"stopped {heard}" if node.stopped else f"is gone: it was heard last {heard}"
            sentence = (
                f"{node.called} {how}, with {mail(node.queue)} in its spool, the oldest of {age(roll.now - node.oldest)} "
                "ago. Nobody else can send these: start it again, or move its spool and forget it: "
                f"trackrelay nodes remove {node.name}"
            )
        elif "queue" in node.roles and not node.stopped:
            sentence = (
                f"{node.called} is gone: it was heard last {heard}. Its spool was empty then, and may hold what came after: "
                f"start it again, or look there and forget it: trackrelay nodes remove {node.name}"
            )
        else:
            continue
        yield Trouble("gone", node.called, sentence)


def twin(other: Node) -> Trouble:
    return Trouble(
        "name",
        other.called,
        f"two processes call themselves {other.called}, and neither is seen for the other: give each machine its own "
        "`node` in relay.toml, and run each role once",
    )


def clock_apart(node: Node, asked: float, heard: float, now: float) -> Iterator[Trouble]:
    """`asked` and `heard` are by this node's own clock, and the store said `now` in between."""
    if asked <= now + APART_SECONDS and heard >= now - APART_SECONDS:
        return
    how = f"{age(asked - now)} ahead of" if asked > now else f"{age(now - heard)} behind"
    yield Trouble(
        "clock",
        node.called,
        f"the clock of {node.called} is {how} the store's: the times of its mail and hits are wrong, and so is what follows "
        "from them. Let the machine set it (timedatectl set-ntp true)",
    )


def keys_apart(living: Sequence[Node]) -> Iterator[Trouble]:
    """What one signs with, all that have keys must have."""
    said = set()
    for signer in living:
        key_id = str(signer.signs)
        if signer.signs < 0 or key_id not in signer.keys:
            continue
        for node in living:
            if not node.keys or node.keys.get(key_id) == signer.keys[key_id]:
                continue
            subject = f"{signer.name} {key_id} {node.name}"
            if subject in said:  # by processes of the same machines
                continue
            said.add(subject)
            other = f"has another key of the number {key_id}" if key_id in node.keys else f"lacks key {key_id}"
            yield Trouble(
                "keys",
                subject,
                f"{node.called} {other}, with which {signer.called} signs: links and pixels of the one are dead at the "
                f"other. Add it there: trackrelay token-key add --from FILE",
            )


def rings_apart(own: Node, living: Iterable[Node]) -> Iterator[tuple[bool, str]]:
    """Every key that this node and another do not share, in a sentence; and whether one of the two signs with it, or has
    another of its number. One that signs nothing may have, and may yet. Of several processes of one machine the first is
    looked at."""
    for node in {node.name: node for node in reversed([*living]) if node.keys}.values():
        shared = own.keys.keys() & node.keys.keys()
        signing = {str(own.signs), str(node.signs)}
        for how, ids in (
            ("others", {key_id for key_id in shared if own.keys[key_id] != node.keys[key_id]}),
            ("there", own.keys.keys() - shared),
            ("here", node.keys.keys() - shared),
        ):
            if ids:
                number = f"key{'s' if len(ids) > 1 else ''} {', '.join(sorted(ids, key=int))}"
                grave = how == "others" or not signing.isdisjoint(ids)
                yield grave, APART[how].format(number=number, here=own.name, there=node.name)


APART = {
    "others": "{number} of {here} and {there} are not the same: each made its own, and what one signs with it is dead at "
    "the other. No program can mend that: keep the keys/tokens.json of one, and put it in place of the other's",
    "there": "{there} lacks {number}, which {here} has: links and pixels that were signed with it are dead there. "
    "On {there}: trackrelay token-key add --from FILE, with a copy of this machine's keys/tokens.json",
    "here": "{here} lacks {number}, which {there} has: links and pixels that were signed with it are dead here. "
    "Here: trackrelay token-key add --from FILE, with a copy of the keys/tokens.json of {there}",
}


def endpoints_apart(living: Sequence[Node]) -> Iterator[Trouble]:
    """Each against the first. Whoever starts makes the store's endpoints those of its own file."""
    first, told = living[0] if living else None, set()
    for node in living[1:]:
        if first is None or node.name in told:
            continue
        differences = [*different(first, node)]
        if differences:
            told.add(node.name)
            yield Trouble(
                "endpoints",
                f"{first.name} {node.name}",
                f"the [[webhooks]] of {first.called} and {node.called} differ ({'; '.join(differences[:5])}): whichever "
                "starts last decides. Give both the same",
            )


def different(one: Node, other: Node) -> Iterator[str]:
    for endpoint_id in sorted({*one.endpoints, *other.endpoints}):
        mine, theirs = one.endpoints.get(endpoint_id), other.endpoints.get(endpoint_id)
        if mine is None or theirs is None:
            yield f"only {one.name if theirs is None else other.name} has {endpoint_id}"
        elif not alike(mine, theirs):
            yield f"{endpoint_id} is another"


def alike(one: str, other: str) -> bool:
    """Secrets are compared where both are known."""
    (is_one, secret), (is_other, other_secret) = one.split("."), other.split(".")
    return is_one == is_other and (not secret or not other_secret or secret == other_secret)


# -- for a new key -----------------------------------------------------------------------------------------------------


def lacking(nodes: Iterable[Node], key_id: int, is_: str) -> list[str]:
    """The nodes with keys that do not have this one."""
    found: dict[str, None] = defaultdict()
    for node in nodes:
        if node.keys and node.keys.get(str(key_id)) != is_:
            found[node.name] = None
    return [*found]


def others(roll: Roll, name: str) -> list[Node]:
    """The nodes of other machines that run and have keys."""
    return [node for node in roll.nodes if node.name != name and node.keys and alive(node, roll.now)]


# -- in words ----------------------------------------------------------------------------------------------------------


def age(seconds: float) -> str:
    """ "5 s", "3 min", "7 h", "4 days"."""
    seconds = max(0.0, seconds)
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"


def mail(queue: int) -> str:
    return "1 message" if queue == 1 else f"{queue} messages"


def state(node: Node, now: float, since: float = 0.0) -> Literal["running", "stopped", "gone"]:
    if alive(node, now, since):
        return "running"
    return "stopped" if node.stopped else "gone"
