"""What the system and OpenSSL say when something fails, in plain words and with what to do.

Owns: the one table of them, and finding the error that counts among those that wrap it. Leaves to others: what was tried
(whoever tried it puts that before), what is done now, a database's own errors (`store`). A sentence begins with what is wrong, in lower case and without a
full stop; what to do follows after a semicolon. What is not in the table is said in the words of whoever said it.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress

NUMBER = re.compile(r"\[Errno (-?\d+)\]")  # in asyncio's text about several addresses that were tried
NAMED = re.compile(r"certificate is not valid for '([^']*)'")
LONGEST = 300  # characters of somebody else's words

PAIR = "the key does not belong to the certificate; name the key that this very certificate was made for"
NO_TLS = (
    "the server does not speak TLS on this port; check port and scheme (for mail, TLS at once is smtps:// 465 or imaps:// 993, "
    "by STARTTLS smtp:// 587 or 25)"
)
NO_PEM = "it is not in PEM form (-----BEGIN …), or damaged; convert it with openssl"
PASSPHRASE = "the key is encrypted, and nobody is there to type its passphrase; store it without one"  # noqa: S105
CLIENT = "the server wants a certificate of the client, and there is none to show"

# errno -> what is wrong; what to do. These are of files and of connections; `LISTENING` goes before them.
SYSTEM = {
    errno.ENOENT: "there is no such file or folder; check the path",
    errno.ENOTDIR: "a part of the path is a file, and no folder; check the path",
    errno.EISDIR: "it is a folder, and a file is needed; check the path",
    errno.EEXIST: "it is there already",
    errno.ENAMETOOLONG: "the name is too long for the disk; choose a shorter one",
    errno.ELOOP: "symbolic links there lead in a circle; check the path",
    errno.EROFS: "the disk may not be written to (it is mounted read-only, as systemd does outside of StateDirectory); "
    "mount it writable, or choose another folder",
    errno.ENOSPC: "the disk is full; make room",
    errno.EDQUOT: "this user's share of the disk is used up; make room",
    errno.EFBIG: "the file would be larger than is allowed; make room, or raise the limit (ulimit -f)",
    errno.EIO: "the disk fails; look at the kernel's log (dmesg)",
    errno.EMFILE: "this process has too many files open; raise LimitNOFILE (ulimit -n)",
    errno.ENFILE: "this machine has too many files open; raise fs.file-max",
    errno.ECONNREFUSED: "connection refused: nothing listens there; check host and port, and whether that server runs",
    errno.ECONNRESET: "the other side cut the connection; check the port, and its log",
    errno.ECONNABORTED: "the connection was cut; try again",
    errno.EPIPE: "the other side closed the connection; check the port, and its log",
    errno.ENETUNREACH: "there is no route to that address; check this machine's network, and IPv6 if the address has it",
    errno.EHOSTUNREACH: "there is no way to that machine; check the address, the network and the firewalls on the way",
    errno.EHOSTDOWN: "that machine is down; check the address",
    errno.ENETDOWN: "this machine's network is down; check it",
    errno.ETIMEDOUT: "no answer in time; check host and port, and whether a firewall is on the way",
    errno.EADDRNOTAVAIL: "this machine has no such address; check it (ip address shows those that there are)",
    errno.EAFNOSUPPORT: "this machine does not have that kind of address; IPv6 may be switched off",
    errno.EADDRINUSE: "another program listens there; stop it (ss -ltnp names it), or choose another port",
}  # fmt: skip
LISTENING = {
    errno.EACCES: "ports below 1024 are for root; let systemd listen (trackrelay.socket), give the unit CAP_NET_BIND_SERVICE, or choose a "
    "higher port",
    errno.EADDRNOTAVAIL: "this machine has no such address now; check it (ip address shows those that there are)",
}
NAMES = {
    socket.EAI_NONAME: "the name is not known in DNS; check how it is written",
    socket.EAI_NODATA: "the name has no address in DNS; check how it is written",
    socket.EAI_AGAIN: "the name can't be looked up now; check this machine's DNS (/etc/resolv.conf)",
    socket.EAI_FAIL: "the name can't be looked up; check this machine's DNS (/etc/resolv.conf)",
    socket.EAI_FAMILY: "the name has no address of a kind that this machine has; check it",
    socket.EAI_ADDRFAMILY: "the name has no address of a kind that this machine has; check it",
    socket.EAI_SERVICE: "the port is not known; give its number",
}
# OpenSSL's reasons. An alert is what the other side said.
TLS = {
    "KEY_VALUES_MISMATCH": PAIR,
    "KEY_TYPE_MISMATCH": PAIR,
    "NO_CERTIFICATE_ASSIGNED": PAIR,
    "NO_START_LINE": NO_PEM,
    "PEM_LIB": NO_PEM,
    "BAD_BASE64_DECODE": NO_PEM,
    "BAD_END_LINE": NO_PEM,
    "NOT_ENOUGH_DATA": NO_PEM,
    "UNSUPPORTED": NO_PEM,
    "BAD_PASSWORD_READ": PASSPHRASE,
    "BAD_DECRYPT": "the passphrase is wrong; store the key without one",
    "EE_KEY_TOO_SMALL": "its key is too short to be secure; make one of 2,048 bits RSA or more, or an ECDSA key",
    "CA_KEY_TOO_SMALL": "the key of an authority in it is too short to be secure; get a new certificate",
    "CA_MD_TOO_WEAK": "it is signed in an insecure way (SHA-1 or MD5); get a new certificate",
    "WRONG_VERSION_NUMBER": NO_TLS,
    "UNKNOWN_PROTOCOL": NO_TLS,
    "HTTP_REQUEST": NO_TLS,
    "HTTPS_PROXY_REQUEST": NO_TLS,
    "PACKET_LENGTH_TOO_LONG": NO_TLS,
    "RECORD_LAYER_FAILURE": NO_TLS,
    "UNEXPECTED_MESSAGE": NO_TLS,
    "UNEXPECTED_EOF_WHILE_READING": "the server ended the connection while TLS began; check the port, and its log",
    "UNSUPPORTED_PROTOCOL": "the server knows no TLS that is safe (1.2 or newer is needed); bring it up to date",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the server knows no TLS that we know (1.2 or newer); bring it up to date",
    "WRONG_SSL_VERSION": "the server knows no TLS that is safe (1.2 or newer is needed); bring it up to date",
    "NO_SHARED_CIPHER": "both sides have no cipher in common; bring the other side up to date",
    "NO_CIPHERS_AVAILABLE": "both sides have no cipher in common; bring the other side up to date",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "the server knows none of our ciphers; bring it up to date, or look at its log",
    "TLSV1_ALERT_INSUFFICIENT_SECURITY": "the server knows none of our ciphers; bring it up to date, or look at its log",
    "DH_KEY_TOO_SMALL": "the server's Diffie-Hellman parameters are too short; bring it up to date",
    "UNSAFE_LEGACY_RENEGOTIATION_DISABLED": "the server knows only unsafe renegotiation; bring it up to date",
    "TLSV1_UNRECOGNIZED_NAME": "the server has no certificate for that name; check the host in the URL",
    "TLSV1_ALERT_UNRECOGNIZED_NAME": "the server has no certificate for that name; check the host in the URL",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": CLIENT,
    "SSLV3_ALERT_BAD_CERTIFICATE": CLIENT,
    "TLSV1_ALERT_INTERNAL_ERROR": "the server failed while TLS began; look at its log",
    "TLSV1_ALERT_ACCESS_DENIED": "the server lets nobody in with TLS from here; look at its log",
}  # fmt: skip
# OpenSSL's codes of what is wrong with a certificate (X509_V_ERR_…).
CERTIFICATE = {
    9: "it is not valid yet; check this machine's clock, and the certificate's dates",
    10: "it has expired; renew it there (or this machine's clock is wrong)",
    18: "it is self-signed; use one of an authority that this machine trusts, or add it to those (update-ca-certificates)",
    19: "its authority is not one that this machine trusts; add it to those (update-ca-certificates)",
    20: "its authority is not trusted here, or the server does not send its whole chain; let it send that, or add the "
    "authority (update-ca-certificates)",
    21: "the server does not send the certificates between its own and an authority's; let it send the whole chain",
    23: "it was revoked; get a new one",
    24: "a certificate in its chain is no authority's; get a new one",
    26: "it was not made for servers; get a new one",
    66: "its key is too short to be secure; get a new one",
    67: "an authority's key in it is too short to be secure; get a new one",
    68: "it is signed in an insecure way (SHA-1 or MD5); get a new one",
}  # fmt: skip
HOSTNAME, ADDRESS = 62, 64


def of(error: BaseException, *, listening: bool = False) -> str:
    """What is wrong and what to do about it. `listening`: it was tried to listen there."""
    for each in chain(error):
        found = known(each, listening=listening)
        if found:
            return found
    return words(error)


def brief(error: BaseException) -> str:
    """What is wrong, and no more: for those who can do nothing about it, such as a client or whoever asks for /readyz."""
    if isinstance(error, PermissionError):
        return "permission denied"
    return of(error).partition("; ")[0].partition(" (")[0]


def table(error: BaseException) -> str:
    """As `of`; "" for what is not in the table."""
    return next((found for each in chain(error) if (found := known(each, listening=False))), "")


def words(error: BaseException) -> str:
    """An error that the table does not know, by its own words, on one line."""
    said = getattr(error, "strerror", None) or getattr(error, "reason", None)
    text = " ".join(str(said or error).split()) or type(error).__name__
    return text[:LONGEST].rstrip(".")


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and those that it was made of, nearest first."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop(0)
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting += [*getattr(each, "exceptions", ()), *own(each, "os_error", "certificate_error"), each.__cause__]


def own(error: BaseException, *names: str) -> list[BaseException]:
    """aiohttp's errors have the one that counts beside them."""
    return [found for name in names if isinstance(found := getattr(error, name, None), BaseException)]


