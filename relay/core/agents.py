"""What a User-Agent says: a person's program, a proxy, a machine?

Owns: our own table of mail programs, image proxies and security gateways, and how the list of crawlers is asked. Leaves
to others: everything else that a request shows (`classify`), what is kept of an agent (`tracking_http.visitor`).

The list of crawlers is the package `crawler-user-agents` (M. Perrus and others, MIT), which names some 1,500 of them. It
takes 15 ms to load, so it is loaded with the first agent, or by `load`. Most of its patterns are plain text, and are
looked up by their first four characters: asking takes some 200 us, where trying all takes 900. What was found
is remembered for the last few thousand agents.

The name of a device is no sign: there are phones called CUBOT, Expanse and Fever_Plus.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, lru_cache

from relay.core.model import Verdict

DATED = "2026-11-29"  # when the table below was last looked through
LONGEST = 1000  # characters that are looked at
REMEMBERED = 4096

Found = tuple[Verdict, str]

# Proxies that fetch a picture when somebody looks at it: a person, whose program is not known. GoogleImageProxy (Gmail: fetched at
# the first look, then kept), YahooMailProxy (and AOL), FastmailUA, RamblerMail's ImageProxy and "mail.ukr.net proxy" have been seen;
# others call theirs alike. Who says that has a picture to show, and counts as a person either way.
IMAGE_PROXIES = (
    "imageproxy", "image proxy", "image-proxy", "image_proxy", "mailproxy", r"mail[\w. -]{1,20}proxy", r"ggpht\.com", "yahoocachesystem",
    "fastmailua", "duckduckgo-email",
)  # fmt: skip

# Who looks through mail, and follows its links, before or while a person does. These have been seen as agents, in the
# list of crawlers or in reports to other projects.
SEEN = ("barracuda", "proofpoint", "urldefense", "messagelabs", r"\bwtp\b", "fireeye", "netcraft", "bingpreview")
# These are names of products and of what they do, which nobody has been seen to say: no person's program has them either.
GATEWAYS = (
    "cudasvc", "mimecast", "clicktime",
    r"\btmws\b", r"\btmes\b", "interscan", "trellix", "mandiant", "fortimail", "fortisandbox",
    "fortiguard", "ciscosecure", r"\bcisco[ _-](?:secure|ironport|talos|umbrella|esa|email)", "ironport", "senderbase",
    "talosintelligence", "safelinks", "safe links", "safe-links", "microsoft defender", "microsoft-defender", "office365 atp",
    "exchange online protection", "forcepoint", "websense", "webwasher", "avanan",
    r"perception[ _-]?point", "ironscales", "abnormal security", "greathorn", "tessian", "vadesecure", "vade secure", "vade-",
    "hornetsecurity", "antispameurope", "retarus", "spamtitan", "titanhq", "webtitan", "mailguard", "mailmarshal", "appriver",
    r"\bzix\b", r"\binky\b", "cyren", "commtouch", "cloudmark", "spamhaus", "spamexperts", "n-able", "libraesva",
    "mailcleaner", r"\barea ?1\b", "trustifi", "egress defend", "darktrace", r"\bagari\b", "zerofox",
    "urlscan", "virustotal", "safebrowsing", "google-safety", "any.run", "joesandbox", "hybrid-analysis", "quttera",
    "sucuri", "expurgate", "nospamproxy", "seppmail", "altospam", "mailinblack", "spamcop", "rspamd", "spamassassin",
    "mailscanner", "juniper atp",
    "linkfollow", "link-follow", "link_follow", "linkprotect", "link-protect", "link protect", "linkscan", "link-scan", "urlscan", "url-scan",
    "urlprotect", "url-protect", "url protect", "urldefence", "urlfilter", "urlrewrite", "url-rewrite", "urlreputation", "url-reputation",
    "anti-virus", "antivirus", "anti-spam", "antispam", "anti-phish", "anti-malware", "antimalware", "malware", "time-of-click", "time of click",
    "clickprotect", "click-protect", "click protect", "emailsecurity", "email-security", "email security", "mailsecurity", "mail-security",
    "mail security", "emailgateway", "email-gateway", "email gateway", "mail gateway", "mailgateway", "emailprotection", "email protection",
)  # fmt: skip
# Makers whose name a person's browser may carry too (their own browsers, and what their programs add to others): only of an
# agent that shows no engine of a browser. Of the gateways' makers among them "Symantec-MessageLabs-LinkFollow", "Sophos-Email-TOC",
# "Trend Micro WTP" and "Expanse, a Palo Alto Networks company" have been seen.
MAKERS = (
    "symantec", "trend micro", "trendmicro", "sophos", "fortinet", "zscaler", "skyhigh", "withsecure", "check point", "menlo security",
    "menlosecurity", "netskope", "heimdal", "sonicwall", "watchguard", "palo alto networks", "crowdstrike", "webroot", "vipre", "trustwave", "sandbox",
    r"phish(?!lock)",
    "mcafee", "kaspersky", "bitdefender", r"\beset\b", "avast", r"\bavg\b", "avira", "drweb", "dr.web", "clamav", "f-secure", "norton",
    "panda security", "microsoft office existence discovery", "microsoft office protocol discovery",
)  # fmt: skip
SCANNING = (
    "vulnerab", r"scanner\b", r"\bscan(?:ning)?\b", r"[a-z]{3}scan\b", "security check", "securitycheck", "security audit",
    "security-audit", "security scan", "security-scan", "security test", "pentest", "nessus", "nuclei", "censys", "shodan", "qualys",
    r"\bnmap\b",
)  # fmt: skip

# What calls itself a program that is no browser: crawlers, libraries, monitors, previews of links.
PROGRAMS = (
    r"bot\b", r"bots?[/_-]", "robot", "crawl", "spider", "scraper", "scrapy", "scraping", "slurp", "archiver", r"\bfetch", "fetcher",
    r"monitor(?:ing)?\b", "uptime", "pingdom", "preview", "unfurl", "externalhit", "externalagent", r"validator\b", "checker", r"check/",
    "linkcheck", "headless", "phantomjs", "puppeteer", "playwright", "selenium", "webdriver", "cypress", "lighthouse", "pagespeed", "prerender",
    "dejaclick", r"\bptst\b", "catchpoint", "webpagetest", r"^(?:jdk|python|ruby|perl|php|go|rust|node|deno|bun|dart|erlang|elixir|curl|wget|lwp|libwww)\b",
    r"\bjava[ /_-]?1[\d.]", r"^java\b", "python-", "python/", "java-http", "urllib", "aiohttp", "httpx", "go-http", "httpclient", "http-client", "http client",
    "okhttp", "libwww", "libcurl", "libsoup", "http-tiny", "guzzle", "axios", "node-fetch", "node.js", "undici", r"\bgot[/ (]", "superagent", "needle/",
    "request/", "requests", "faraday", "typhoeus", "httparty", "rest-client", "restsharp", "httpie", "postman", "insomnia", r"\bpaw/", "reqwest", r"^hyper/",
    r"\bureq\b", "winhttp", "wininet", "powershell", "microsoft bits", "microsoft-cryptoapi", "webdav", "davclnt", "webzip", "httrack", "apachebench", r"^ab/",
    r"^wrk\b", r"^hey/[\d.]+$", r"\bk6/", "jmeter", "gatling", "vegeta", "locust", "mechanize", "feedparser", "feedfetcher", "feedburner", "snippet",
    "embedly", "iframely", "skypeuripreview", "imgproxy", r"^whatsapp/", "zulip", "rocket.chat", "mastodon/", "pleroma",
    "misskey", "appengine-google", "apps-script", "read-aloud", "cloudflare-", "zapier", "ifttt", r"^make/", r"\bn8n\b", "hubspot", "nagios", "zabbix", "icinga",
    "prometheus", "blackbox", "datadog", "newrelic", "statuscake", "site24x7", "dynatrace", "downloader", "git/", "git-", r"^emacs|url/emacs",
    "wkhtmlto", "webkit2png", "zombie.js", "browserkit", "web services client",
)  # fmt: skip
# An address of whoever runs it: browsers name none, but for a few components in people's programs.
CONTACT = (r"https?:/", r"\bwww\.", r"[\w.+-]@[a-z][\w-]*\.\w")
NO_CONTACT = re.compile(
    r"(?:from:? ?)?https?:/+(?:www\.)?(?:bsalsa\.com|b-safe\.com|xbmc\.org|kodi\.tv|avantbrowser\.com)\S*|(?:www\.)?avantbrowser\.com|http://www\.qtweb\.net|\blibwww-FM/\S+|(?<=Mosaic/).*|(?<=amaya/).*|\(?Ecosia (?:android|ios)@\S+",
    re.I,
)

# Programs in which a person reads mail, besides browsers.
MAIL = (
    "microsoft outlook", "outlook-", "outlookmobile", r"\boutlook/", "ms-office", "msoffice", "microsoft office", "macoutlook", "windows mail", "windowsmail", "windowslivemail", "outlook express", "thunderbird", "icedove", "betterbird",
    "seamonkey", "postbox", "lotus-notes", "lotusnotes", "ibm notes", "hcl notes", "em client", "emclient", "the bat", "mailbird", "mailspring", "foxmail", "airmail", "evolution", "kmail", "geary", "claws", "sylpheed", "balsa", "trojita", "mailmate", "sparkmail", r"\bspark/", "readdle", "bluemail",
    "k-9", "fairemail", "aquamail", "mymail", "edison", "canary mail", "newton", "superhuman", "missive", r"\bhey/\d.*(?:ios|android)", "protonmail", "tutanota", "apple mail", "applemail", r"mail\w*/\d", "gmail", "yahoomobile", "yahoomail", "zohomail", "roundcube", "incredimail", "eudora", "pegasus", r"^barca", "zimbra", "groupwise", "android-mail", "samsung email", "nine/", "maildroid", "touchdown",
    "cfnetwork", "dalvik",
)  # fmt: skip
BROWSERS = (
    r"^mozilla/\d", r"^opera", r"^(?:nokia|sonyericsson|samsung|sec-|lg[-e/]|mot-|motorola|blackberry|sie-|sagem|sharp|huawei|zte|htc|alcatel|philips|panasonic|vodafone|docomo|kddi|j-phone|softbank|palm|benq|nec-|portalmmm|ucweb|jionb)", "^(?:lynx|w3m|links|elinks|dillo|netsurf|amaya|emacs|qutebrowser|surf|midori|galeon|konqueror|icab|omniweb|netfront|obigo|teleca|bolt|uzbl|retawq|edbrowse|browsh|nintendo|playstation|psp|bada|maui|ucbrowser|safari|chrome|firefox)",
    "midp", "applewebkit", "gecko/", "presto/", "trident/", "wap browser", "brew",
)  # fmt: skip

# Of the list of crawlers: what also is the name of a person's program or device, and what tells the two apart.
DOUBTFUL = {
    r"AP3A\.240617\.008": "",  # a build of Android 15
    "Fluid": "",  # a browser for one site
    "WhatsApp": "^WhatsApp",  # also a window of its own on a desk
    "Sogou": r"[Ss]ogou.*[Ss]pider|^Sogou",  # also a browser
    "Synapse": r"Synapse(?!Workstation)",
    r"008\/": r"(?:^|[\s(;])008/",
    "Sonic": r"\bSonic(?:Bot)?/",
    "Butterfly": r"Butterfly/",
    "Blackboard": r"Blackboard (?!\d)\w",
    "Viber": r"^Viber|Viber\)$",
    "Fever": r"Fever/",
    "Expanse": r"Expanse, a Palo Alto",
    r"Code\/1\.": "",  # an editor with a browser in it
}
DEVICE = re.compile(r"(?i)cubot|(?<=Android)[^;()]*; ?(?:[A-Za-z]{2,3}(?:[-_][A-Za-z#]{2,4})?; ?)?(?!K[;)])[^;()]*")
LITERAL = re.compile(r"[A-Za-z0-9 _\-/:;,!+@#%&=~'\"<>]|\\[^A-Za-z0-9]")
GRAM = 4  # by how many first characters a plain pattern is found


class Words:
    """Finds the first of some lists in which a text has a word. Words are regular expressions, and most are plain text:
    those are looked up by their first four characters."""

    def __init__(self, *lists: Iterable[str]) -> None:
        self._texts: dict[str, list[tuple[str, int]]] = {}
        patterns: list[list[str]] = []
        for rank, words in enumerate(lists):
            patterns.append([])
            for word in words:
                if (text := literal(word)) is None:
                    patterns[rank].append(word)
                else:
                    self._texts.setdefault(text[:GRAM], []).append((text, rank))
        self._none = len(lists)
        self._patterns = [re.compile("|".join(f"(?:{one})" for one in some) or "(?!)") for some in patterns]

    def find(self, text: str) -> int | None:
        """Which list, from 0."""
        best = self._none
        get = self._texts.get
        for at in range(len(text) - GRAM + 1):
            if (some := get(text[at : at + GRAM])) is not None:
                for word, rank in some:
                    if rank < best and text.startswith(word, at):
                        best = rank
        for rank, pattern in enumerate(self._patterns[:best]):
            if pattern.search(text):
                return rank
        return best if best < self._none else None


def literal(pattern: str) -> str | None:
    """What a pattern without anything special stands for; None of others, and of very short ones."""
    if LITERAL.sub("", pattern):
        return None
    text = re.sub(r"\\(.)", r"\1", pattern)
    return text if len(text) >= GRAM else None


# In lower case.
OWN = Words((*SEEN, *GATEWAYS), SCANNING, (*PROGRAMS, *CONTACT), MAKERS)
IMAGE_PROXY = Words(IMAGE_PROXIES)
PEOPLE = Words(MAIL, BROWSERS)
ENGINE = re.compile(r"AppleWebKit/|Gecko/|Trident/|MSIE \d|Presto/|KHTML/")
# What names itself in brackets is a program: "(compatible; Name/1.0; ...)". Old browsers do it too.
COMPATIBLE = re.compile(
    r"\(compatible; ?+(?![^)]*MSIE \d|(?:Konq|iCab|Opera|Windows|Mozilla|Linux|X11|Android|Mac|U;|WebKit|NetFront|OmniWeb|Media|"
    r"Google Desktop|Mobile|Trident|x86|IBrowse|AOL|Yandex[A-Z]*Browser|Dillo|Links|NetSurf|SunOS|Lotus|ms-office|MSOffice|Gecko|Firefox|"
    r"Chrome|Apple Safari|Safari|GoogleToolbar|IE ?\d|unk;|NetPositive|Polaris|ANTGalio|NCBrowser|Oregano|Tablet|Smartphone|OffByOne|RISC OS|Acorn|Lynx|MSPIE|"
    r"\)|;| |U\)))",
    re.I,
)
# Beside "like Gecko" a browser says what else it is like, and programs say their name: "(KHTML, like Gecko; Google-Assess)".
LIKE_GECKO = re.compile(r"KHTML, like Gecko; ?(?!(?:Mobile|Safari|Chrome|Version|Gecko|compatible|Mozilla|\)))\w", re.I)
# What people read mail with says on what it runs. What names neither that nor an engine is a program of its own.
PLATFORM = re.compile(
    r"windows|winnt|win ?(?:9|3|\d{2}|nt|ce)|mac(?:intosh|[ _-]?os|_powerpc|_ppc|_68k)|os ?x\b|darwin|linux|x11|ubuntu|debian|fedora|android|iphone|ipad|ipod|ios\b|"
    r"watchos|tvos|apple ?tv|cros\b|bsd|sunos|solaris|irix|hp-ux|\baix\b|osf1|\bos/2|beos|haiku|amiga|morphos|risc ?os|qnx|syllable|"
    r"symbian|series ?[34689]0|s60|epoc|blackberry|\bbb10|playbook|palm|webos|web0s|hpwos|tizen|bada|kaios|maemo|meego|sailfish|harmony|j2me|"
    r"midp|cldc|brew|up\.(?:browser|link)|wap|docomo|j-phone|vodafone|kddi|softbank|opera|playstation|\bpsp|nintendo|\bwii|xbox|dreamcast|smart-?tv|hbbtv|netcast|roku|"
    r"viera|bravia|crkey|kindle|silk|nook|kobo|phone|mobile|handheld|tablet|device|nokia|samsung|sonyericsson|"
    r"msie|trident|webtv|\[en\]|lynx|\blinks\b|w3m|elinks|dillo|netsurf|emacs|konqueror|gecko/|rv:\d|win\d|watch\d|iph\d|fban/|openvms|browser|netfront|"
    r"teleca|obigo|amaya|mosaic|hotjava|ucweb|webkit/.*version/|safari/|chrome/|firefox/",
    re.I,
)
LETTERS = re.compile(r"[A-Za-z]{2}")
# Gmail fetches each picture once when the message arrives, as a browser that nobody has: Edge 12, and a name too many.
GMAIL_PREFETCH = re.compile(r"Edge/12\.\d+ Mozilla/5\.0$")


@lru_cache(REMEMBERED)
def read(agent: str) -> Found:
    """The verdict that the agent alone allows, with the reason code for it."""
    text = agent[:LONGEST].strip()
    if not text:
        return "unknown", "no_agent"
    if text == "Mozilla/5.0":  # Apple's Mail Privacy Protection, which fetches what nobody has looked at
        return "prefetch", "apple_privacy"
    if GMAIL_PREFETCH.search(text):
        return "prefetch", "gmail_prefetch"
    plain = NO_CONTACT.sub("", DEVICE.sub("", text))
    lower = plain.lower()
    if IMAGE_PROXY.find(lower) is not None:
        return "proxy", "image_proxy"
    own = OWN.find(lower)
    if own == 0:
        return "scanner", "gateway_agent"
    if (scanner := crawlers().find(plain)) is not None:
        return ("scanner", "scanner_agent") if scanner == 0 else ("crawler", "crawler_agent")
    if own == 1:
        return "scanner", "scanner_agent"
    if own == 2 or COMPATIBLE.search(plain) or LIKE_GECKO.search(plain):
        return "crawler", "program_agent"
    if own == 3 and not ENGINE.search(plain):
        return "scanner", "gateway_agent"
    people = PEOPLE.find(lower)
    if people == 0:
        return "human", "mail_program"
    if (people is None or lower.startswith("mozilla")) and LETTERS.search(text) and not PLATFORM.search(text):
        return "crawler", "program_agent"
    return ("unknown", "unclassified") if people is None else ("human", "browser")


def load() -> None:
    """Reads the list of crawlers now."""
    crawlers()


@cache
def crawlers() -> Words:
    """The list: scanners, and others."""
    import crawleruseragents

    lists: tuple[list[str], list[str]] = ([], [])
    for entry in crawleruseragents.CRAWLER_USER_AGENTS_DATA:
        pattern = DOUBTFUL.get(entry["pattern"], entry["pattern"])
        if pattern:
            lists["scanner" not in entry.get("tags", ())].append(pattern)
    return Words(*lists)
