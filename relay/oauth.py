"""OAuth 2.0 access tokens from a refresh token (RFC 6749 6), as Google and Microsoft give them for SMTP and IMAP.

Owns: asking, holding it in memory, renewing before the end; and on disk the refresh token that came in place of the
configured one, which may be good for nothing by then. Leaves to others: how a server is shown the token.

It stands in no room: upstreams and mailboxes need it alike, and an account that is both has one refresh token.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path

from relay import causes, config, files, log, metrics
from relay.core import networks

LOG = log.room("oauth")

EARLY = 120.0  # seconds before its end at which a token is renewed
ANSWER_SECONDS = 20.0
LONGEST_ANSWER = 65_536
DEFAULT_LIFE = 300.0  # where the answer has no expires_in (RFC 6749 5.1 only recommends it), or one that makes no sense
LONGEST_LIFE = 86_400.0
AGAIN_SECONDS = 10.0  # before the endpoint is asked again while the token at hand is good


# RFC 6749 5.2; the last two are Microsoft's, where a person has to agree again.
FINAL = frozenset({"invalid_grant", "invalid_client", "unauthorized_client", "invalid_scope", "unsupported_grant_type",
                   "interaction_required", "consent_required"})  # fmt: skip


class TokenRefused(Exception):
    """No access token. The text says why, without a secret in it. `final`: the endpoint refused the refresh token or the
    application, and asking again will not help."""

    def __init__(self, text: str, *, final: bool = False) -> None:
        super().__init__(text)
        self.final = final


def folder_in(state_dir: Path) -> Path:
    """Where refresh tokens are saved: a folder that other roles can be kept from."""
    return state_dir / "keys" / "oauth2"


class Tokens:
    """One account's. A refresh token that comes with an answer (Microsoft rotates them) replaces the configured one. It is
    saved in `folder`, in a file that belongs to the configured token: another one in the configuration begins anew.
    Processes that share the folder share the file."""

    def __init__(
        self, settings: config.OAuth2, *, folder: Path | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.settings, self.clock = settings, clock
        self._refresh_token = settings.refresh_token
        about = "\n".join((settings.token_url, settings.client_id, settings.scope, settings.refresh_token))
        self._file = folder / f"oauth2-{hashlib.sha256(about.encode()).hexdigest()[:20]}" if folder else None
        self._token = ""
        self._until = self._end = 0.0  # when it is renewed, when it ends
        self._tries, self._refused, self._final = 0, "", False
        self._asking = asyncio.Lock()

    async def access(self, *, fresh: bool = False) -> str:
        """A token good for some time yet; with `fresh` never the one of before. Raises `TokenRefused`, to all alike who waited
        for the same answer: each on its own would wait for a slow endpoint after the other."""
        had, tries = self._token, self._tries
        async with self._asking:
            if self._tries != tries and self._refused:
                raise TokenRefused(self._refused, final=self._final)
            if fresh and self._token == had:
                self._until = self._end = 0.0
            if self.clock() >= self._until:
                await self._try()
            return self._token

    async def _try(self) -> None:
        """Renews. An endpoint that fails matters once the token at hand is over."""
        try:
            await self._renew()
            self._refused = ""
        except TokenRefused as reason:
            now = self.clock()
            if now >= self._end:
                self._refused, self._final = str(reason), reason.final
                raise
            self._until = min(now + AGAIN_SECONDS, self._end)
            LOG.warning("token_not_renewed", reason=reason, good_for=f"{self._end - now:.0f}s")
        finally:
            self._tries += 1

    async def _renew(self) -> None:
        import aiohttp  # most installations need no token

        settings = self.settings
        if not networks.confidential(settings.token_url):
            raise TokenRefused("token_url must be https")
        await asyncio.to_thread(self._load)
        form = {
            "grant_type": "refresh_token",
            "client_id": settings.client_id,
            "client_secret": settings.client_secret,
            "refresh_token": self._refresh_token,
            "scope": settings.scope,
        }
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(
                    settings.token_url, data={k: v for k, v in form.items() if v}, allow_redirects=False
                ) as response,
            ):
                answer = _read(await response.content.read(LONGEST_ANSWER))
                if response.status != 200:
                    words = " ".join(str(answer[k])[:200] for k in ("error", "error_description") if k in answer)
                    final = response.status in (400, 401) and answer.get("error") in FINAL
                    raise TokenRefused(f"{response.status} {words}".strip(), final=final)
        except (aiohttp.ClientError, TimeoutError, OSError) as reason:
            raise TokenRefused(f"the token endpoint does not answer: {causes.of(reason)}") from reason
        token, life = answer.get("access_token"), answer.get("expires_in", DEFAULT_LIFE)
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise TokenRefused("the token endpoint's answer has no access_token")
        try:
            seconds = min(float(str(life)), LONGEST_LIFE)
        except ValueError:
            seconds = DEFAULT_LIFE
        seconds = seconds if seconds > 0 else DEFAULT_LIFE  # nor is it no number
        self._token, self._end = token, self.clock() + seconds
        self._until = self._end - min(EARLY, seconds / 2)
        rotated = answer.get("refresh_token")
        if isinstance(rotated, str) and rotated and rotated != self._refresh_token:
            self._refresh_token = rotated
            await asyncio.to_thread(self._save)

    def _load(self) -> None:
        """The token as it was saved last, by this process or another."""
        if self._file is None:
            return
        try:
            saved = self._file.read_text().strip()
        except FileNotFoundError:
            return
        except (OSError, UnicodeDecodeError) as reason:
            LOG.warning("refresh_token_unread", file=self._file, reason=reason)
            return
        self._refresh_token = saved or self._refresh_token

    def _save(self) -> None:
        """Replaces the file as a whole. Where the disk does not take it, the token is in memory, and the log says so."""
        if self._file is None:
            return
        try:
            files.make_folder(self._file.parent)
            files.write(self._file, self._refresh_token.encode() + b"\n")
        except OSError as reason:
            metrics.ERRORS.labels("oauth").inc()
            LOG.error("refresh_token_not_saved", file=self._file, reason=reason)


def _read(body: bytes) -> dict[str, object]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}
