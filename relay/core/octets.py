"""What a client sends within DATA -> the octets of the message: its dots and its line ends.

Owns: the dots that a client doubles (RFC 5321 4.5.2), what stands alone of CR and LF, and LF made CRLF.
Leaves to others: where DATA ends and what is refused (`smtp.data`), the dots on the way out (`upstream`).
"""

from __future__ import annotations


def bare(content: bytes) -> tuple[str, int]:
    """The first CR or LF that stands alone: its name, and the number of its line, counted by CRLF. ("", 0) for none."""
    marked = content.replace(b"\r\n", b"\x00\x00")
    at = min((position for position in (marked.find(b"\r"), marked.find(b"\n")) if position >= 0), default=-1)
    return ("CR" if marked[at] == 13 else "LF", 1 + content.count(b"\r\n", 0, at)) if at >= 0 else ("", 0)


def line_feeds(content: bytes) -> int | None:
    """How many LF have no CR before them; None where a CR stands alone."""
    ends = content.count(b"\r\n")
    return content.count(b"\n") - ends if content.count(b"\r") == ends else None


def undotted(content: bytes) -> bytes:
    """Without the dot that a client puts before a line that begins with one (RFC 5321 4.5.2)."""
    if content[:1] == b".":
        content = content[1:]
    return content.replace(b"\r\n.", b"\r\n") if b"\r\n." in content else content


def normalized(content: bytes) -> bytes:
    """The same of a message in which LF stands alone: each is CRLF, as if the client had sent it so. A dot that is alone on
    its line is the message's, since only CRLF.CRLF would have ended it.

    Some clients take LF for a line end and double the dot behind it (smtplib), others don't (curl). Who sends one single dot
    there does not."""
    if b"\n." not in content and not content.startswith(b"."):
        return as_crlf(content)
    dotted = content.count(b"\n.") - content.count(b"\r\n.")
    doubled = content.count(b"\n..") - content.count(b"\r\n..")
    if b".\n" in content:
        content = content.replace(b"\r\n.\n", b"\r\n..\n")
        content = b"." + content if content.startswith(b".\n") else content
    return undotted(as_crlf(content)) if dotted == doubled else as_crlf(undotted(content))


def as_crlf(content: bytes) -> bytes:
    if b"\r\n" in content:
        content = content.replace(b"\r\n", b"\n")
    return content.replace(b"\n", b"\r\n")
