"""The wheel and the source distribution: what is in them, and the program as `pip` and `pipx` install it from them, outside
of a checkout and without anything of this environment."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
from email.parser import BytesParser
from pathlib import Path

import pytest

from relay import __version__
from tests import peers
from tests.until import eventually

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.timeout(1800)  # libraries are installed, on a machine that is busy with much else
SECONDS = 600.0  # for each installation
START = 120.0  # for the program
OWN = re.compile(r"(pip|setuptools|pkg_resources|_distutils_hack|relay|tracking_http|trackrelay)\b")  # what a venv has
SHIPPED = {"docs", "systemd", "monitoring", "relay.toml", "CHANGELOG.md"}


def environment(home: Path, path: str = "/usr/local/bin:/usr/bin:/bin") -> dict[str, str]:
    """A login's, and which index and proxy this machine has. What pip has fetched once is fetched."""
    kept = {k: v for k, v in os.environ.items() if k.startswith("PIP_") or k.lower().endswith("_proxy")}
    return {**kept, "PIP_CACHE_DIR": str(home.parent / "pip"), "HOME": str(home), "PATH": path, "LANG": "C.UTF-8"}


def done(*words: object, seconds: float = SECONDS, **how: object) -> str:
    """What it printed on both outputs; its exit code is 0."""
    ended = subprocess.run(
        list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds, **how
    )  # type: ignore[call-overload]
    assert ended.returncode == 0, f"{words}\n{ended.stdout[-5000:]}"
    return str(ended.stdout)


