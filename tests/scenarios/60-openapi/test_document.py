"""schemathesis asks a running program what its OpenAPI document says, and what it does not: every answer is one that the
document names, of the form that it gives, and none is a 5xx."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scenarios import hostile, service

GRANTS = """
[[grants]]
id = "sales"
email = "sales@example.test"
addresses = ["*@example.test"]
"""
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
EXAMPLES = 4  # of each route and phase, beside those of the coverage phase
SECONDS = 240  # it takes some twenty; a machine that is busy may need more


@pytest.mark.timeout(300)
def test_what_the_document_says_is_what_is_answered(tmp_path: Path) -> None:
    with hostile.sink() as upstream:
        ports = service.settings(tmp_path, upstream=upstream.port, admin="calls_per_minute = 0", more=GRANTS)
        with service.running(tmp_path, ports) as relay:
            key = relay.command("api-key", "create", "asker").stdout.split()[-1]
            with hostile.Smtp(relay.smtp) as client:
                assert client.mail(hostile.letter("", "X-Track: all")).startswith("250")
            with hostile.Http(relay.admin) as web:
                document = json.loads(web.get("/openapi.json")[2])
            told = ask(tmp_path, relay.admin, key, document)
            with hostile.Http(relay.admin) as web:
                assert web.get("/readyz")[0] == 200
        log = relay.log
    assert told.returncode == 0, told.stdout[-6000:] + told.stderr[-2000:]
    assert "Traceback" not in log
    assert " ERROR " not in log


def ask(
    folder: Path, port: int, key: str, document: dict[str, dict[str, dict[str, dict[str, object]]]]
) -> subprocess.CompletedProcess[str]:
    """By one worker: in Python 3.11 two threads that parse sources, as hypothesis does, may break each other
    (python/cpython#106905)."""
    (folder / "schemathesis.toml").write_text('[parameters]\n"path.grant_id" = ["sales", "nobody"]\n')
    words = [
        "--url", f"http://127.0.0.1:{port}", "--header", f"Authorization: Bearer {key}", "--checks", CHECKS,
        "--phases", "examples,coverage,fuzzing", "--max-examples", str(EXAMPLES), "--generation-deterministic",
        "--request-timeout", "20", "--warnings", "off", "--suppress-health-check", "all",
    ]  # fmt: skip
    for path in endless(document):
        words += ["--exclude-path", path]
    return subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "--config-file", "schemathesis.toml", "run", *words,
         f"http://127.0.0.1:{port}/openapi.json"],
        capture_output=True, text=True, timeout=SECONDS, cwd=folder,
    )  # fmt: skip


def endless(document: dict[str, dict[str, dict[str, dict[str, object]]]]) -> list[str]:
    """The paths that answer with a stream."""
    return [
        path
        for path, methods in document["paths"].items()
        if "text/event-stream" in json.dumps(methods.get("get", {}).get("responses"))
    ]
