"""An open relay, passwords in clear, a relay that is its own upstream: the file and the start say the same sentence."""

import json
from pathlib import Path
from typing import Any

import pytest

from relay import config, smtp
from relay.config import NamedUpstream, Settings, Smtp, Upstream, exposure
from tests.fakes import certificates
from tests.fakes.taker import Taker

OPEN = "lets the whole world submit"
NOBODY = "nobody there may submit"
CLEAR = "passwords would cross the network in clear"
LOOP = "is this relay itself: mail would loop"
LAN = {"allow": ["10.0.0.0/8"]}

# ([smtp], the key that is wrong, or None, words of the sentence). Sources: RFC 1918, 4193, 4291, 6890.
LISTENERS: list[tuple[dict[str, Any], str | None, str]] = [
    ({}, None, ""),
    ({"listen": ["127.0.0.1:25", "127.9.9.9:25", "[::1]:25"]}, None, ""),
    ({"listen": ["localhost:25", "LOCALHOST.:26"]}, None, ""),
    ({"listen": ["[::ffff:127.0.0.1]:25"]}, None, ""),
    ({"listen": ["127.0.0.1:25"], "allow": []}, None, ""),
    ({"listen": ["0.0.0.0:25"]}, "smtp.listen", NOBODY),
    ({"listen": ["[::]:25"]}, "smtp.listen", NOBODY),
    ({"listen": ["[::]:25"], "allow": []}, "smtp.listen", NOBODY),
    ({"listen": ["0:25"]}, "smtp.listen", NOBODY),
    ({"listen": ["mail.example.com:25"]}, "smtp.listen", NOBODY),
    ({"listen": ["localhost.localdomain:25"]}, "smtp.listen", NOBODY),
    ({"listen": ["127.0.0.1.example.com:25"]}, "smtp.listen", NOBODY),
    ({"listen": ["127.0.0.1:25", "192.0.2.1:25"]}, "smtp.listen", NOBODY),
    ({"listen": ["10.0.0.1:25"], "allow": ["127.0.0.0/8", "::1/128", "127.0.0.1/32"]}, "smtp.listen", NOBODY),
    ({"listen": ["10.0.0.1:25"], "allow": ["::ffff:127.0.0.0/104"]}, "smtp.listen", NOBODY),
    ({"listen": ["0.0.0.0:25"], **LAN}, None, ""),
    ({"listen": ["0.0.0.0:25"], "allow": ["10.0.0.0/9", "10.128.0.0/9"]}, None, ""),
    ({"listen": ["0.0.0.0:25"], "allow": ["192.0.2.7/32", "2001:db8::/32", "fc00::/7", "fe80::/10", "2600::/16"]}, None, ""),
    # the whole world, in one piece or in several
    ({"listen": ["0.0.0.0:25"], "allow": ["0.0.0.0/0"]}, "smtp.allow", OPEN),
    ({"listen": ["0.0.0.0:25"], "allow": ["::/0"]}, "smtp.allow", OPEN),
    ({"listen": ["0.0.0.0:25"], "allow": ["10.0.0.0/8", "::/0"]}, "smtp.allow", OPEN),
    ({"listen": ["0.0.0.0:25"], "allow": ["0.0.0.0/1"]}, "smtp.allow", OPEN),
    ({"listen": ["0.0.0.0:25"], "allow": ["0.0.0.0/1", "128.0.0.0/1"]}, "smtp.allow", OPEN),
    ({"listen": ["0.0.0.0:25"], "allow": ["10.0.0.0/8", "11.0.0.0/8"]}, "smtp.allow", OPEN),
    ({"listen": ["0.0.0.0:25"], "allow": ["64.0.0.0/2"]}, "smtp.allow", OPEN),
    ({"listen": ["0.0.0.0:25"], "allow": ["::ffff:0:0/96"]}, "smtp.allow", OPEN),
    ({"listen": ["0.0.0.0:25"], "allow": ["2000::/3"]}, "smtp.allow", OPEN),
    ({"listen": ["0.0.0.0:25"], "allow": ["2000::/7"]}, "smtp.allow", OPEN),
    ({"listen": ["0.0.0.0:25"], "allow": ["f000::/4"]}, "smtp.allow", OPEN),
    ({"listen": ["127.0.0.1:25"], "allow": ["0.0.0.0/0"]}, "smtp.allow", OPEN),
    ({"listen": ["0.0.0.0:25"], "auth": "users", "allow": ["0.0.0.0/0"], "tls": True}, "smtp.allow", OPEN),
    # logins
    ({"listen": ["0.0.0.0:25"], "auth": "users", "tls": True}, None, ""),
    ({"listen": ["0.0.0.0:25"], "auth": "upstream", "tls": True}, None, ""),
    ({"listen": ["127.0.0.1:25"], "auth": "users"}, None, ""),
    ({"listen": ["localhost.:25"], "auth": "users"}, None, ""),
    ({"listen": ["0.0.0.0:25"], "auth": "users"}, "smtp.auth", CLEAR),
    ({"listen": ["0.0.0.0:25"], "auth": "users", **LAN}, "smtp.auth", CLEAR),
    ({"listen": ["0.0.0.0:25"], "auth": "upstream"}, "smtp.auth", CLEAR),
    ({"listen": ["localhost.localdomain:25"], "auth": "users"}, "smtp.auth", CLEAR),
    ({"listen": ["127.0.0.1:25"], "auth": "users", "clear_logins": False}, "smtp.clear_logins", "no TLS to log in by"),
    ({"listen": [], "listen_tls": ["0.0.0.0:465"], "tls": True}, "smtp.listen_tls", NOBODY),
    ({"listen": [], "listen_tls": ["0.0.0.0:465"], "tls": True, "auth": "users"}, None, ""),
    ({"listen_tls": ["127.0.0.1:465"]}, "smtp.listen_tls", "needs smtp.certificate and smtp.key"),
    ({"proxies": ["0.0.0.0/0"]}, "smtp.proxies", "pass for any client"),
    ({"proxies": ["0.0.0.0/1", "128.0.0.0/1"]}, "smtp.proxies", "pass for any client"),
    ({"proxies": ["::/0"]}, "smtp.proxies", "pass for any client"),
    ({"proxies": ["127.0.0.1/32", "10.0.0.0/8"]}, None, ""),
]  # fmt: skip


