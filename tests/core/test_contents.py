"""A message that is read back: its text, its files, who is named."""

from hypothesis import given
from hypothesis import strategies as st

from relay.core import compose, contents
from relay.core.compose import Attachment, Mailbox

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=200)
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=60).map(str.strip)


def written(**fields):
    made = compose.Message(
        sender=Mailbox("a@here.example", "Ann"),
        to=(Mailbox("b@there.example", "Bob, junior"),),
        identifier="1@x",
        **fields,
    )
    return compose.write(made, "=_bound").content


def ended(text):
    return text if text.endswith("\n") or not text else text + "\n"


@given(html=TEXT, filename=NAMES, content=st.binary(max_size=300))
def test_what_was_composed_comes_back(html, filename, content):
    files = (Attachment(filename, content, "application/pdf"), Attachment("i.png", b"png", "image/png", "cid1", True))
    found = contents.read(written(html=html, attachments=files))
    assert ended(found.html) == ended(html)
    inline, attached = found.files
    assert (attached.filename, attached.content, attached.content_type, attached.inline) == (
        filename, content, "application/pdf", False
    )  # fmt: skip
    assert (inline.content, inline.content_id, inline.inline) == (b"png", "cid1", True)


def test_who_is_named_comes_back_with_the_name():
    found = contents.read(written(plain="Hello", cc=(Mailbox("c@there.example", "Jörg"),)))
    assert [(m.name, m.address) for m in found.people("to")] == [("Bob, junior", "b@there.example")]
    assert [(m.name, m.address) for m in found.people("cc")] == [("Jörg", "c@there.example")]
    assert (found.html, found.body) == (None, "Hello\n")


def test_a_text_that_is_attached_is_a_file():
    raw = (
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nbody\r\n--x\r\nContent-Type: text/html\r\n"
        b"Content-Disposition: attachment; filename=a.html\r\n\r\n<p>file\r\n--x--\r\n"
    )
    found = contents.read(raw)
    assert (found.body, [(f.filename, f.content) for f in found.files]) == ("body", [("a.html", b"<p>file")])


@given(st.binary(max_size=500))
def test_any_bytes(raw):
    contents.read(raw)
    contents.read(b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n" + raw + b"\r\n--x--")


def test_a_named_text_beside_the_body_is_a_file_and_alone_it_is_the_body():
    part = b"Content-Type: text/html; name=a.html\r\n\r\n<p>named"
    found = contents.read(part)
    assert (found.html, found.files) == ("<p>named", ())
    raw = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nbody\r\n--x\r\n" + part + b"\r\n--x--\r\n"
    found = contents.read(raw)
    assert (found.html, found.body, [f.filename for f in found.files]) == (None, "body", ["a.html"])
