"""Containerfile and compose.yaml, without a container engine: the steps are run in order on a clean Debian 12, and the
program as compose.yaml says, under Debian's setpriv, with a root that can't be written to.

Not tried: an engine's own reading of these files.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.peers import clean_debian
from tests.until import eventually

ROOT = Path(__file__).parent.parent.parent
Step = tuple[str, str]  # instruction, what follows it
SEND = """
python3 - <<'END'
import smtplib
with smtplib.SMTP("127.0.0.1", 2525) as relay:
    relay.sendmail("you@example.com", ["ada@example.net"], "From: you@example.com\\nTo: ada@example.net\\n\\nHello")
END
"""


def stages() -> list[list[Step]]:
    """The steps of each stage; FROM is the first."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Containerfile").read_text(), flags=re.M).replace("\\\n", " ")
    steps = [(words[0], words[1]) for line in text.splitlines() if (words := line.split(None, 1))]
    starts = [at for at, (instruction, _) in enumerate(steps) if instruction == "FROM"]
    return [steps[start:end] for start, end in zip(starts, [*starts[1:], len(steps)], strict=True)]


def only(steps: list[Step], instruction: str) -> str:
    (found,) = (rest for name, rest in steps if name == instruction)
    return found


def service() -> dict:
    (found,) = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"].values()
    return found


def context() -> list[str]:
    """What of this folder goes to the engine: all is left out but these."""
    lines = (ROOT / ".dockerignore").read_text().split()
    assert lines[0] == "*"
    return [line[1:] for line in lines if line.startswith("!")]


def health() -> list[str]:
    return json.loads(only(stages()[-1], "HEALTHCHECK").partition(" CMD ")[2])


def test_compose_says_what_the_image_is_made_for():
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    found, image = service(), stages()[-1]
    assert set(compose) == {"services", "volumes"}
    assert set(found) <= {
        "build", "image", "init", "restart", "network_mode", "user", "read_only", "cap_drop", "security_opt", "tmpfs",
        "volumes", "stop_grace_period", "healthcheck", "logging",
    }  # fmt: skip
    assert (ROOT / found["build"]["context"] / found["build"]["dockerfile"]).samefile(ROOT / "Containerfile")
    assert found["user"] == only(image, "USER")
    assert found["user"].split(":")[0] != "0"
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert found["healthcheck"]["test"] == ["CMD", *health()]
    for key in ("interval", "timeout", "start_period", "retries"):
        assert f"--{key.replace('_', '-')}={found['healthcheck'][key]} " in only(image, "HEALTHCHECK")
    assert int(found["stop_grace_period"].removesuffix("s")) > 30  # the program's own limit
    volumes = [volume.split(":") for volume in found["volumes"]]
    assert {source for source, *_ in volumes if "/" not in source} == set(compose["volumes"])
    assert only(image, "VOLUME") in [target for _, target, *_ in volumes]


def test_the_image_has_what_the_package_is_made_of():
    names = context()
    assert [name for name in names if not (ROOT / name).exists()] == []
    shipped = {os.path.relpath(path.resolve(), ROOT) for path in (ROOT / "relay" / "shipped").iterdir()}
    assert shipped | {"relay", "tracking_http", "pyproject.toml", "requirements.lock"} <= set(names)


@pytest.fixture
def image() -> Iterator[clean_debian.Machine]:
    build, last = stages()
    with clean_debian.running() as machine:
        with clean_debian.running() as before:
            make(build, before, before)
            make(last, machine, before)
        yield machine


def make(steps: list[Step], machine: clean_debian.Machine, before: clean_debian.Machine) -> None:
    for instruction, rest in steps:
        if instruction == "RUN":
            machine.run(f"sh -c {shlex.quote(rest)}")
        elif instruction == "COPY":
            *options, source, target = rest.split()
            if options == ["--from=build"]:
                at = machine.path(target).parent
                subprocess.run(["cp", "-a", before.path(source), at], check=True)
                continue
            assert (options, source) == ([], ".")
            machine.path(target).mkdir()
            for name in context():
                path = ROOT / name
                if path.is_dir():
                    ignored = shutil.ignore_patterns("__pycache__")
                    shutil.copytree(path, machine.path(target) / name, symlinks=True, ignore=ignored)
                else:
                    shutil.copy(path, machine.path(target))
        else:
            assert instruction in ("FROM", "ENV", "USER", "WORKDIR", "VOLUME", "HEALTHCHECK", "ENTRYPOINT", "CMD")


def inside(words: list[str]) -> str:
    """A script that runs a program of the image as compose.yaml has it run."""
    last = stages()[-1]
    uid, gid = service()["user"].split(":")
    drop = f"setpriv --reuid={uid} --regid={gid} --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs"
    return f"cd {only(last, 'WORKDIR')}; exec {drop} env -i HOME=/ {only(last, 'ENV')} {shlex.join(words)}"


@pytest.mark.timeout(1800)
def test_the_steps_make_what_runs_without_root_and_writes_to_its_volumes_alone(image):
    last, found = stages()[-1], service()
    program = json.loads(only(last, "ENTRYPOINT"))
    flags = ["--upstream", "smtp.example.com", "--login", "relay", "--password-file", "-", "--webhook", "none"]
    flags += ["--tracking-host", "t.example.com", "--track", "all"]
    image.run(inside([*program, "init", "--no-check", *flags, "/etc/trackrelay"]), network=False, stdin="secret\n")
    for volume in found["volumes"]:
        target, _, mode = volume.partition(":")[2].partition(":")
        image.run(f"mount --bind {target} {target}; mount -o remount,bind,{mode or 'rw'} {target}")
    image.run("mount -o remount,bind,ro /")
    run = inside([*program, *json.loads(only(last, "CMD"))])
    with image.start(f"echo $$ > /run/first.pid; {run}", network=False) as process:
        try:
            eventually(lambda: process.poll() is not None or healthy(image), 120, 0.5)
            assert process.poll() is None, process.communicate()[0]
            image.run(SEND, network=False)
            queue = image.run(inside([*program, "queue", "list"]), network=False)
            assert "ada@example.net" in queue
            image.run(inside([*program, "backup", "/var/backups/trackrelay/first"]), network=False)
            with pytest.raises(clean_debian.Failed, match="Read-only file system"):
                image.run(inside(["sh", "-c", "echo > /etc/trackrelay/relay.toml"]))
        finally:
            image.run("kill -TERM $(cat /run/first.pid)")
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    with pytest.raises(clean_debian.Failed):
        image.run(inside(health()), network=False)


def healthy(image: clean_debian.Machine) -> bool:
    try:
        image.run(inside(health()), network=False)
    except clean_debian.Failed:
        return False
    return True