# (upstream.url, [smtp], does it lead back?)
UPSTREAMS: list[tuple[str, dict[str, Any], bool]] = [
    ("smtp://127.0.0.1:2525", {"listen": ["127.0.0.1:2525"]}, True),
    ("smtp://localhost:2525", {"listen": ["127.0.0.1:2525"]}, True),
    ("smtp://LOCALHOST.:2525", {"listen": ["[::1]:2525"]}, True),
    ("smtp://localhost:2525", {"listen": ["0.0.0.0:2525"], **LAN}, True),
    ("smtp://[::1]:2525", {"listen": ["0.0.0.0:2525"], **LAN}, True),
    ("smtp://127.1:2525", {"listen": ["0.0.0.0:2525"], **LAN}, True),
    ("smtp://[::ffff:127.0.0.1]:2525", {"listen": ["127.0.0.1:2525"]}, True),
    ("smtp://0.0.0.0:2525", {"listen": ["127.0.0.1:2525"]}, True),
    ("smtp://127.0.0.1:2526", {"listen": ["127.0.0.1:2525"]}, False),
    ("smtp://other.example:2525", {"listen": ["127.0.0.1:2525"]}, False),
    ("smtp://localhost.localdomain:2525", {"listen": ["127.0.0.1:2525"]}, False),
    ("smtp://10.0.0.7:2525", {"listen": ["0.0.0.0:2525"], **LAN}, False),
    # the port that is meant where none is written
    ("smtp://127.0.0.1", {"listen": ["127.0.0.1:25"]}, True),
    ("smtp://127.0.0.1", {"listen": ["127.0.0.1:587"]}, False),
    ("smtp://me@127.0.0.1", {"listen": ["127.0.0.1:587"]}, True),
    ("smtp://me@127.0.0.1", {"listen": ["127.0.0.1:25"]}, False),
    ("smtp://me@127.0.0.1:25", {"listen": ["127.0.0.1:25"]}, True),
    ("smtps://127.0.0.1", {"listen": [], "listen_tls": ["0.0.0.0:465"], "tls": True, **LAN}, True),
    ("lmtp://localhost", {"listen": ["127.0.0.1:24"]}, True),
    ("lmtp://localhost", {"listen": ["127.0.0.1:25"]}, False),
    # by a name, in whatever spelling
    ("smtp://mail.example", {"listen": ["mail.example:25"], **LAN}, True),
    ("smtp://MAIL.example.:25", {"listen": ["mail.EXAMPLE:25"], **LAN}, True),
    ("smtp://b\u00fccher.example", {"listen": ["xn--bcher-kva.example:25"], **LAN}, True),
    ("smtp://192.0.2.1", {"listen": ["192.0.2.1:25"], **LAN}, True),
    ("smtp://192.0.2.2", {"listen": ["192.0.2.1:25"], **LAN}, False),
    ("smtp://relay.example", {"listen": ["0.0.0.0:25"], "hostname": "Relay.example.", **LAN}, True),
    ("smtp://mail.example", {"listen": ["0.0.0.0:25"], "hostname": "relay.example", **LAN}, False),
]  # fmt: skip


