"""Who may ask the admin server: keys, sessions, throttling, and protection against other sites' pages.

Owns: the check of every request (an API key, a session made by the login form, or `admin.open` on loopback), the
count of wrong keys, sessions, the Host and Origin checks. Leaves to others: which scopes a route needs (it asks
`permits`), and the pages.

A key is looked up by its SHA-256; its text is kept nowhere. A session is only a random name for a key's digest, so
revoking a key ends its sessions at once.

Browsers send a cookie to every port of a host, so whoever serves another port there may get it. It opens an empty page
only. What is shown on it needs the session's other half, which the browser keeps for this port alone (localStorage), and
which each request carries in a header or, where it can't, in the query.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

from aiohttp import web

from relay import log, store
from relay.core import networks

LOG = log.room("access")

COOKIE = "trackrelay_session"
HALF, HALF_HEADER = "half", "X-Session-Half"
FRAMES = frozenset(
    {"/", "/live", "/live/rates", "/live/webhooks", "/live/nodes", "/logout"}
)  # where a browser goes by itself; nothing about mail is there
SESSION_SECONDS = 12 * 3600.0
SESSIONS = 1_000  # beyond that, the oldest ends
WRONG_KEYS, WRONG_SECONDS = 10, 60.0  # after so many wrong keys from an address in that time, 429 to the wrong ones
ADDRESSES = 10_000  # whose wrong keys are remembered
LONGEST_KEY = 512
USE_SECONDS = 60.0  # between two notes that a key was used
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
ANYBODY = store.ApiKey(name="", digest="", scopes=("*",))  # whoever asks under `admin.open`

# request[WHO] is the ApiKey that asks. Newer versions of aiohttp want a typed key, older ones have none.
WHO: Any = web.RequestKey("who", store.ApiKey) if hasattr(web, "RequestKey") else "who"


# What keys of before these scopes may: the new one where they have all of the old ones.
FORMER = {"send": {"messages:send"}, "read": {"messages:read", "events:read"}, "manage": {"webhooks", "queue"}}


def permits(key: store.ApiKey, scope: str) -> bool:
    """Whether the key has this scope: send, read or manage. "admin" has all."""
    has = set(key.scopes)
    return bool({"*", "admin", scope} & has) or FORMER[scope] <= has


def digest_of(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def only_here(host: str) -> bool:
    """Whether a Host header names what can only be this machine."""
    try:
        return networks.loopback(networks.split(host.strip())[0])
    except ValueError:
        return False


def same_origin(request: web.Request) -> bool:
    """Whether a request that changes something can only come from our own pages. Browsers say so in Sec-Fetch-Site, or,
    if they don't (over plain HTTP to another name than localhost), send Origin with every POST. A client that sends
    neither is no browser, and sends no cookie by accident."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("Origin")
    return origin is None or urlsplit(origin).netloc.lower() == request.host.lower()


@dataclass(slots=True)
class Session:
    digest: str = field(repr=False)
    half: str = field(repr=False)  # the digest of the other half
    ends: float


class FindsKeys(Protocol):
    """What this room needs of a store."""

    async def find_api_key(self, digest: str) -> store.ApiKey | None: ...
    async def use_api_key(self, digest: str, at: float) -> None: ...


