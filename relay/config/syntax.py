"""What is wrong with a text that is no TOML, as people make that mistake: a sentence with what to write instead.

Owns: guessing it from the line, where the parser says only that it went wrong there. Leaves to others: parsing (`loading`).
"""

from __future__ import annotations

import codecs
import re

QUOTES = re.compile("[\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb\u00b4`]")
PAIR = re.compile(r"\s*(?P<key>[\w.\"'-]+)\s*(?P<sign>[=:])\s*(?P<value>.*?)\s*(?:#.*)?$")
BACKSLASH = re.compile(r'"[^"\\]*\\(?![btnfr"\\]|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8})')
BARE = re.compile(r"[A-Za-z/~$.\d][^\s\"'\[\]{}]*(?:\s+[^\s\"'\[\]{}=]+)*")
WORDS = {"yes": "true", "on": "true", "no": "false", "off": "false", "none": '""', "null": '""', "nil": '""'}
TABLES = re.compile(r"Cannot (?:declare|overwrite|mutate)", re.I)


def encoding(raw: bytes) -> str:
    """Why the octets are no UTF-8; "" where nothing else is known."""
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or raw[:200].count(0) > len(raw[:200]) // 4:
        return "the file is UTF-16, as Notepad and PowerShell write it; save it as UTF-8"
    return ""


def hint(text: str, line: int, said: str) -> str:
    """What is meant by the parser's words about that line (from 1), and what to write instead; "" where that can't be guessed."""
    if "\r" in text and "\n" not in text:
        return "the lines end in CR alone, as on old Macs; save the file with line ends of Unix or Windows"
    lines = text.split("\n")
    at = lines[line - 1].rstrip("\r") if 0 < line <= len(lines) else ""
    code = at.partition("#")[0]
    if TABLES.search(said):
        return of_repetition(lines, line, code)
    if found := QUOTES.search(code):
        return f'{found[0]} is no quotation mark here; write " before and after the text'
    if "\\" in code and (BACKSLASH.search(code) or "hex" in said.lower() or "escape" in said.lower()):
        return "a backslash in double quotes begins an escape; write single quotes around it ('C:\\path'), or / in its place"
    header = re.fullmatch(r"\s*(\[+)([^\]]*)(\]*)\s*", code)
    if header:
        return f"write [{header[2].strip()}], or [[{header[2].strip()}]] where there can be several, with as many brackets at the end"
    pair = PAIR.match(at)
    if not pair:
        bare = code.strip()
        return f'"{bare[:40]}" is no setting; write key = value' if re.fullmatch(r"[\w. -]+", bare) else ""
    return of_value(pair["key"], pair["sign"], pair["value"])


def of_value(key: str, sign: str, value: str) -> str:
    if sign == ":":
        return f"write = in place of the colon: {key} = {value or '…'}"
    if not value:
        return f"{key} has no value; write one, or take the line out"
    if value.lower() in ("true", "false"):
        return f"write {value.lower()} in small letters"
    if value.lower() in WORDS:
        return f"{value} is no value; write {WORDS[value.lower()]}"
    if value[0] in "\"'" and value.count(value[0]) == 1:
        return f"the text has no quotation mark at its end; write {value}{value[0]}"
    if value.startswith("[") and "]" not in value:
        return "the list has no ] at its end, or no comma between two of its values"
    if value.startswith("{"):
        return "a table in braces stands on one line, and has no comma before the }"
    if BARE.fullmatch(value):
        return f'text stands in quotation marks; write {key} = "{value}"'
    return ""


def of_repetition(lines: list[str], line: int, code: str) -> str:
    name = code.strip()
    if name.startswith("["):
        bare = name.strip("[] ")
        first = next((n for n, each in enumerate(lines, 1) if n < line and each.partition("#")[0].strip() == name), 0)
        where = f" in line {first}" if first else ""
        return f"[{bare}] is there already{where}; put what stands below it there, or write [[{bare}]] for each where there can be several"
    key = name.partition("=")[0].strip()
    return f"{key} is there already in this table; keep one of the two"
