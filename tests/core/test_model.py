"""The values that travel: what of them may be printed."""

from relay.core.model import Envelope, Submission

PASSWORD = "correct horse"


def test_no_password_is_in_what_a_traceback_shows():
    submission = Submission("a@x.example", (), b"", login="ann", password=PASSWORD)
    envelope = Envelope("a@x.example", (), credentials=("ann", PASSWORD))
    for value in (submission, envelope, submission.with_(peer="192.0.2.1")):
        assert PASSWORD not in f"{value!r} {value}"
        assert "a@x.example" in repr(value)
