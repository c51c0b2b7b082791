"""A message that is made here, as Dovecot reads it: its envelope, its parts, and what a search finds in it."""

from __future__ import annotations

import imaplib
import re
from pathlib import Path

from relay.core import compose
from relay.core.compose import Attachment, Mailbox
from tests.peers import dovecot

USER = "bob@there.example"


def test_dovecot_reads_what_was_written(tmp_path: Path) -> None:
    made = compose.write(
        compose.Message(
            sender=Mailbox("ann@here.example", "Ann, Müller"),
            to=(Mailbox(USER, "Bob"), *(Mailbox(f"n{n}@there.example", f"Name {n}") for n in range(20))),
            subject="Grüße " * 20,
            html='<p>Grüße, <a href="https://example.net/">here</a></p><img src="cid:logo">' + "x" * 2000,
            attachments=(
                Attachment("Übersicht, alt.pdf", b"%PDF" * 100, "application/pdf"),
                Attachment("l.png", b"png", "image/png", "logo", True),
            ),
            in_reply_to=f"{'a' * 100}@here.example",
            references=(f"{'a' * 100}@here.example",),
            date=1e9,
            identifier="made@here.example",
        ),
        "=_b0undary",
    )
    with dovecot.running(tmp_path, {USER: "pw"}) as server:
        server.deliver(USER, made.content)
        with imaplib.IMAP4("127.0.0.1", server.imap_port) as client:
            client.login(USER, "pw")
            client.select("INBOX")
            _, said = client.fetch("1", "(ENVELOPE BODYSTRUCTURE)")
            whole = b" ".join(each if isinstance(each, bytes) else b" ".join(each or ()) for each in said).decode()
            assert (
                f'"<{"a" * 100}@here.example>" "<made@here.example>"' in whole
            )  # of the envelope: in reply to, its own
            assert whole.count('"there.example"') == 21
            kinds = re.findall(r'\("(text|image|application)" "(\w+)"', whole)
            assert kinds == [("text", "plain"), ("text", "html"), ("image", "png"), ("application", "pdf")]
            assert re.findall(r'"(alternative|related|mixed)" \(', whole) == ["alternative", "related", "mixed"]
            for words in (
                ["SUBJECT", '"Grüße Grüße"'],
                ["TEXT", '"Grüße, here"'],
                ["FROM", '"Müller"'],
                ["BODY", '"https://example.net/"'],
            ):
                client.literal = words[1].strip('"').encode()  # type: ignore[assignment]
                _, found = client.search("UTF-8", words[0])
                assert found == [b"1"], words
