"""The bytes of one copy: tokens, splices, the signature.

Owns: the order in which a copy is made, and what is said of it. Leaves to others: what is done with it (`plans`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from relay import log, metrics
from relay.core import dkim, parts, rewrite, threads, tokens
from relay.core.model import Edit, Keys, Token, Value
from relay.outbound import loops, plans

LOG = log.room("outbound")


class Rendered(Value, frozen=True):
    """One copy as it leaves, and what was done to it. `dkim` is "signed" or says why it is not."""

    content: bytes
    hrefs: tuple[str, ...]
    pixel: str | None
    removed: tuple[str, ...]
    added: tuple[str, ...]
    dkim: str


class Renderer:
    """`signers` are the DKIM keys."""

    def __init__(self, keys: Callable[[], Keys], signers: Sequence[dkim.Signer], clock: Callable[[], float]) -> None:
        self.keys, self.signers, self.clock = keys, tuple(signers), clock

    def later(self, message: plans.Message, group: plans.Group, index: int) -> Callable[[], bytes]:
        """What makes the bytes when they are needed. It never raises: a copy that can't be made goes out as it came."""

        def render() -> bytes:
            try:
                return self.render(message, group, index).content
            except Exception:
                metrics.FAILED_OPEN.labels("render").inc()
                LOG.exception("untracked", reason="internal_error", message_id=message.message_id)
                return parts.splice(message.submission.content, message.edits)

        return render

    def render(self, message: plans.Message, group: plans.Group, index: int) -> Rendered:
        """`index` is the recipient index of its tokens."""
        keys, head = self.keys(), message.headers
        edits, added = list(message.edits), list(message.added)
        hrefs: list[str] = []
        pixel: str | None = None
        if group.edited and group.prepared:
            click = tokens.clicks(message.key, index, keys)
            hrefs = [f"{group.base}/c/{click(n, url)}" for n, url in enumerate(group.prepared.links, group.first_link)]
            if group.prepared.has_pixel:
                pixel = f"{group.base}/o/{tokens.write(Token('open', message.key, index), keys)}"
        if group.reference:
            token = tokens.write(Token("reference", message.key, index), keys)
            edits += threads.edits(head, threads.entry(plans.host_of(group.base), token), message.newline)
            added.append("References")
        broken = [head.fields[i] for i in group.broken]
        edits += [Edit(field.start, field.end, b"") for field in broken]
        if group.edited and group.prepared:
            content = rewrite.render(group.prepared, hrefs=hrefs, pixel=pixel, edits=edits)
        else:
            content = parts.splice(message.submission.content, edits)
        content, note = self.signed(message, content)
        if note == "signed":
            added.append("DKIM-Signature")
        removed = (head.raw[f.start : f.value].rstrip(b": \t").decode("ascii") for f in (*message.taken, *broken))
        return Rendered(content, tuple(hrefs), pixel, tuple(removed), tuple(added), note)

    def signed(self, message: plans.Message, content: bytes) -> tuple[bytes, str]:
        """Signed last, over what leaves; a message that can't be signed goes out unsigned and says so."""
        signer = dkim.choose(self.signers, message.sender)
        if signer is None:
            return content, "no key for this domain"
        try:
            return dkim.sign(content, signer, int(self.clock())) + content, "signed"
        except dkim.Unsignable as reason:
            metrics.FAILED_OPEN.labels("dkim").inc()
            LOG.warning("unsigned", message_id=message.message_id, reason=str(reason))
            return content, f"unsigned: {reason}"

    def options(self, message: plans.Message, index: int) -> tuple[str, ...]:
        """MAIL's options, with an envelope identifier of ours where the client set none (RFC 3461 4.4): a bounce
        brings it back, and so does a circle. `upstream` leaves it out where the upstream has no DSN."""
        keys = self.keys()
        token = tokens.write(Token("reference", message.key, index), keys)
        return loops.marked(message.submission.options, keys, token)
