"""The names of charsets, wherever mail has them: parameters, encoded words.

Owns: the names and labels of the Encoding Standard (WHATWG, 4.2), all of them, as data; those that only mail has; which
codec a label means. Browsers read labels with that table, and so do most readers of mail: "iso-8859-1" means windows-1252
there, "gb2312" means gbk.
Leaves to others: what is text in a charset (`parts.charsets`, `encoded_words`).
"""

from __future__ import annotations

import codecs
import re
from encodings import normalize_encoding
from encodings.aliases import aliases
from functools import lru_cache

# One encoding to a line that is not indented: its name, then its labels.
TABLE = """
utf-8: unicode-1-1-utf-8 unicode11utf8 unicode20utf8 utf-8 utf8 x-unicode20utf8
ibm866: 866 cp866 csibm866 ibm866
iso-8859-2: csisolatin2 iso-8859-2 iso-ir-101 iso8859-2 iso88592 iso_8859-2 iso_8859-2:1987 l2 latin2
iso-8859-3: csisolatin3 iso-8859-3 iso-ir-109 iso8859-3 iso88593 iso_8859-3 iso_8859-3:1988 l3 latin3
iso-8859-4: csisolatin4 iso-8859-4 iso-ir-110 iso8859-4 iso88594 iso_8859-4 iso_8859-4:1988 l4 latin4
iso-8859-5: csisolatincyrillic cyrillic iso-8859-5 iso-ir-144 iso8859-5 iso88595 iso_8859-5 iso_8859-5:1988
iso-8859-6: arabic asmo-708 csiso88596e csiso88596i csisolatinarabic ecma-114 iso-8859-6 iso-8859-6-e iso-8859-6-i
  iso-ir-127 iso8859-6 iso88596 iso_8859-6 iso_8859-6:1987
iso-8859-7: csisolatingreek ecma-118 elot_928 greek greek8 iso-8859-7 iso-ir-126 iso8859-7 iso88597 iso_8859-7
  iso_8859-7:1987 sun_eu_greek
iso-8859-8: csiso88598e csisolatinhebrew hebrew iso-8859-8 iso-8859-8-e iso-ir-138 iso8859-8 iso88598 iso_8859-8
  iso_8859-8:1988 visual
iso-8859-8-i: csiso88598i iso-8859-8-i logical
iso-8859-10: csisolatin6 iso-8859-10 iso-ir-157 iso8859-10 iso885910 l6 latin6
iso-8859-13: iso-8859-13 iso8859-13 iso885913
iso-8859-14: iso-8859-14 iso8859-14 iso885914
iso-8859-15: csisolatin9 iso-8859-15 iso8859-15 iso885915 iso_8859-15 l9
iso-8859-16: iso-8859-16
koi8-r: cskoi8r koi koi8 koi8-r koi8_r
koi8-u: koi8-ru koi8-u
macintosh: csmacintosh mac macintosh x-mac-roman
windows-874: dos-874 iso-8859-11 iso8859-11 iso885911 tis-620 windows-874
windows-1250: cp1250 windows-1250 x-cp1250
windows-1251: cp1251 windows-1251 x-cp1251
windows-1252: ansi_x3.4-1968 ascii cp1252 cp819 csisolatin1 ibm819 iso-8859-1 iso-ir-100 iso8859-1 iso88591 iso_8859-1
  iso_8859-1:1987 l1 latin1 us-ascii windows-1252 x-cp1252
windows-1253: cp1253 windows-1253 x-cp1253
windows-1254: cp1254 csisolatin5 iso-8859-9 iso-ir-148 iso8859-9 iso88599 iso_8859-9 iso_8859-9:1989 l5 latin5
  windows-1254 x-cp1254
windows-1255: cp1255 windows-1255 x-cp1255
windows-1256: cp1256 windows-1256 x-cp1256
windows-1257: cp1257 windows-1257 x-cp1257
windows-1258: cp1258 windows-1258 x-cp1258
x-mac-cyrillic: x-mac-cyrillic x-mac-ukrainian
gbk: chinese csgb2312 csiso58gb231280 gb2312 gb_2312 gb_2312-80 gbk iso-ir-58 x-gbk
gb18030: gb18030
big5: big5 big5-hkscs cn-big5 csbig5 x-x-big5
euc-jp: cseucpkdfmtjapanese euc-jp x-euc-jp
iso-2022-jp: csiso2022jp iso-2022-jp
shift_jis: csshiftjis ms932 ms_kanji shift-jis shift_jis sjis windows-31j x-sjis
euc-kr: cseuckr csksc56011987 euc-kr iso-ir-149 korean ks_c_5601-1987 ks_c_5601-1989 ksc5601 ksc_5601 windows-949
replacement: csiso2022kr hz-gb-2312 iso-2022-cn iso-2022-cn-ext iso-2022-kr replacement
utf-16be: unicodefffe utf-16be
utf-16le: csunicode iso-10646-ucs-2 ucs-2 unicode unicodefeff utf-16 utf-16le
x-user-defined: x-user-defined
"""


