"""Calls that send a message, each once: what came of one, and what a repeated one (Idempotency-Key) is answered.

Owns: which call is which, what is remembered of one, what a refusal is answered with. Leaves to others: the message
(`composition`), the way that it goes (`relay.submitting`), what a crash between two steps comes to (there too).
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable

import msgspec

from relay import schedules as keeping
from relay import submitting
from relay.config import Grant
from relay.core import schedules
from relay.store import Request, Schedule
from tracking_http.api import calls, problems
from tracking_http.api.calls import Call
from tracking_http.api.envelopes import Answer
from tracking_http.api.problems import Problem
from tracking_http.api.v3.composition import Made, Shown

MAX_KEY = 256  # characters of an Idempotency-Key
UNDER_WAY: set[str] = set()  # the keys of the calls that this process is busy with


async def once(
    call: Call,
    grant: Grant,
    make: Callable[[str, float], Awaitable[Made]],
    digest: Callable[[], str],
    *,
    large: bool,
    send_at: int | None,
    key: str | None = None,
) -> Answer:
    """Sends what `make` makes. With an Idempotency-Key, a repeated call gets the first one's answer; where that was a
    refusal for now, it goes on with the first one's message."""
    now = time.time()
    key = key or call.request.headers.get("Idempotency-Key")
    message_id = door(call).new_id()
    if key is None:
        return answer(grant, await sent(call, grant, await make(message_id, now), None, send_at=send_at))
    if not 0 < len(key) <= MAX_KEY or not calls.clean(key):
        raise Problem(400, "api.invalid_idempotency_key", f"Idempotency-Key: is 1 to {MAX_KEY} characters.")
    found = hashlib.blake2b(f"{call.who.name}\0{grant.id}\0{call.request.path}\0{key}".encode(), digest_size=32)
    name = found.hexdigest()
    if name in UNDER_WAY:
        raise concurrent()
    UNDER_WAY.add(name)
    try:
        summed = await asyncio.to_thread(digest) if large else digest()
        request = Request(name, summed, message_id, now)
        first = await make(message_id, now)  # what can't be sent begins nothing
        known = await call.services.store.begin_request(request, now - submitting.REMEMBERED)
        if known is None:
            return answer(grant, await sent(call, grant, first, request, send_at=send_at))
        if known.digest != summed:
            raise Problem(409, "api.invalid_idempotent_request", "Another message was sent with this Idempotency-Key.")
        if known.state == "answered":
            return remembered(grant, known.answer)
        again = await make(known.message_id, known.at)
        return answer(grant, await sent(call, grant, again, known, send_at=send_at, resumed=True))
    finally:
        UNDER_WAY.discard(name)


def concurrent() -> Problem:
    said = "A call with this Idempotency-Key is under way."
    return Problem(409, "api.concurrent_idempotent_request", said, headers={"Retry-After": "1"})


async def sent(
    call: Call, grant: Grant, what: Made, request: Request | None, *, send_at: int | None, resumed: bool = False
) -> Shown:
    """Hands it over, and says what came of it. Raises what a refusal is answered with."""
    store = call.services.store
    if send_at is not None:
        # As of the first call: a repeated one schedules the same, or is as wrong.
        wrong = schedules.refusal(send_at, request.at if request else time.time())
        if wrong:
            if request:
                await store.drop_request(request.request_key)
            raise problems.invalid(wrong)
        shown = await later(call, grant, what, send_at)
    else:
        way = door(call)
        if resumed and request:
            result = await way.resume(what.submission, request)
        else:
            result = await way.submit(what.submission, what.shown.id, request)
        match result:
            case submitting.Refused(_, reply):
                if request and reply.code >= 500:
                    problem = refusal(reply.code, reply.text)
                    said = {"status": problem.status, "message": problem.message, "error": problem.provider_error}
                    await store.settle_request(
                        request.with_(state="answered", answer=msgspec.json.encode({"refused": said}).decode())
                    )
                raise refusal(reply.code, reply.text)
            case submitting.Accepted():
                known = await store.sent(what.shown.id)
                shown = msgspec.structs.replace(what.shown, thread_id=known.thread_id if known else what.shown.id)
    if request:
        said_of_it = msgspec.json.encode(shown).decode()
        await store.settle_request(request.with_(state="answered", answer=said_of_it))
    return shown


async def later(call: Call, grant: Grant, what: Made, send_at: int) -> Shown:
    # Made of the message's id: a call that is repeated after a crash schedules it once.
    schedule_id = what.shown.id
    shown = msgspec.structs.replace(what.shown, schedule_id=schedule_id, send_at=send_at)
    told = ("from", "to", "cc", "bcc", "reply_to", "subject", "snippet", "attachments")
    said = msgspec.to_builtins(shown)
    fields = {name: said[name] for name in told} | {"schedule_id": schedule_id, "send_at": send_at}
    await keeping.add(
        call.services.store,
        Schedule(schedule_id, grant.id, what.shown.id, float(send_at), time.time(), fields),
        what.submission,
    )
    return shown


def refusal(code: int, text: str) -> Problem:
    """The upstream's refusal, or ours, as an error: for good 422; for now 504 where no server answered, else 503."""
    error = {"error": f"{code} {text}", "code": code, "message": text}
    status = 422 if code >= 500 else 504 if text.startswith("4.4.") else 503
    retry = {} if status == 422 else {"Retry-After": "60"}
    return Problem(
        status, "provider_error", f"The message was not sent: {code} {text}", headers=retry, provider_error=error
    )


def answer(grant: Grant, shown: Shown) -> Answer:
    return Answer(shown, beside={"grant_id": grant.id})


def remembered(grant: Grant, text: str) -> Answer:
    found = msgspec.json.decode(text)
    if "refused" in found:
        said = found["refused"]
        raise Problem(said["status"], "provider_error", said["message"], provider_error=said["error"])
    return Answer(found, beside={"grant_id": grant.id})


def door(call: Call) -> submitting.Submitting:
    found = call.services.submitting
    if found is None:
        raise Problem(503, "", "Nothing can be sent here.")
    if found.refusal:
        raise Problem(501, "", f"{found.refusal.text.partition(' ')[2]}.")
    return found
