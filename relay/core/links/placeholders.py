"""What somebody typed for a program to fill in: `{{name}}` and its relatives.

Owns: the forms that programs for mail have, where they can be told from a URL that happens to have such characters (JSON
in a query, escapes, prices in percent). Leaves to others: what follows from it (`links.judge`).

A placeholder is a balanced pair around a word. One opening or one closing mark is none, nor is a pair around JSON. Forms
that any URL may have are not looked for: `-name-`, `$name`, `:name`, and `{name}` or `[name]` but as the whole value.
"""

from __future__ import annotations

import re

# A letter, or "_", or any character beyond ASCII, as what of ASCII it is not: a set with a range beyond ASCII takes milliseconds
# to compile.
_LETTER = r"[^\x00-@\[-^`{-\x7f]"
# A word: a name, with what the languages allow before and behind it (a filter, a default, an argument). No form goes over
# a mark that opens it anew, so that many of them cost one way through the text.
_NAME = rf"{_LETTER}[^{{}}\[\]<>%|*#]*+"
_JSON = r"(?!true\b|false\b|null\b)"
FORMS = (
    # {{name}} {{{name}}} {{#if x}} {{/if}} {{> part}} {{ .Name }} {{ "now" | date: "%Y" }} {{${name}}} {{1}}
    r"\{\{(?!\s*+[\"'][^\"'{}]*+[\"']\s*+:)(?=[^{}]*?[^\x00-/:-@\[-^`{-\x7f]|\$\{)(?>(?:[^{}]|\$\{[^{}]*+\})+)\}\}",
    # {% if x %} {%- x -%} {# note #}, and [% x %] of Template Toolkit
    rf"\{{%[-+]?+\s*+{_LETTER}(?>(?:[^{{}}%]|%(?!\}}))*)%\}}",
    r"\{#[^{}#]++#\}",
    rf"\[%[-+=~]?+\s*+{_LETTER}(?>(?:[^\[\]%]|%(?!\]))*)%\]",
    # ${name} #{name} @{name} $!{name}, ${{ name }} above; {$name} of Smarty and MailerLite; {!Name} of AWeber and Salesforce
    rf"[$#@]!?+\{{\s*+!?+{_LETTER}[^{{}}]*+\}}",
    rf"\{{[$!]{_NAME}\}}",
    # <%= name %> <% if %> <%name%>
    r"<%[-=_#@]{0,2}+\s*+[^\x00-#%-?\[-^`{-\x7f](?>(?:[^<>%]|%(?!>))*)%>",
    # %%name%% %%=v(@name)=%%, and %%[ … ]%% of AMPscript
    rf"%%(?:=?{_LETTER}[^%]*+|\[[^%]++(?<=\]))%%",
    # *|NAME|* *|IF:NAME|* *|DATE:d/m/y|*
    rf"\*\|{_LETTER}[^|*]*+\|\*",
    # [[name]] [[data:name:"you"]] [[name, you]], but no JSON: [[true]] [[1,2]] [["a"]]
    rf"\[\[\s*+[#/%$@!]?+{_JSON}{_LETTER}[^\[\]]*+\]\]",
    r"##[A-Za-z_]++##",
    # %name% %recipient.name%. Two hexadecimal digits behind a sign make it an escape; a digit before it a price in percent.
    r"%(?:(?<![0-9%]%)|(?<=%[0-9A-Fa-f]{2}%))(?:[A-Za-z_][A-Za-z0-9_.:-]{2,}+|(?![0-9A-Fa-f]{2}%)[A-Za-z_][A-Za-z0-9_]?+)%"
    r"(?![0-9A-Fa-f]{2})",
)
FORM = re.compile(
    "|".join(FORMS)
)  # each begins with a character, none with a look back: so the search passes over all others
WHOLE = re.compile(
    r"\s*+(?:\[[A-Za-z_][A-Za-z0-9_. :,=-]*+\]|\{[A-Za-z_][A-Za-z0-9_. :-]*+\})\s*+"
)  # [unsubscribe] {web_view}
LONGEST = 300  # characters of one that goes on behind a URL
MARK = re.compile(r"[{}\[\]%<*#]")  # one of these is in every form


def within(value: str) -> bool:
    """Is something in this link value still to be filled in?"""
    return MARK.search(value) is not None and (FORM.search(value) or WHOLE.fullmatch(value)) is not None


def across(text: str, start: int, end: int, stop: int) -> bool:
    """Does a placeholder begin in the URL from `start` on, of which the characters up to `stop` may be, and end beyond its
    `end`? Plain text has what no URL has: `?id=<%= id %>`, `?n={{ name }}`, and `/*|NAME|*` ends in what ends a sentence."""
    if not text.startswith("<%", stop) and not MARK.search(text, start, stop):
        return False
    found = FORM.search(text, start, stop + LONGEST)
    return found is not None and found.start() <= stop and found.end() > end
