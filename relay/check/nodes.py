"""The other nodes that share the store, by what they said of themselves: do they have the same token keys and [[webhooks]]?

This machine is what its files say, whether its service runs, and with which of their versions, or not.
"""

from __future__ import annotations

from relay import config, keys, webhooks
from relay import nodes as heartbeats
from relay import store as stores
from relay.check import Finding, failure, ok, warning
from relay.core import nodes
from relay.core.nodes import Node, Roll


async def look(settings: config.Settings) -> list[Finding]:
    try:
        roll = await stores.roll(settings.store.url, settings.state_dir, settings.store.password)
    except stores.Unavailable:  # the store's own line says so
        return []
    name = heartbeats.name(settings)
    gone = [warning("nodes", trouble.sentence) for trouble in nodes.gone(roll, living(roll, name))]
    others = living(roll, name)
    if not others:
        return [*gone, ok("nodes", f"no other than {name} runs with this store")]
    found = [*ring(settings, name, others), *endpoints(settings, name, others)]
    if not found:
        names = dict.fromkeys(node.name for node in others)
        found = [ok("nodes", f"{name} has the same token keys and [[webhooks]] as {', '.join(names)}")]
    return [*gone, *found]


def living(roll: Roll, name: str) -> list[Node]:
    return [node for node in roll.nodes if node.name != name and nodes.alive(node, roll.now)]


def ring(settings: config.Settings, name: str, others: list[Node]) -> list[Finding]:
    path = settings.state_dir / "keys" / "tokens.json"
    try:
        own = keys.load(path)[1]
    except FileNotFoundError:
        holders = [node.name for node in others if node.keys]
        if not holders:
            return []
        return [
            failure("nodes", f"there are no token keys here yet, and the first start would make others than those of "
                    f"{holders[0]}: trackrelay token-key add --from FILE, with a copy of its keys/tokens.json")
        ]  # fmt: skip
    except (OSError, keys.Unusable):  # the keys' own line says so
        return []
    here = Node(name, (), "", keys=nodes.ring(own), signs=own.current)
    apart = nodes.rings_apart(here, others)
    # A key that signs nothing may be on its way to all of them.
    return [(failure if grave else warning)("nodes", sentence) for grave, sentence in apart]


def endpoints(settings: config.Settings, name: str, others: list[Node]) -> list[Finding]:
    own = {one.endpoint_id: nodes.likeness(one) for one in webhooks.configured(settings)}
    here = Node(name, (), "", endpoints=own)
    apart = nodes.endpoints_apart([here, *others])
    return [failure("nodes", trouble.sentence) for trouble in apart]
