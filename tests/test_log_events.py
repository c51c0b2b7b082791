"""The names of log events, over the whole house: snake_case, since people search for them; and those that the documents
name are there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted([*(ROOT / "relay").rglob("*.py"), *(ROOT / "tracking_http").rglob("*.py")])
LEVELS = {"debug", "info", "often", "warning", "error", "exception"}
NAME = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")


def pieces(node: ast.expr) -> list[str]:
    """The literal texts of an event's name; of one that is put together, its parts with an `x` for what varies."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.IfExp(body=one, orelse=other):
            return pieces(one) + pieces(other)
        case ast.JoinedStr(values=values):
            return ["".join(str(v.value) if isinstance(v, ast.Constant) else "x" for v in values)]
    return []  # a variable: where it was made is not seen from here


def events(path: Path) -> list[tuple[int, str]]:
    text = path.read_text()
    if "LOG." not in text and "tell(" not in text:  # then there is none, and to parse all files takes seconds
        return []
    found = []
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="LOG"), attr=level), args=[name, *_]) if level in LEVELS:
                found += [(node.lineno, text) for text in pieces(name)]
            case ast.Call(
                func=ast.Attribute(attr="tell") | ast.Name(id="tell"), args=[name, *_]
            ):  # at most once a session
                found += [(node.lineno, text) for text in pieces(name)]
    return found


EVENTS = [(path, line, name) for path in FILES for line, name in events(path)]


@pytest.mark.parametrize(
    ("path", "line", "name"), EVENTS, ids=[f"{p.relative_to(ROOT)}:{line}" for p, line, _ in EVENTS]
)
def test_an_event_is_named_in_snake_case(path, line, name):
    assert NAME.fullmatch(name), f"{path.relative_to(ROOT)}:{line}: {name!r}"


def test_what_is_no_snake_case_is_seen(tmp_path):
    (tmp_path / "room.py").write_text(
        'LOG.info("a b")\nLOG.error("no" if x else "Not")\nLOG.warning(f"went {x}", y="A b")\n'
    )
    assert [(line, NAME.fullmatch(name) is None) for line, name in events(tmp_path / "room.py")] == [
        (1, True), (2, False), (2, True), (3, True),
    ]  # fmt: skip


SAID = re.compile(r"log (?:says|also has|has) `(?:[a-z]+ )?([a-z_]+)`|\(`([a-z_]+)` in the log")


def test_events_that_the_documents_name_are_there():
    named = {
        next(filter(None, names)): page.name
        for page in (ROOT / "docs").glob("*.md")
        for names in SAID.findall(re.sub(r"\s+", " ", page.read_text()))
    }
    assert len(named) > 8
    assert {name: page for name, page in named.items() if name not in {name for *_, name in EVENTS}} == {}
