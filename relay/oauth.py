"""OAuth 2.0 access tokens from a refresh token (RFC 6749 6), as Google and Microsoft give them for SMTP and IMAP.

Owns: asking, keeping in memory, renewing before the end. Leaves to others: how a server is shown the token.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from relay import config

EARLY = 120.0  # seconds before its end at which a token is renewed
ANSWER_SECONDS = 20.0
LONGEST_ANSWER = 65_536
DEFAULT_LIFE = 300.0  # where the answer has no expires_in (RFC 6749 5.1 only recommends it)


class Refused(Exception):
    """No access token. The text says why, without a secret in it."""


class Tokens:
    """One account's. A refresh token that comes with an answer (Microsoft rotates them) replaces the one in memory."""

    def __init__(self, settings: config.OAuth2, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings, self.clock = settings, clock
        self._refresh_token = settings.refresh_token
        self._token = ""
        self._until = 0.0
        self._asking = asyncio.Lock()

    async def access(self, *, fresh: bool = False) -> str:
        """A token good for some time yet; with `fresh` never the one of before. Raises `Refused`."""
        had = self._token
        async with self._asking:
            if fresh and self._token == had:
                self._until = 0.0
            if self.clock() >= self._until:
                await self._renew()
            return self._token

    async def _renew(self) -> None:
        import aiohttp  # most installations need no token

        settings = self.settings
        if not secure(settings.token_url):
            raise Refused("token_url must be https")
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
                    raise Refused(f"{response.status} {words}".strip())
        except (aiohttp.ClientError, TimeoutError, OSError) as reason:
            raise Refused(f"the token endpoint does not answer: {type(reason).__name__}") from reason
        token, life = answer.get("access_token"), answer.get("expires_in", DEFAULT_LIFE)
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise Refused("the token endpoint's answer has no access_token")
        try:
            seconds = float(str(life))
        except ValueError:
            seconds = DEFAULT_LIFE
        self._token, self._until = token, self.clock() + max(seconds - EARLY, seconds / 2)
        rotated = answer.get("refresh_token")
        if isinstance(rotated, str) and rotated:
            self._refresh_token = rotated


def _read(body: bytes) -> dict[str, object]:
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def secure(url: str) -> bool:
    """https, or http to this machine."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        return True
    try:
        return parts.scheme == "http" and ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.scheme == "http" and parts.hostname == "localhost"
