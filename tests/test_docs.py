"""The documents against the program: every setting, every command, every link, every example of a configuration."""

import argparse
import asyncio
import dataclasses
import importlib
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from relay import __main__ as main
from relay import commands, config
from relay.config import kinds, reference, secrets, table
from relay.core.model import Tracking
from tests import samples
from tests.fakes.upstream import Upstream

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
SHOWN = [*PAGES, *(ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"))]
SECTIONS = [*table.SECTIONS, table.OAUTH2]


# -- settings ----------------------------------------------------------------------------------------------------------


def test_relay_toml_is_written_from_the_table():
    assert (ROOT / "relay.toml").read_text() == reference.toml(), "python -m relay.config.reference toml > relay.toml"


def test_docs_config_is_written_from_the_table():
    again = "python -m relay.config.reference markdown > docs/config.md"
    assert (ROOT / "docs" / "config.md").read_text() == reference.markdown(), again


def test_every_setting_is_an_option():
    by_values = {section.values: section for section in SECTIONS}
    for values, section in by_values.items():
        options = {option.attribute for option in section.options}
        apart = {
            "Settings": {"file", "warnings", *(s.key for s in table.SECTIONS if s.key)},
            "Rule": {"tracking", "keys"},
        }
        assert {f.name for f in dataclasses.fields(values)} - apart.get(values.__name__, set()) == options
    assert {o.key for s in SECTIONS for o in s.options if o.secret} == secrets.KEYS


@pytest.mark.parametrize(
    ("section", "option"),
    [(s, o) for s in SECTIONS for o in s.options],
    ids=[f"{s.key}.{o.key}" for s in SECTIONS for o in s.options],
)
def test_the_documented_default_is_the_default(section, option):
    """What the documents show as a default reads back as what the program uses."""
    text = reference.default(section, option)
    if not text:
        assert option.default or option.required or option.secret or option.example, "say in words what the default is"
        return
    value = tomllib.loads(f"x = {text}")["x"]
    read = option.kind.read(value, kinds.Use(Path("/")))
    expected = section.default(option)
    assert read == (Path("/") / expected if isinstance(expected, Path) else expected)


def test_relay_toml_as_it_is_sets_nothing():
    settings = config.load(ROOT / "relay.toml", {})
    url = Tracking(url=settings.tracking.url)
    here: dict[str, Any] = {"state_dir": ROOT / "var", "file": ROOT / "relay.toml", "tracking": url}
    assert settings == dataclasses.replace(config.Settings(), **here)


def uncommented(text: str) -> str:
    return re.sub(r"^#(?=[a-z\[])", "", text, flags=re.MULTILINE)


@pytest.fixture
def folder(tmp_path):
    """A folder with the files that the examples name."""
    (tmp_path / "networks.txt").write_text("192.0.2.0/24 gateway example\n")
    (tmp_path / "secrets").mkdir()
    for name in ("cert.pem", "key.pem", "dkim.pem", "upstream", "client", "refresh", "sales", "webhook"):
        (tmp_path / "secrets" / name).write_text("x\n")
        (tmp_path / "secrets" / name).chmod(0o600)
    (tmp_path / "postgresql-password").write_text("x\n")
    (tmp_path / "postgresql-password").chmod(0o600)
    return tmp_path


def test_relay_toml_without_its_comment_signs_is_right(folder):
    text = uncommented((ROOT / "relay.toml").read_text())
    (folder / "relay.toml").write_text(text)
    tree = tomllib.loads(text)
    for section in table.SECTIONS:
        given = tree if not section.key else tree[section.key][0] if section.many else tree[section.key]
        for option in section.options:
            if option.kind is not table.LOGIN:
                assert option.key in given or f"{option.key}_file" in given
    settings = config.load(folder / "relay.toml", {})
    assert settings.rules[0].keys == {"opens", "links"}
    assert not [w for w in settings.warnings if "mailbox" not in w and "is empty" not in w]


def test_the_other_ways_of_relay_toml_are_right(folder):
    text = uncommented((ROOT / "relay.toml").read_text())
    text = re.sub(r"^(mailbox_)?password_file = .*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"^# or: ", "", text, flags=re.MULTILINE)
    (folder / "relay.toml").write_text(text)
    settings = config.load(folder / "relay.toml", {})
    assert settings.upstream.oauth2
    assert settings.grants[0].mailbox_oauth2


# -- examples ----------------------------------------------------------------------------------------------------------

BLOCK = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCKS = [(page, block) for page in SHOWN for block in BLOCK.findall(page.read_text())]
# A block that shows only a part gets what it needs to stand alone.
WHOLE = {"upstream": '[upstream]\nurl = "smtp://127.0.0.1:25"\n', "tracking": '[tracking]\nurl = "https://t.test"\n'}


@pytest.mark.parametrize(("page", "block"), BLOCKS, ids=[f"{p.stem}-{i}" for i, (p, _) in enumerate(BLOCKS)])
def test_every_example_of_a_configuration_loads(page, block, folder):
    tree = tomllib.loads(block)
    if "url" not in tree.get("tracking", {}):
        block = block.replace("[tracking]\n", WHOLE["tracking"]) if "tracking" in tree else block + WHOLE["tracking"]
    block += "" if "upstream" in tree else WHOLE["upstream"]
    environ = {name: "x" for name in re.findall(r'"env:(\w+)"', block)}
    (folder / "credentials").mkdir()
    for name in re.findall(r'"\$CREDENTIALS_DIRECTORY/(.*?)"', block):
        (folder / "credentials" / name).write_text("x")
    # Absolute paths are the reader's own: here they are files of the folder.
    for path in sorted(set(re.findall(r'(?:_file|key|certificate) = "(/.*?)"', block))):
        block = block.replace(path, "secrets/upstream")
    for path in set(re.findall(r'(?:_file|key|certificate) = "([^/$].*?)"', block)):
        (folder / path).touch()
        if not (folder / path).read_text():
            (folder / path).write_text("x")
            (folder / path).chmod(0o600)
    (folder / "relay.toml").write_text(block)
    config.load(folder / "relay.toml", {**environ, "CREDENTIALS_DIRECTORY": str(folder / "credentials")})


async def test_the_python_example_sends(tmp_path):
    """Word for word, to a server that takes mail."""
    (block,) = re.findall(
        r"^```python\n(import smtplib.*?)^```", (ROOT / "docs" / "clients.md").read_text(), re.M | re.S
    )
    async with Upstream() as relay:
        program = block.replace("2525", str(relay.port))
        await asyncio.to_thread(subprocess.run, [sys.executable, "-c", program], check=True, timeout=60)
    (message,) = relay.kept
    assert b"X-Track: opens, links" in message.content


# -- commands ----------------------------------------------------------------------------------------------------------

COMMANDS = sorted(module.name for module in pkgutil.iter_modules(commands.__path__))


def options(parser: argparse.ArgumentParser) -> set[str]:
    """Every subcommand and long option below a parser."""
    found = set()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                found |= {name} | options(inner)
        else:
            found |= {o for o in action.option_strings if o.startswith("--") and o != "--help"}
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_documented(name):
    """In its own section of docs/commands.md: each verb and each long option."""
    module = importlib.import_module(f"relay.commands.{name}")
    command = name.replace("_", "-")
    sections = (ROOT / "docs" / "commands.md").read_text().split("\n## `trackrelay ")
    (about,) = [section for section in sections if section.startswith(f"{command}`")]
    parser = argparse.ArgumentParser()
    module.arguments(parser)
    assert {option for option in options(parser) if not re.search(rf"(?<![\w-]){option}(?![\w-])", about)} == set()


VERBS = [
    ["user", "list"], ["user", "add", "NAME"], ["api-key", "create", "NAME"], ["token-key", "rotate"],
    ["dkim", "create", "DOMAIN", "SELECTOR"], ["queue", "list"], ["webhooks", "list"], ["check"], ["backup", "DIR"],
]  # fmt: skip


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_config_may_stand_anywhere_after_the_command(words):
    top = main.parser(words[0])
    assert top.parse_args([*words, "--config", "x.toml"]).config == "x.toml"
    assert top.parse_args([words[0], "--config", "x.toml", *words[1:]]).config == "x.toml"
    assert top.parse_args(words).config is None


def test_every_metric_is_documented():
    text = (ROOT / "docs" / "operations.md").read_text()
    names = {f"{m.name}_total" if m.type == "counter" else m.name for m in samples.families()}
    assert {name for name in names if f"`{name}" not in text} == set()


def test_the_readme_names_the_documents():
    text = (ROOT / "README.md").read_text()
    assert {page.name for page in (ROOT / "docs").glob("*.md") if f"docs/{page.name}" not in text} == set()


# -- links -------------------------------------------------------------------------------------------------------------

LINK = re.compile(r"\]\(([^)\s]+)\)")
INLINE_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", heading.lower())
        found.add(plain.replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", SHOWN, ids=lambda p: p.name)
def test_links_between_the_documents_lead_somewhere(page):
    broken = []
    for link in LINK.findall(INLINE_CODE.sub("", page.read_text())):
        if re.match(r"https?:|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


NAMED = re.compile(r"(?<!/)\b(?:docs/[\w-]+\.md|systemd/[\w-]+\.(?:service|target|sysusers))\b")


def test_documents_that_are_named_exist():
    places = [*SHOWN, ROOT / "relay.toml", *(ROOT / "relay" / "config").glob("*.py"), *(ROOT / "systemd").glob("*")]
    named = {name for place in places for name in NAMED.findall(place.read_text())}
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_the_threats_name_every_scenario_and_only_tests_that_exist():
    text = (ROOT / "docs" / "threats.md").read_text()
    scenarios = {path.parent.name for path in (ROOT / "tests" / "scenarios").glob("[0-9]*-*/test_*.py")}
    assert set(re.findall(r"(?<![\w-])[0-9]{2}-[a-z][a-z-]+", text)) == scenarios
    tests = set(re.findall(r"\btests/[\w/.]+\w", text))
    assert {name for name in tests if not (ROOT / name).exists()} == set()
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| threat |")]
    assert [row for row in rows if not re.search(r"\| [^|]*(?:\d\d-[a-z]|tests/|make )[^|]*\|$", row)] == []
