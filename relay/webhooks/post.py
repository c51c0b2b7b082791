"""One request: bytes and headers to a URL -> the answer.

Owns: the client's settings (no redirects, no proxies, no cookies, limited times). Leaves to others: what is sent, which
addresses are allowed (`guard`), how much of an answer is read (`answers`), what follows from it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import unquote

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from relay import __version__, causes
from relay.core import domains, urls
from relay.webhooks import answers
from relay.webhooks.guard import AddressRefused, Guard, Resolver

TIMEOUT = 10.0  # seconds for the whole request
ANSWER = 4096  # octets that are read of an answer, within `answers.READING`; then the connection is closed
RESOLVING = 5.0  # seconds, when an endpoint is saved
LONGEST_WAIT = 86_400.0  # of a Retry-After


@dataclass(frozen=True, slots=True)
class Answer:
    """`status` is 0 if there was no answer, `error` is "" for a 2xx, `retry_after` is in seconds, 0 if none was
    named."""

    status: int
    error: str = ""
    retry_after: float = 0.0

    @property
    def good(self) -> bool:
        return 200 <= self.status < 300


class Poster:
    """Holds the connections: one session for https and one for http, since fewer addresses may be called by http."""

    def __init__(
        self,
        guard: Guard,
        *,
        timeout: float = TIMEOUT,
        resolver: AbstractResolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.guard = guard
        self._sessions: dict[str, aiohttp.ClientSession] = {}
        self._timeout = timeout
        self._resolver = resolver
        self._tls = tls

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], now: float) -> Answer:
        """Raises nothing but cancellation. `now` is needed for a Retry-After that names a date."""
        try:
            target, login = written(url)
            self.guard.check(target)
            session = self._session(target.scheme)
            sent = {**headers, **login}
            async with session.post(target, data=body, headers=sent, allow_redirects=False) as response:
                status = response.status
                # A short answer is read, so that its connection can be used again. Only the status matters.
                with contextlib.suppress(TimeoutError, aiohttp.ClientError):
                    async with asyncio.timeout(answers.READING):
                        await response.content.read(ANSWER)
                wait = retry_after(response.headers.get("Retry-After", ""), now) if status in (429, 503) else 0.0
        except answers.Answered as answer:
            status = answer.status
            wait = retry_after(answer.retry_after, now) if status in (429, 503) else 0.0
        except AddressRefused as reason:
            return Answer(0, f"refused: {reason}")
        except TimeoutError:
            return Answer(0, f"no answer within {self._timeout:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(0, said(error))
        return Answer(status, "" if 200 <= status < 300 else f"HTTP {status}", wait)

    async def fetch(self, url: str, most: int) -> tuple[Answer, bytes]:
        """A GET, and what it brings, of which at most `most` octets and one are read. Raises nothing but cancellation."""
        try:
            target, login = written(url)
            self.guard.check(target)
            session = self._session(target.scheme)
            async with session.get(target, headers=login, allow_redirects=False) as response:
                status, body = response.status, bytearray()
                while len(body) <= most and (piece := await response.content.read(most + 1 - len(body))):
                    body += piece
        except answers.Answered as answer:  # and what it brings can't be read
            status, body = answer.status, bytearray()
        except AddressRefused as reason:
            return Answer(0, f"refused: {reason}"), b""
        except TimeoutError:
            return Answer(0, f"no answer within {self._timeout:g} s"), b""
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(0, said(error)), b""
        return Answer(status, "" if 200 <= status < 300 else f"HTTP {status}"), bytes(body)

    async def examine(self, url: str) -> None:
        """Raises `AddressRefused` for a URL that would not be called now. A name that can't be resolved is left to the
        moment of the call, unless it is to be called by http."""
        try:
            target, _ = written(url)
        except ValueError as wrong:
            raise AddressRefused("it is no URL") from wrong
        self.guard.check(target)
        host, plain = target.host or "", target.scheme == "http"
        resolver = Resolver(self.guard, plain=plain, inner=self._resolver)
        try:
            async with asyncio.timeout(RESOLVING):
                await resolver.resolve(host, target.port or 0)
        except (OSError, TimeoutError) as unknown:
            if plain and not self.guard.exceptions.hold(domains.spelt(host)):
                raise AddressRefused("http is for hosts in allow_private only") from unknown

    async def close(self) -> None:
        sessions, self._sessions = self._sessions, {}
        await asyncio.gather(*(session.close() for session in sessions.values()))

    def _session(self, scheme: str) -> aiohttp.ClientSession:
        session = self._sessions.get(scheme)
        if session is None:
            session = self._sessions[scheme] = aiohttp.ClientSession(
                connector=answers.Connector(
                    resolver=Resolver(self.guard, plain=scheme == "http", inner=self._resolver),
                    use_dns_cache=False,  # a kept connection has been checked; a new one is checked again
                    limit=0,  # the lanes are the limit
                    ssl=self._tls or True,
                ),
                timeout=aiohttp.ClientTimeout(total=self._timeout),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": f"trackrelay/{__version__}", "Accept-Encoding": "identity"},
                trust_env=False,
                auto_decompress=False,
                response_class=answers.Response,
                read_bufsize=ANSWER,
                max_line_size=answers.MAX_LINE,
                max_field_size=answers.MAX_LINE,
            )
        return session


PARTS = re.compile(r"(https?)://(?:([^/?#]*)@)?([^@/?#]+)([^#]*)(?:#.*)?", re.I | re.S)
URI = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*")  # what may follow a host (RFC 3986 3.3, 3.4)


def written(url: str) -> tuple[URL, dict[str, str]]:
    """The URL without its login, with path and query octet by octet as they were written: those who gave it out may have
    signed it. Only where that is no valid URI it is made one. And the login as a header (RFC 7617). Raises ValueError."""
    found = PARTS.fullmatch(url)
    if found is None:
        return URL(url), {}
    scheme, login, host, rest = found.groups("")
    origin = URL(f"{scheme}://{host}").origin()
    rest = rest if rest.startswith("/") else f"/{rest}"
    # As its path, a query stays as it is; parsed, an empty one would go.
    target = origin.with_path(rest, encoded=True) if URI.fullmatch(rest) else URL(f"{origin}{rest}")
    if found[2] is None:
        return target, {}
    user, _, password = login.partition(":")
    text = base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode())
    return target, {"Authorization": f"Basic {text.decode('ascii')}"}


UNREADABLE = "what the endpoint answered can't be read as HTTP"


def said(error: BaseException) -> str:
    """An error in words, without a word of what the endpoint sent; if it was caused by a refusal, the refusal's words."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, AddressRefused):
            return f"refused: {cause}"
        cause = cause.__cause__ or cause.__context__
    match error:
        case answers.TooMuch():
            return str(error)
        case ValueError():  # InvalidURL is one
            return "the URL can't be called"
        case aiohttp.ServerDisconnectedError():
            return "the endpoint closed the connection without an answer"
        case aiohttp.ClientResponseError() | aiohttp.ClientPayloadError():
            return UNREADABLE
        case aiohttp.ClientConnectorCertificateError():
            return f"the endpoint's certificate is refused: {causes.of(error)}"
    return causes.table(error) or urls.redacted(f"{type(error).__name__}: {error}")[:300]


def retry_after(text: str, now: float) -> float:
    """The seconds of a Retry-After (RFC 9110 10.2.3: a number of them, or a date), at most a day; 0 if it makes no
    sense."""
    try:
        seconds = float(text) if text.strip().isdecimal() else parsedate_to_datetime(text).timestamp() - now
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), LONGEST_WAIT)
