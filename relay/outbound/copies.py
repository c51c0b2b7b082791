"""One copy: tokens, splices, the signature.

Owns: the order in which a copy is made, and that one which can't be made leaves as it came. Leaves to others: what is
done with it (`plans`), what is said of it (`records`), bytes and edits (`core.rewrite`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from relay import config, log, metrics
from relay.core import dkim, domains, lines, parts, recoding, rewrite, threads, tokens
from relay.core.model import Edit, Keys, Recipient, Token, Value
from relay.outbound import loops, plans
from relay.upstream import choice

LOG = log.room("outbound")
T = TypeVar("T")


class Copy(Value, frozen=True):
    """One copy, and what was done to it. `dkim` is "signed" or says why it is not."""

    rendering: rewrite.Rendering
    hrefs: tuple[str, ...]
    dkim: str


class PendingCopy(Value, frozen=True):
    """One copy to be sent, to `recipients` with the MAIL parameters `options`; `index` is the recipient index of its
    tokens. `render` and `edits` make it (CPU only, never raise): call one of them right before sending. `rendering` is
    the copy, `untracked` what leaves where that can't be had."""

    index: int
    recipients: tuple[Recipient, ...]
    rendering: Callable[[], rewrite.Rendering]
    untracked: Callable[[], rewrite.Rendering]
    options: tuple[str, ...] = ()

    def render(self) -> bytes:
        """The whole, for SMTP and the spool."""
        return self._made(rewrite.Rendering.content)

    def edits(self) -> rewrite.Edits:
        """The same as changes, for a door that holds the message itself (a milter)."""
        return self._made(rewrite.Rendering.edits)

    def _made(self, form: Callable[[rewrite.Rendering], T]) -> T:
        try:
            return form(self.rendering())
        except Exception:
            return form(self.untracked())


class Renderer:
    def __init__(self, settings: config.Settings, keys: Callable[[], Keys], clock: Callable[[], float]) -> None:
        self.keys, self.clock = keys, clock
        self.replaced = {
            choice.name_of(up): choice.replaced(settings, up) for up in (settings.upstream, *settings.upstreams)
        }

    def pending(
        self, message: plans.Message, group: plans.Group, index: int, recipients: tuple[Recipient, ...], trace: bytes
    ) -> PendingCopy:
        """`trace` is the field that stands on top, or b""."""
        return PendingCopy(
            index,
            recipients,
            lambda: self.render(message, group, index, trace).rendering,
            partial(untracked, message, trace),
            self.options(message, index),
        )

    def render(self, message: plans.Message, group: plans.Group, index: int, trace: bytes = b"") -> Copy:
        """`index` is the recipient index of its tokens."""
        keys, head = self.keys(), message.headers
        edits = list(message.edits)
        hrefs: list[str] = []
        pixel: str | None = None
        prepared = group.prepared if group.edited else None
        base = group.base
        if prepared:
            click = tokens.clicks(message.key, index, keys)
            hrefs = [f"{base}/c/{click(n, url)}" for n, url in enumerate(prepared.links, group.first_link)]
            if prepared.has_pixel:
                pixel = f"{base}/o/{tokens.write(Token('open', message.key, index), keys)}"
        if group.reference:
            token = tokens.write(Token("reference", message.key, index), keys) if index else message.token
            edits += threads.edits(head, threads.entry(domains.of_url(base), token), message.newline)
        for place in group.broken:
            edits.append(Edit(head.fields[place].start, head.fields[place].end, b""))
        if prepared:
            page = ""
            if group.decision.tracking.about_link:
                page = f"{base}/about/{tokens.write(Token('about', message.key, index), keys)}"
            canary = ""
            if prepared.has_canary:
                canary = f"{base}/c/{tokens.write(Token('canary', message.key, index), keys)}"
            rendering = rewrite.render(prepared, hrefs=hrefs, pixel=pixel, edits=edits, page=page, canary=canary)
        else:
            rendering = rewrite.Rendering(head, parts.changes(edits))
        rendering, note = self.signed(message, group, rendering)
        if trace:
            rendering = rendering.with_(trace=trace)
        return Copy(rendering, tuple(hrefs), note)

    def signed(
        self, message: plans.Message, group: plans.Group, rendering: rewrite.Rendering
    ) -> tuple[rewrite.Rendering, str]:
        """Signed last, over what leaves; a message that can't be signed goes out unsigned and says so."""
        if message.doubt:
            return rendering, "not in a doubtful name"
        if message.signer is None:
            return rendering, "no key for this domain"
        content = rendering.content()
        try:
            if group.unsigned:
                raise dkim.Unsignable(group.unsigned)
            made, shortened = content, recoding.long_line(content)
            if shortened:
                made = shorter(content)
            replaced = self.replaced[choice.name_of(message.upstream)]
            signature = dkim.sign(made, message.signer, int(self.clock()), replaced)
        except dkim.Unsignable as reason:
            metrics.FAILED_OPEN.labels("dkim").inc()
            LOG.warning("unsigned", message_id=message.message_id, reason=str(reason))
            return rendering.with_(unsigned=content), f"unsigned: {reason}"
        return rendering.with_(signature=signature, unsigned=made, shortened=shortened), "signed"

    def options(self, message: plans.Message, index: int) -> tuple[str, ...]:
        """MAIL's options, with an envelope identifier of ours where the client set none (RFC 3461 4.4): a bounce
        brings it back, and so does a loop. `upstream` leaves it out where the server has no DSN."""
        keys = self.keys()
        token = tokens.write(Token("reference", message.key, index), keys) if index else message.token
        return loops.marked(message.submission.options, keys, token)


def shorter(content: bytes) -> bytes:
    """The copy without a line that is too long, as it is signed."""
    made = lines.shortened(content)
    if isinstance(made, recoding.Unfit):
        raise dkim.Unsignable(plans.LONG.format(made.reason))
    return made


def untracked(message: plans.Message, trace: bytes) -> rewrite.Rendering:
    """What leaves where a copy can't be made, which is the exception that is being handled: the message without what must
    never leave."""
    metrics.FAILED_OPEN.labels("render").inc()
    LOG.exception("untracked", reason="internal_error", message_id=message.message_id)
    return rewrite.Rendering(message.headers, parts.changes(message.edits), trace)