def tracked() -> set[str]:
    """The files of the project, as git has them."""
    told = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "-C", ROOT, "ls-files", "-z"], capture_output=True, text=True
    )
    if told.returncode:
        pytest.skip("this is no checkout of git")
    return {name for name in told.stdout.split("\0") if name}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """The folder with both, built once: the wheel from the source distribution, as it will be by others."""
    place = tmp_path_factory.mktemp("source")
    shutil.copytree(
        ROOT, place / "trackrelay", symlinks=True,
        ignore=shutil.ignore_patterns(".git", ".venv", "build", "dist", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis"),
    )  # fmt: skip
    done(sys.executable, "-m", "build", "--outdir", place / "dist", place / "trackrelay", cwd=place)
    return place / "dist"


@pytest.fixture(scope="module")
def wheel(built) -> Path:
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def sdist(built) -> Path:
    (found,) = built.glob("*.tar.gz")
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A venv with the wheel, and what it needs, by pip."""
    venv = tmp_path_factory.mktemp("wheel") / "venv"
    done(sys.executable, "-m", "venv", venv, env=environment(venv.parent))
    done(venv / "bin" / "pip", "install", "--quiet", wheel, env=environment(venv.parent), cwd=venv.parent)
    return venv


def test_both_have_the_version_in_their_names(wheel, sdist):
    assert wheel.name == f"trackrelay-{__version__}-py3-none-any.whl"
    assert sdist.name == f"trackrelay-{__version__}.tar.gz"


def test_the_wheel_has_the_program_and_what_it_brings(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        about = BytesParser().parsebytes(archive.read(f"trackrelay-{__version__}.dist-info/METADATA"))
    assert {path.name for path in (ROOT / "relay" / "shipped").iterdir()} == SHIPPED
    wanted = {name for name in tracked() if name.startswith(("relay/", "tracking_http/")) and "/shipped/" not in name}
    for name in SHIPPED:
        wanted |= {f"relay/shipped/{file}" for file in tracked() if file == name or file.startswith(f"{name}/")}
    assert names == wanted
    assert (about["Version"], about["License-Expression"]) == (__version__, "MIT")
    assert about.get_all("License-File") == ["LICENSE"]


def test_a_container_is_built_from_what_is_shipped():
    """A link in relay/shipped that leads nowhere breaks the build."""
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert kept >= {*SHIPPED, "relay", "tracking_http", "MANIFEST.in", "pyproject.toml", "README.md", "LICENSE"}


def test_the_source_distribution_is_the_project(sdist):
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    links = {f"relay/shipped/{name}" for name in SHIPPED}  # files there
    assert tracked() - links - names == set()


def test_by_pip_from_the_wheel(installed, tmp_path):
    works(installed / "bin" / "trackrelay", tmp_path)


def test_by_pip_from_the_source_distribution(sdist, installed, tmp_path):
    """Libraries are looked up in the other venv: what is new is that it is built by whoever installs it."""
    done(sys.executable, "-m", "venv", tmp_path / "venv", env=environment(tmp_path))
    (libraries,) = (installed / "lib").glob("python*/site-packages")
    (own,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    for library in libraries.iterdir():
        if not OWN.match(library.name) and not (own / library.name).exists():
            (own / library.name).symlink_to(library)
    done(tmp_path / "venv" / "bin" / "pip", "install", "--quiet", sdist, env=environment(tmp_path), cwd=tmp_path)
    program = tmp_path / "venv" / "bin" / "trackrelay"
    assert done(program, "--version", env=environment(tmp_path), cwd=tmp_path) == f"trackrelay {__version__}\n"
    units(program, tmp_path)


def test_by_pipx(wheel, tmp_path):
    pipx = peers.require("pipx", package="pipx")
    own = {**environment(tmp_path), "PIPX_HOME": str(tmp_path / "pipx"), "PIPX_BIN_DIR": str(tmp_path / "bin")}
    done(pipx, "install", wheel, env=own, cwd=tmp_path)
    works(tmp_path / "bin" / "trackrelay", tmp_path, tmp_path / "pipx" / "venvs" / "trackrelay" / "bin" / "trackrelay")


# -- the program, installed --------------------------------------------------------------------------------------------


def works(program: Path, place: Path, really: Path | None = None) -> None:
    """`really`: the file that the program's name leads to."""
    own = environment(place)
    assert done(program, "--version", env=own, cwd=place) == f"trackrelay {__version__}\n"
    demo(program, place)
    (place / "relay.toml").write_text(
        "[upstream]\nurl = 'smtp://127.0.0.1:1'\n[tracking]\nurl = 'http://127.0.0.1:9'\n"
    )
    checked = subprocess.run([program, "check"], env=own, cwd=place, capture_output=True, text=True, timeout=START)
    assert checked.returncode == 1, checked
    assert f"ok       file: {place}/relay.toml has no mistakes" in checked.stdout
    assert "FAILED   upstream: " in checked.stdout
    assert checked.stderr == ""
    service(program, place)
    units(really or program, place, called=program)


def demo(program: Path, place: Path) -> None:
    ports = [peers.free_port() for _ in range(3)]
    words = [f"--{name}-port={port}" for name, port in zip(("smtp", "http", "admin"), ports, strict=True)]
    with running([program, "demo", *words], place) as output:
        eventually(lambda: f"Open http://127.0.0.1:{ports[2]}/" in output.read_text(), START)
        page = http.client.HTTPConnection("127.0.0.1", ports[2], timeout=START)
        for path in ("/", "/static/style.css", "/openapi.json"):
            page.request("GET", path)
            answer = page.getresponse()
            assert (answer.read() != b"", answer.status) == (True, 200), path
        page.close()


def service(program: Path, place: Path) -> None:
    ports = [peers.free_port() for _ in range(3)]
    (place / "relay.toml").write_text(
        f"[smtp]\nlisten = ['127.0.0.1:{ports[0]}']\n[http]\nlisten = '127.0.0.1:{ports[1]}'\n"
        f"[admin]\nlisten = '127.0.0.1:{ports[2]}'\n"
        f"[upstream]\nurl = 'smtp://127.0.0.1:1'\n[tracking]\nurl = 'http://127.0.0.1:{ports[1]}'\n"
    )
    with running([program, "run"], place) as output:
        eventually(lambda: "trackrelay ready" in output.read_text(), START)


class running:
    """A program in a clean environment, whose output is in a file; SIGTERM at the end, and it ends with 0."""

    def __init__(self, words: list[object], place: Path) -> None:
        self.output = place / "output"
        with self.output.open("w") as file:
            self.process = subprocess.Popen(
                list(map(str, words)), env=environment(place), cwd=place, stdout=file, stderr=subprocess.STDOUT
            )

    def __enter__(self) -> Path:
        return self.output

    def __exit__(self, kind: object, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(START)
        finally:
            self.process.kill()
            self.process.wait()
        assert kind or code == 0, self.output.read_text()


def units(program: Path, place: Path, called: Path | None = None) -> None:
    done(called or program, "units", place / "units", "--config", "/srv/relay.toml", env=environment(place), cwd=place)
    names = {path.name for path in (place / "units").iterdir()}
    assert names == {path.name for path in (ROOT / "systemd").iterdir()}
    text = (place / "units" / "trackrelay.service").read_text()
    assert f"\nExecStart={program} run --config /srv/relay.toml\n" in text
    (manual,) = re.findall(r"^Documentation=file://(.*)$", text, re.M)
    assert Path(manual).read_bytes() == (ROOT / "docs" / "operations.md").read_bytes()