def _read() -> dict[str, str]:
    found: dict[str, str] = {}
    name = ""
    for line in TABLE.strip().split("\n"):
        words = line.split()
        if not line.startswith(" "):
            name = words.pop(0).rstrip(":")
        found.update(dict.fromkeys(words, name))
    return found


NAMES = _read()  # label, in lower case -> name

USER_DEFINED = "x-user-defined"
# All that Python can decode: its list of aliases, and those that have none. A name that it does not know is looked for
# on disk, and remembered for ever: a message has room for many thousands.
PYTHON = frozenset(aliases) | frozenset(aliases.values()) | {
    "charmap", "cp1006", "cp720", "cp737", "cp856", "cp874", "cp875", "idna", "koi8_t", "koi8_u", "mac_arabic",
    "mac_croatian", "mac_farsi", "mac_romanian", "palmos", "punycode", "raw_unicode_escape", "undefined",
    "unicode_escape", "utf_8_sig",
}  # fmt: skip
# Text encodings of Python that no message names; some are slow to decode.
NO_CHARSETS = frozenset(
    {"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined", "mbcs", "oem", "palmos"}
)
# The encodings of the standard that Python calls otherwise, or has not.
CODECS = {
    "ibm866": "cp866", "iso-8859-8-i": "iso8859-8", "macintosh": "mac-roman", "x-mac-cyrillic": "mac-cyrillic",
    "windows-874": "cp874", "euc-kr": "cp949", "utf-16le": "utf-16", "utf-16be": "utf-16-be", USER_DEFINED: USER_DEFINED,
}  # fmt: skip
# Names that the standard has, but not as what they are in mail.
MAIL = {
    "ascii": "us-ascii", "us-ascii": "us-ascii", "ansi_x3.4-1968": "us-ascii", "iso-2022-kr": "iso2022_kr",
    "csiso2022kr": "iso2022_kr", "iso-2022-cn": "iso2022_cn", "iso-2022-cn-ext": "iso2022_cn", "hz-gb-2312": "hz",
    "utf-16le": "utf-16-le", "replacement": "",
}  # fmt: skip
# Names that it has not.
MORE = {
    "utf8mb3": "utf-8", "utf8mb4": "utf-8", "utf-8mb4": "utf-8", "x-mac-ce": "mac-latin2", "x-mac-centraleurroman": "mac-latin2",
    "x-mac-greek": "mac-greek", "x-mac-turkish": "mac-turkish", "x-mac-icelandic": "mac-iceland", "x-mac-croatian": "mac-croatian",
    "x-mac-romanian": "mac-romanian", "x-mac-japanese": "shift_jis", "x-mac-korean": "cp949", "x-mac-chinesesimp": "gbk",
    "x-mac-chinesetrad": "big5", "cp50220": "iso2022_jp", "cp50221": "iso2022_jp", "cp50222": "iso2022_jp",
    "iso-2022-jp-ms": "iso2022_jp", "x-iso-2022-jp": "iso2022_jp", "x-sjis-jp": "shift_jis", "x-euc": "euc_jp", "x-eucjp": "euc_jp",
    "eucjp-ms": "euc_jp", "eucjp-win": "euc_jp", "cp51932": "euc_jp", "sjis-win": "shift_jis",
    "x-euc-kr": "cp949", "ms949": "cp949", "x-big5": "big5", "x-gb2312": "gbk", "x-hz": "hz",
}  # fmt: skip
PAGE = re.compile(r"(?:x-)?(?:windows|win|cp|ms)[-_]?(\d{3,5})")  # as many programs write the number of a code page
PAGES = {"932": "cp932", "936": "gbk", "949": "cp949", "950": "big5", "65001": "utf-8", "874": "cp874"} | {
    str(n): f"cp{n}" for n in range(1250, 1259)
}
LABEL = re.compile(r"[\s\"'=]*+(?:charset[\s\"'=]++)?([^\s\"';,()]*)")


def exists(charset: str) -> bool:
    """Is it the name of any encoding?"""
    name = normalize_encoding(charset.lower())
    return name in PYTHON or name.replace(".", "_") in PYTHON


@lru_cache(maxsize=256)
def codec(label: str) -> str:
    """The codec that a charset label names, or "" for one that is unknown or no charset at all. Some are no codecs of
    Python: `parts.charsets` reads these."""
    match = LABEL.match(label.lower())
    name = match[1] if match else ""
    if not name:
        return "us-ascii"
    if len(name) > 40 or not name.isascii() or "\0" in name:
        return ""
    if name in MAIL:
        return MAIL[name]
    if name in MORE:
        return MORE[name]
    if name in NAMES:
        name = NAMES[name]
        name = CODECS.get(name, name)
    elif (page := PAGE.fullmatch(name)) and page[1] in PAGES:
        name = PAGES[page[1]]
    return USER_DEFINED if name == USER_DEFINED else _python(name)


def _python(label: str) -> str:
    if not exists(label):
        return ""
    try:
        found = codecs.lookup(label)
    except (LookupError, ValueError):
        return ""
    name = "us-ascii" if found.name == "ascii" else found.name
    return name if found._is_text_encoding and name not in NO_CHARSETS else ""