def both(tmp_path: Path, given: dict[str, Any], *urls: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """What is said of these settings (`tls`: with a certificate), as (key, sentence): where the file is read, and where
    the listeners would open."""
    values = {key: value for key, value in given.items() if key != "tls"}
    pair = certificates.make(tmp_path) if given.get("tls") else None
    if pair:
        values |= {"certificate": str(pair.certificate), "key": str(pair.key)}
    lines = ["[smtp]", *(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items())]
    for number, url in enumerate(urls):
        lines += ["[[upstreams]]", f'id = "u{number}"', 'from = ["*@x"]'] if number else ["[upstream]"]
        lines += [f"url = {json.dumps(url, ensure_ascii=False)}", *(['password = "env:WORD"'] if "@" in url else [])]
    file = tmp_path / "relay.toml"
    file.write_text("\n".join([*lines, "[tracking]", 'url = "https://t.example.com"', ""]))
    at_load: list[tuple[str, str]] = []
    try:
        config.load(file, {"WORD": "secret"})
    except config.InvalidSettings as invalid:
        at_load = [(mistake.key, mistake.sentence) for mistake in invalid.mistakes]
    smtp_values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
    }
    if pair:
        smtp_values |= {"certificate": pair.certificate, "key": pair.key}
    settings = Settings(
        smtp=Smtp(**smtp_values),
        upstream=Upstream(urls[0]) if urls else Upstream(),
        upstreams=tuple(NamedUpstream(url, id=f"u{number}") for number, url in enumerate(urls) if number),
    )
    at_start = [(key, sentence) for key, _, sentence in (line.partition(": ") for line in smtp.problems(settings))]
    return sorted(at_load), sorted(at_start)


@pytest.mark.parametrize(("given", "key", "words"), LISTENERS)
def test_file_and_start_say_the_same_of_listeners(
    tmp_path: Path, given: dict[str, Any], key: str | None, words: str
) -> None:
    at_load, at_start = both(tmp_path, given)
    assert at_load == at_start
    assert [found for found, _ in at_start] == ([key] if key else [])
    assert all(words in sentence for _, sentence in at_start)


@pytest.mark.parametrize(("url", "given", "back"), UPSTREAMS)
def test_file_and_start_say_the_same_of_upstreams(tmp_path: Path, url: str, given: dict[str, Any], back: bool) -> None:
    at_load, at_start = both(tmp_path, given, url)
    assert at_load == at_start == ([("upstream.url", LOOP)] if back else [])
    at_load, at_start = both(tmp_path, given, "smtp://far.example", url)
    assert at_load == at_start == ([("upstreams[0].url", LOOP)] if back else [])


async def test_it_does_not_start() -> None:
    for found in (Smtp(listen=("0.0.0.0:0",)), Smtp(listen=("127.0.0.1:0",), allow=("0.0.0.0/1",))):
        settings = Settings(smtp=found)
        (sentence,) = smtp.problems(settings)
        with pytest.raises(smtp.CannotListen) as refused:
            await smtp.serve(settings, Taker())
        assert str(refused.value) == sentence


@pytest.mark.parametrize("found", [Smtp(listen=("25",)), Smtp(allow=("nonsense",)), Smtp(listen=("127.0.0.1:x",))])
def test_settings_that_no_file_could_give(found: Smtp) -> None:
    (sentence,) = smtp.problems(Settings(smtp=found))
    assert sentence.startswith("smtp: ")


@pytest.mark.parametrize("url", ["", "smtp://[broken", "nonsense"])
def test_what_is_no_url_leads_nowhere(url: str) -> None:
    assert not exposure.leads_back(url, Smtp())
