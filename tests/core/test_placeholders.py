"""What somebody typed for a program to fill in, and what only looks like it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.links import placeholders, plain
from tests.core.rewriting import prepared

# Handlebars, Mustache, Liquid, Jinja, Go; Braze, Marketo, Mailjet, SendGrid, Klaviyo, Brevo, HubSpot, Listmonk.
BRACES = (
    "{{name}}", "{{ name }}", "{{{name}}}", "{{#if a}}", "{{/if}}", "{{> part}}", "{{&name}}", "{{^name}}", "{{~name~}}",
    "{{! note }}", "{{else}}", "{{ .Subscriber.Name }}", '{{ "now" | date: "%Y" }}', "{{user.name | default:'x'}}",
    "{{ contact['NAME'] }}", "{{unsubscribe()}}", "{{${first_name}}}", "{{custom_attribute.${x}}}", "{{1}}",
    "{{lead.First Name:default=you}}", '{{var:name:"you"}}', '{{insert name "default=friend"}}', "{{ 名前 }}", "{{prénom}}", "[[名前]]", "*|名前|*", "${名前}", "<%= 名前 %>", "{% ändern %}",
    "{% url %}", "{%name%}", "{%- if a -%}", "{% if a % b %}", "{# note #}", "[% name %]", "[%name%]",
    "${name}", "${user.name}", "${ name }", "${{ name }}", "#{name}", "@{name}", "$!{name}",
    "{$name}", "{$unsubscribe}", "{!firstname}", "{!Contact.FirstName}",
)  # fmt: skip
# ERB, SendGrid's old tags, ExactTarget and Acoustic, Mailchimp and Mandrill, GetResponse and Mailjet, Mailgun.
OTHERS = (
    "<%= name %>", "<%name%>", "<% if a %>", "<%- name %>", "<%== name %>", "<%@ x %>", "<%asm_group_unsubscribe_raw_url%>",
    "%%name%%", "%%first_name%%", "%%=v(@name)=%%", "%%[set @a = 1]%%",
    "*|NAME|*", "*|IF:NAME|*", "*|END:IF|*", "*|DATE:d/m/y|*", "*|MC:SUBJECT|*",
    "[[name]]", "[[ name ]]", '[[data:firstname:"you"]]', "[[UNSUB_LINK_EN]]", "[[name, you]]", "[[${name}]]",
    "##unsub##", "%name%", "%recipient.name%", "%unsubscribe_url%", "%FIRSTNAME%", "%first-name%", "%date%", "%id%", "%to%",
)  # fmt: skip


@pytest.mark.parametrize("form", BRACES + OTHERS)
def test_placeholder(form: str) -> None:
    for place in ("{}", "https://a.example/{}", "https://a.example/{}/x", "https://a.example/?a=1&n={}&b=2",
                  "https://a.example/Hi%20{}", "https://{}/x"):  # fmt: skip
        assert placeholders.within(place.replace("{}", form, 1)), place


@pytest.mark.parametrize("whole", ["[unsubscribe]", "{unsubscribe}", "[name,fallback=you]", "{view_in_browser}"])
def test_as_the_whole_value_only(whole: str) -> None:
    assert placeholders.within(whole)
    assert placeholders.within(f" {whole}\r\n")
    assert not placeholders.within(f"https://a.example/{whole}/x")


@pytest.mark.parametrize(
    "rest",
    [
        '?f={"a":{"b":1}}', '?f={"a":{"b":[[1,2]]}}', '?f={"a":{"b":{}}}', '?f={{"a":1}}', "?f={{}}", "#{\"a\":1}", "?q={me{name}}",
        "?q={me{name{first}}}", "?f=[[1,2],[3,4]]", '?f=[["a","b"]]', "?f=[[true,false]]", "?f=[[null]]", "?f=[[a,b],[c,d]]",
        '?f=[[{"a":1}]]', "?f={%22a%22:{%22b%22:1}}", "?f={%22a%22:%22b%22}", "?f=%7B%22a%22%3A%7B%22b%22%3A1%7D%7D",
        "?f={{", "?f=}}", "?f={{name", "?f=name}}", "?f=[[", "?f=]]", "?f=${", "?f=<%", "?f=%>", "?f=*|b", "*|", "|*", "##", "##x",
        "%41%42", "%e2%80%99s-here", "it%E2%80%99s%20me", "caf%C3%A9t%C3%A9", "%ab%cd%ef", "%d0%bf%d1%80", "%fa%zz", "100%", "100%%",
        "?q=50%off%20sale", "?q=100%cotton-50%polyester", "?q=100%cotton-50%", "?q=5%to%", "%25name%25",
        "?a[b][]=1&c[]=2", "?a[b[c]]=1", "{id}/x", "[id]/x", "?n={name}", "-name-/x", "?$filter=name&$top=1", "__name__", ":name/x",
    ],
)  # fmt: skip
def test_no_placeholder(rest: str) -> None:
    assert not placeholders.within(f"https://a.example/{rest}")


@given(st.text('{}[]%<>*|#$!"a1:, ', max_size=60))
def test_half_a_pair_is_none(text: str) -> None:
    """Without an opening mark, or without a closing one, nothing is found, whatever else is there."""
    for marks in ("{[<*#%", "}]>*#%"):
        assert not placeholders.within("https://a.example/" + "".join(c for c in text if c not in marks))


@pytest.mark.parametrize("form", BRACES + OTHERS)
def test_placeholder_in_plain_text(form: str) -> None:
    for before, behind in (("", ""), ("see ", " for more"), ("(", ")"), ("- ", ".\r\nNext")):
        text = f"{before}https://a.example/?n={form}{behind}"
        found = plain.scan(text)
        judged = [
            part.reason or ("placeholder" if placeholders.within(text[part.start : part.end]) else None)
            for part in found
        ]
        assert judged[0] in ("placeholder", "unsafe_place"), text  # the second where a URL may go on in letters


@pytest.mark.parametrize(
    "text",
    [
        "**https://a.example/** {{name}}", "https://a.example/ *|NAME|*", "https://a.example/x <%= name %>", "https://a.example/?a=<b>",
        "https://a.example/[1] [[name]]", "https://a.example/?q={ {{name}}", "https://a.example/#x\r\n{{name}}", "https://a.example/100%. %name%",
    ],
)  # fmt: skip
def test_placeholder_beside_a_url(text: str) -> None:
    (found,) = plain.scan(text)
    assert found.reason is None
    assert not placeholders.within(text[found.start : found.end])


def test_json_in_a_query_is_tracked_as_the_attribute_means_it() -> None:
    link = "https://example.com/d?left={&quot;a&quot;:{&quot;b&quot;:[[1,2]]}}"
    page = f'<p><a href="{link}">dashboard</a> <a href="https://example.com/?n={{{{name}}}}">x</a></p>'
    found = prepared(b"Content-Type: text/html; charset=utf-8\r\n\r\n" + page.encode())
    assert found.links == ('https://example.com/d?left={"a":{"b":[[1,2]]}}',)
    assert [report.reason for report in found.link_reports] == [None, "placeholder"]
