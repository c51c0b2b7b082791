"""How the tests are written, as far as a program can tell."""

import ast
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FILES = sorted(path for path in HERE.rglob("*.py") if path.name != "until.py")


def calls(path: Path, name: str) -> list[ast.Call]:
    """The calls of whatever has this name, a method or a function."""
    found = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return [call for call in found if getattr(call.func, "attr", getattr(call.func, "id", "")) == name]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HERE)))
def test_a_sleep_has_a_reason(path: Path) -> None:
    """A condition is waited for by `until`. What sleeps all the same says why, on its line; nothing is proved by it."""
    lines = path.read_text().split("\n")
    for call in calls(path, "sleep"):
        passes_on = isinstance(call.args[0], ast.Constant) and call.args[0].value == 0  # lets other tasks run, once
        assert passes_on or "#" in lines[call.lineno - 1], f"line {call.lineno}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HERE)))
def test_no_constant_and_nothing_private_is_patched(path: Path) -> None:
    """Times, limits and places are passed in."""
    for call in [*calls(path, "setattr"), *calls(path, "setitem")]:
        names = [arg.value for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        names += [arg.attr for arg in call.args if isinstance(arg, ast.Attribute)]
        wrong = [name for name in names if name.rpartition(".")[2].isupper() or name.rpartition(".")[2].startswith("_")]
        assert not wrong, f"line {call.lineno}: {wrong}"