def known(error: BaseException, *, listening: bool) -> str:
    """By the table; "" for an error that is not in it."""
    match error:
        case ssl.SSLCertVerificationError():
            return of_certificate(error) if hasattr(error, "verify_code") else ""  # aiohttp's wraps the one that counts
        case ssl.SSLError():
            return TLS.get((getattr(error, "reason", "") or "").replace(" ", "_").upper(), "")
        case socket.gaierror():
            return NAMES.get(error.errno or 0, "")
        case OSError():
            return of_system(error, listening=listening)
        case TimeoutError():
            return SYSTEM[errno.ETIMEDOUT]
    return ""


def of_certificate(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in (HOSTNAME, ADDRESS):
        name = NAMED.search(error.verify_message or "")
        who = name[1] if name else "that name"
        return f"it is not for {who}; write the name that it is for into the URL, or get one for {who}"
    return CERTIFICATE.get(error.verify_code, (error.verify_message or words(error)).rstrip("."))


def of_system(error: OSError, *, listening: bool) -> str:
    number = error.errno
    if number is None:
        found = NUMBER.search(str(error))
        number = int(found[1]) if found else errno.ETIMEDOUT if isinstance(error, TimeoutError) else 0
    if number < 0:
        return NAMES.get(number, "")
    if listening and number in LISTENING:
        return LISTENING[number]
    if number in (errno.EACCES, errno.EPERM):
        return f"permission denied to {user()}; run this as root or as the service's user, or let that user have it"
    return SYSTEM.get(number, "")


def user() -> str:
    """Who this process is."""
    import pwd

    with suppress(KeyError):
        return f"the user {pwd.getpwuid(os.geteuid()).pw_name}"
    return f"the user {os.geteuid()}"


def at(error: OSError, path: object = "") -> str:
    """The same, with the file before it that the error names, or `path`."""
    where = error.filename or path
    return f"{where}: {of(error)}" if where else of(error)
