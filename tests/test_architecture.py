"""The rooms' rules: who may import what. See docs/flow.md."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path
from re import _constants, _parser  # type: ignore[attr-defined]

import pytest

ROOT = Path(__file__).parent.parent
CORE = sorted((ROOT / "relay" / "core").rglob("*.py"))
ALL = sorted([*(ROOT / "relay").rglob("*.py"), *(ROOT / "tracking_http").rglob("*.py")])
# What the core may use beside itself: computation only. No event loop, sockets, files, clock, randomness, database.
PURE = {
    "__future__", "base64", "binascii", "bisect", "codecs", "collections", "colorsys", "contextlib", "copy", "csv", "dataclasses", "datetime",
    "difflib", "email", "encodings", "enum", "fnmatch", "functools", "hashlib", "heapq", "hmac", "html", "io", "ipaddress", "itertools",
    "json", "math", "operator", "quopri", "re", "reprlib", "statistics", "string", "struct", "textwrap", "types", "typing", "unicodedata",
    "urllib.parse", "uuid", "zlib",
    "crawleruseragents", "cryptography", "dkim", "idna", "msgspec", "nacl", "publicsuffixlist", "turbohtml",
}  # fmt: skip
IMPURE = {"uuid.uuid4", "uuid.uuid1", "datetime.now", "datetime.utcnow", "io.open", "io.open_code", "io.FileIO"}
FORBIDDEN_CALLS = {"open", "print", "input", "exec", "eval"}
VAGUE = {"utils", "helpers", "manager", "base", "common", "misc"}


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [
                f"{node.module}.{alias.name}" if node.module == "relay" else str(node.module) for alias in node.names
            ]
    return found


@pytest.mark.parametrize("path", CORE, ids=lambda p: p.stem)
def test_the_core_is_pure(path: Path) -> None:
    for name in imports(path):
        allowed = name.startswith("relay.core") or any(name == p or name.startswith(p + ".") for p in PURE)
        assert allowed, f"{path.relative_to(ROOT)} imports {name}"
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in FORBIDDEN_CALLS, f"{path.relative_to(ROOT)}:{node.lineno} calls {node.func.id}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            named = f"{node.value.id}.{node.attr}"
            assert named not in IMPURE, f"{path}:{node.lineno} {named}"


def groups_repeated_possessively(items: object) -> bool:
    """Whether a parsed pattern has `(?:…)*+` or the like, over more than one character."""
    if not isinstance(items, list | tuple | _parser.SubPattern):
        return False
    for item in items:
        if isinstance(item, tuple) and item and item[0] is _constants.POSSESSIVE_REPEAT:
            inner = item[1][2]
            if len(inner) != 1 or inner[0][0] not in SINGLE:
                return True
        if groups_repeated_possessively(item):
            return True
    return False


SINGLE = {_constants.LITERAL, _constants.NOT_LITERAL, _constants.IN, _constants.ANY}


@pytest.mark.parametrize("path", ALL, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_group_is_repeated_possessively(path: Path) -> None:
    """Python before 3.11.5 matches these wrongly (python/cpython#106052), and Debian 12 has 3.11.2. An atomic group,
    `(?>(?:…)*)`, means the same and is right there."""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    if name.endswith("__main__"):
        return
    for pattern in vars(importlib.import_module(name)).values():
        if isinstance(pattern, re.Pattern):
            assert not groups_repeated_possessively(_parser.parse(pattern.pattern, pattern.flags)), pattern.pattern


def test_a_group_repeated_possessively_is_seen() -> None:
    seen = [
        groups_repeated_possessively(_parser.parse(p))
        for p in ("(?:ab)*+c", "x(?:(?:a|bb){2,9}+)?", "a*+[bc]++", "(?>(?:ab)*)")
    ]
    assert seen == [True, True, False, False]


@pytest.mark.parametrize("path", ALL, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_room_says_what_it_owns(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert not tree.body or ast.get_docstring(tree), f"{path.relative_to(ROOT)} has no docstring"
    assert path.stem not in VAGUE
    assert path.parent.name not in VAGUE


@pytest.mark.parametrize(
    "path", [p for p in ALL if "relay" in p.relative_to(ROOT).parts[0]], ids=lambda p: str(p.relative_to(ROOT))
)
def test_the_relay_does_not_know_the_pages(path: Path) -> None:
    wiring = {"wiring.py", "demo.py"}
    if path.name in wiring or "demo" in path.parts:
        return
    assert not [n for n in imports(path) if n.startswith("tracking_http")], path


MAKING = {
    "mkdir",
    "makedirs",
    "write_bytes",
    "write_text",
    "touch",
    "mkstemp",
    "copyfile",
    "copy2",
    "copytree",
    "O_CREAT",
}


@pytest.mark.parametrize(
    "path", [p for p in ALL if p != ROOT / "relay" / "files.py"], ids=lambda p: str(p.relative_to(ROOT))
)
def test_files_and_folders_are_made_in_one_place(path: Path) -> None:
    """There their mode, their owner and their durability are decided."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            assert node.attr not in MAKING, f"{path.relative_to(ROOT)}:{node.lineno} {node.attr}: relay.files does it"
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "open":
            modes = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            wrong = [mode for mode in modes if mode[:1] in ("w", "a", "x") and len(mode) < 4]
            assert not wrong, f"{path.relative_to(ROOT)}:{node.lineno} open(…, {wrong}): relay.files does it"


@pytest.mark.parametrize("path", ALL, ids=lambda p: str(p.relative_to(ROOT)))
def test_only_the_store_knows_its_engine(path: Path) -> None:
    """And what its engines share knows none of them. sqlite-utils is for the migrations."""
    room = path.relative_to(ROOT).parts
    found = {
        n for n in imports(path) if n.split(".")[0] in {"sqlite3", "sqlite_utils"} or n.startswith("relay.store.sqlite")
    }
    if room[:3] != ("relay", "store", "sqlite"):
        assert not found or room == ("relay", "store", "__init__.py"), f"{path.relative_to(ROOT)} imports {found}"
    elif room[3] not in ("schema.py", "migrations.py"):
        assert "sqlite_utils" not in found, path


@pytest.mark.parametrize(
    ("module", "unneeded"),
    [
        ("relay.__main__", {"aiohttp", "aiosmtpd", "dkim", "sqlite_utils", "asyncio"}),
        ("relay.core.tokens", {"aiohttp", "aiosmtpd", "dkim", "turbohtml"}),
        ("tracking_http.public", {"aiosmtpd", "aiosmtplib", "dkim", "turbohtml", "imapclient", "jinja2"}),
        ("relay.smtp", {"imapclient", "jinja2", "sqlite_utils"}),
    ],
)
def test_a_role_imports_only_what_it_needs(module: str, unneeded: set[str]) -> None:
    code = f"import sys, {module}; print(*sorted(m.split('.')[0] for m in sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not unneeded & set(found.stdout.split())