class Access:
    """The check itself. `clock` is monotonic seconds."""

    def __init__(self, known: FindsKeys, *, open_: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self.store, self.open, self.clock = known, open_, clock
        self.sessions: OrderedDict[str, Session] = OrderedDict()
        self.wrong: OrderedDict[str, deque[float]] = OrderedDict()
        self.used: OrderedDict[str, float] = OrderedDict()  # by a key's digest
        self.notes: set[asyncio.Task[None]] = set()

    async def who(self, request: web.Request) -> store.ApiKey | None:
        """The key behind a request, or None if it has none. Raises `web.HTTPException` if it is refused, and
        `store.Unavailable`."""
        given = bearer(request)
        if given is not None:
            if self.open and self.local(request):  # clients made for other services can't do without some key
                return await self.store.find_api_key(digest_of(given[: LONGEST_KEY + 1])) or ANYBODY
            return await self.key(given, request.remote or "")
        cookie = request.cookies.get(cookie_of(request), "")
        if cookie:
            half = request.headers.get(HALF_HEADER) or request.query.get(HALF, "")
            found = await self.session(cookie, None if request.path in FRAMES else half)
            if found:
                return found
        if self.open and self.local(request):
            return ANYBODY
        return None

    def local(self, request: web.Request) -> bool:
        """Whether the request comes from this machine, and names a host that can only be this machine. (If another site
        lets its name point to 127.0.0.1, its pages still send that name: DNS rebinding.) Behind a proxy, the peer's
        address says nothing."""
        if any(name in request.headers for name in ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")):
            return False
        return networks.loopback(request.remote or "") and only_here(request.host)

    async def key(self, given: str, peer: str) -> store.ApiKey | None:
        """The key with that text, or None. Raises 429 for a wrong one, if too many came from this address lately. A right
        one always passes: behind one address may be a whole company, and keys are too long to be guessed."""
        digest = digest_of(given[: LONGEST_KEY + 1])
        found = await self.store.find_api_key(digest)
        if found and hmac.compare_digest(found.digest, digest):
            return found
        client = networks.client(networks.peer(peer))
        self.throttle(client)
        self.remember_wrong(client)
        LOG.warning("wrong_key", peer=peer)
        return None

    def throttle(self, client: str) -> None:
        times = self.wrong.get(client)
        now = self.clock()
        while times and times[0] <= now - WRONG_SECONDS:
            times.popleft()
        if times and len(times) >= WRONG_KEYS:
            wait = int(times[0] + WRONG_SECONDS - now) + 1
            raise web.HTTPTooManyRequests(text="Too many wrong keys.", headers={"Retry-After": str(wait)})

    def remember_wrong(self, client: str) -> None:
        self.wrong.setdefault(client, deque(maxlen=WRONG_KEYS)).append(self.clock())
        self.wrong.move_to_end(client)
        if len(self.wrong) > ADDRESSES:
            self.wrong.popitem(last=False)

    def note_use(self, key: store.ApiKey) -> None:
        """That this key was used is written down, at most once in USE_SECONDS; nobody waits for it."""
        now = self.clock()
        if not key.digest or now - self.used.get(key.digest, -USE_SECONDS) < USE_SECONDS:
            return
        self.used[key.digest] = now
        self.used.move_to_end(key.digest)
        if len(self.used) > ADDRESSES:
            self.used.popitem(last=False)
        note = asyncio.create_task(self.write_use(key.digest))
        self.notes.add(note)
        note.add_done_callback(self.notes.discard)

    async def write_use(self, digest: str) -> None:
        try:
            await self.store.use_api_key(digest, time.time())
        except store.Unavailable as reason:
            LOG.debug("use_not_written", reason=str(reason))

    async def close(self) -> None:
        await asyncio.gather(*self.notes)

    # -- sessions
    # -------------------------------------------------------------------------------------------------------

    def begin(self, key: store.ApiKey) -> tuple[str, str]:
        """A new session's name for the cookie, and its other half. Only their hashes are kept."""
        name, half = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self.sessions[digest_of(name)] = Session(key.digest, digest_of(half), self.clock() + SESSION_SECONDS)
        if len(self.sessions) > SESSIONS:
            self.sessions.popitem(last=False)
        return name, half

    async def session(self, name: str, half: str | None) -> store.ApiKey | None:
        """The key of that session; `half` None does without the other half."""
        own = digest_of(name[: LONGEST_KEY + 1])
        session = self.sessions.get(own)
        if session is None:
            return None
        if half is not None and not hmac.compare_digest(session.half, digest_of(half[: LONGEST_KEY + 1])):
            return None
        found = await self.store.find_api_key(session.digest) if session.ends > self.clock() else None
        if found is None:
            self.sessions.pop(own, None)
        return found

    def end(self, name: str) -> None:
        self.sessions.pop(digest_of(name[: LONGEST_KEY + 1]), None)


def bearer(request: web.Request) -> str | None:
    """The key in `Authorization: Bearer KEY`, or None if there is no such header or it has another scheme."""
    scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else None


def secure(request: web.Request) -> bool:
    return request.secure or request.headers.get("X-Forwarded-Proto", "").lower() == "https"


def cookie_of(request: web.Request) -> str:
    """The cookie's name. By its prefix browsers know over TLS that this host itself set it, and not a neighbour of the
    domain (RFC 6265bis 4.1.3.2); by the port, two of us on one host don't take each other's place."""
    try:
        port = networks.split(request.host.strip())[1]
    except ValueError:
        port = None
    name = f"{COOKIE}_{port}" if port else COOKIE
    return f"__Host-{name}" if secure(request) else name


def set_cookie(response: web.StreamResponse, request: web.Request, name: str) -> None:
    """ "" takes it away."""
    age = int(SESSION_SECONDS) if name else 0
    response.set_cookie(
        cookie_of(request), name, max_age=age, path="/", httponly=True, samesite="Strict", secure=secure(request)
    )
