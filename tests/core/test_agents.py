"""What a User-Agent says."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from relay.core import agents
from tests import corpus

PEOPLE = ("human", "proxy", "unknown")


@pytest.mark.parametrize(
    ("agent", "verdict", "reason"),
    [
        ("", "unknown", "no_agent"),
        ("Mozilla/5.0", "prefetch", "apple_privacy"),
        ("Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)", "proxy", "image_proxy"),
        ("YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html", "proxy", "image_proxy"),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/42.0.2311.135 "
            "Safari/537.36 Edge/12.246 Mozilla/5.0",
            "prefetch",
            "gmail_prefetch",
        ),
        ("Mozilla/4.0 (compatible; ms-office; MSOffice 16)", "human", "mail_program"),
        ("Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.17328; Pro)", "human", "mail_program"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.3.0", "human", "mail_program"),
        ("Mozilla/5.0 (Linux; Android 9; CUBOT_X18_Plus) AppleWebKit/537.36 Chrome/86.0 Mobile Safari/537.36", "human", "browser"),
        ("mozilla/5.0 (linux; android 6.0; cubot echo) applewebkit/537.36 (khtml, like gecko) chrome/70.0 mobile safari/537.36", "human", "browser"),
        ("Mozilla/5.0 (Linux; Android 8.0.0; Expanse) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/86.0 Mobile Safari/537.36", "human", "browser"),
        ("Mozilla/5.0 (Linux; Android 15; CPH2725 Build/AP3A.240617.008; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/138.0 Mobile Safari/537.36", "human", "browser"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 [LinkedInApp]/9.31", "human", "browser"),
        ("Mozilla/5.0 (Linux; Android 14; SM-S918B; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/125.0 Mobile Safari/537.36 [FB_IAB/FB4A;FBAV/466.0]", "human", "browser"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.4 Mobile/15E148 Safari/605.1.15 (Ecosia ios@11.0.2.2268)", "human", "browser"),
        ("Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 5.1; Trident/4.0; EmbeddedWB 14.52 from: http://www.bsalsa.com/ EmbeddedWB 14.52)", "human", "browser"),
        ("Lynx/2.8.8pre.3 libwww-FM/2.14 SSL-MM/1.4.1 OpenSSL/1.0.1e", "human", "browser"),
        ("Opera/9.80 (J2ME/MIDP; Opera Mini/4.4.39008/66.318; U; fr) Presto/2.12.423 Version/12.16", "human", "browser"),
        ("Mozilla/5.0 (PlayStation 4 3.11) AppleWebKit/537.73 (KHTML, like Gecko)", "human", "browser"),
        ("Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/2.2 Chrome/76.0 TV Safari/537.36", "human", "browser"),
        ("BarracudaCentral/1.0", "scanner", "gateway_agent"),
        ("Mozilla/5.0 (compatible; proofpoint-urldefense)", "scanner", "gateway_agent"),
        ("Mimecast-URL-Protect/2.0", "scanner", "gateway_agent"),
        ("Microsoft-SafeLinks/1.0", "scanner", "gateway_agent"),
        ("CiscoSecureEmail/1.0", "scanner", "gateway_agent"),
        ("Fortinet-FortiMail/7.0", "scanner", "gateway_agent"),
        ("masscan/1.3 (https://github.com/robertdavidgraham/masscan)", "scanner", "scanner_agent"),
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/125.0.0.0 Safari/537.36", "crawler", "crawler_agent"),
        ("Mozilla/5.0 (Linux; Android 11; moto g) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/125.0 Mobile Safari/537.36 Chrome-Lighthouse", "crawler", "crawler_agent"),
        ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "crawler", "crawler_agent"),
        ("WhatsApp/2.23.20.0 A", "crawler", "crawler_agent"),
        ("Mozilla/5.0 (compatible; Some-Company; +https://example.com/agent)", "crawler", "program_agent"),
        ("Java/17.0.9", "crawler", "program_agent"),
        ("Something/1.0", "crawler", "program_agent"),
        ("Something (Windows NT 10.0)", "unknown", "unclassified"),
    ],
)  # fmt: skip
def test_an_agent(agent: str, verdict: str, reason: str) -> None:
    assert agents.read(agent) == (verdict, reason)


def test_what_is_told_of_each_kind() -> None:
    """agents.tsv: mail programs of some generations, browsers, image proxies, gateways, previews of links, libraries. Where it is
    not the maker's own spelling, it says whose list has the agent: the tests of device-detector, Crawler-Detect or isbot."""
    with (Path(__file__).parent / "agents.tsv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    wrong = [(row["kind"], row["agent"]) for row in rows if agents.read(row["agent"])[0] != row["kind"]]
    assert (len(rows) > 200, wrong) == (True, [])


@pytest.mark.parametrize(
    ("agent", "program"),
    [
        ("Mozilla/5.0 (compatible; Name/1.0)", True),
        ("Mozilla/5.0 (compatible;Name/1.0)", True),
        ("Mozilla/5.0 (compatible; MSIE 9.0; Windows NT 6.1; Name)", False),
        ("Mozilla/4.0 (compatible; WOW64; MSIE 8.0; Windows NT 6.1)", False),
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko; Name) Chrome/120 Safari/537.36", True),
        ("Mozilla/5.0 (Windows NT 6.1; Trident/7.0; rv:11.0) like Gecko; Name 1.0", False),
        ("Mozilla/5.0 (Name/1.0)", True),
        ("Mozilla/5.0 (Something else) AppleWebKit/537.36 (KHTML, like Gecko)", True),
        ("Mozilla/5.0 (BeOS 5) Name/1.0", False),
        ("Name", True),
        ("Name/1.0 (iPhone; iOS 17)", False),
        ("NameMail/1.0", False),
    ],
)
def test_a_program_of_its_own(agent: str, program: bool) -> None:
    assert (agents.read(agent) == ("crawler", "program_agent")) is program


def test_a_long_agent_is_cut() -> None:
    assert agents.read("Mozilla/5.0 (X11; Linux x86_64) Gecko/2 Firefox/1 " + "x" * 100_000 + "Googlebot/2.1") == (
        "human",
        "browser",
    )


def test_the_corpus() -> None:
    found, all_of = Counter[str](), Counter[str]()
    with (corpus.folder() / "user_agents.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            verdict, _ = agents.read(row["ua"])
            right = {row["kind"], row["alt_ok"]}
            all_of[row["kind"]] += 1
            found[row["kind"]] += verdict in right or ("human" in right and verdict in PEOPLE)
    assert found["human"] >= 0.995 * all_of["human"]
    for kind in ("prefetch", "scanner", "crawler"):
        assert found[kind] >= 0.97 * all_of[kind], kind
