"""What lets in whoever has it, in a URL, and what only looks like it."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.capabilities import NAMES, Table

HOST = "https://a.example"
USUAL = Table(())


def within(rest: str, known: Table = USUAL) -> bool:
    url = f"{HOST}{'' if rest[:1] in '/?#;' else '/'}{rest}"
    found = known.within(url, len(HOST))
    assert known.within(url, len(HOST)) == found  # also when its parts are known
    return found


SECRET = (
    "?ticket=550e8400-e29b-41d4-a716-446655440000", "/login/550e8400-e29b-41d4-a716-446655440000",
    "?token=1", "?access_token=1", "?ACCESS_TOKEN=1", "?Password=1", "?pwd=1", "?user_pwd=1", "?userPWD=x", "?pass=x",
    "?user_pass=x", "?passwd=1", "?passcode=1", "?secret=1", "?client_secret=1", "?clientSecret=1", "?auth=1",
    "?authToken=1", "?jwt=1", "?otp=1", "?code=a&state=b", "?state=b&x=1&code=a", "?code=a&session_state=b", "?api_key=1",
    "?apikey=1", "?apiKey=1", "?APIKEY=1", "?api-key=1", "?id_token=1", "?reset_token=1", "?resetPasswordToken=1",
    "?reset_password_token=1", "?confirmation_token=1", "?oobCode=1", "?X-Amz-Signature=1", "?X-Goog-Signature=1",
    "?resourcekey=0-abc", "?resourceKey=0", "?sv=2022&se=2025&sp=r&sig=abc", "?Expires=1&Signature=a&Key-Pair-Id=b",
    "/viewform?edit2=2_ABaO", "?edit2=2", "#access_token=1", "#/cb?access_token=1", "#id_token=1&state=2",
    "?SAMLResponse=abc", "?SAMLart=x", "?SAMLRequest=x", "?oauth_token=1", "?oauth_verifier=1",
    "?url=https%3A%2F%2Fb.example%2Freset%3Ftoken%3Dabc", "?url=https%253A%252F%252Fb.example%252Freset%253Ftoken%253Dabc",
    "?url=https://b.example/?token=abc", "?url=https%3A%2F%2Fu%3Ap%40b.example%2F", "?url=https://u:p@b.example/",
    "?next=%2Freset%2Fa1b2c3d4e5", "?u=aHR0cHM6Ly9hLmV4YW1wbGUvP3Rva2VuPXNlY3JldA", ";jsessionid=ABC",
    "/x;JSESSIONID=1?a=2", "/x;token=1", "?a;token=1", "?%74oken=1", "?%70%77%64=1", "?t%6Fken=1", "?token[]=1",
    "?token%5B%5D=1", "?token[0]=1", "?user[password]=1", "?user%5Breset_token%5D=1", "?data[token][]=1", "?password2=x",
    "/reset/a1b2c3d4e5f6", "/reset/canary-Word-4711", "/reset/abc123", "/password/reset/abcdef123456?email=a@b.example",
    "/password/reset/5f4dcc3b5aa765d61d8327deb882cf99", "/reset-password/canary-Word-4711",
    "/reset_password/abcdefghijklmnopqrst", "/resetPassword/482913", "/confirm/8a7b6c5d4e", "/verify-email/Abc123xyz",
    "/email/verify/12/0f1e2d3c4b5a69788796a5b4c3d2e1f0", "/auth/magic-link/Z2hqa2w3ODkw", "/magic/9f8e7d6c5b",
    "/users/reset/MQ/5xz-abcdef0123456789/", "/user/reset/1/1700000000/HJk3-x8f_1aQ/login", "/activate/a1b2c3d4e5",
    "/reset.php/a1b2c3d4", "/wp-login.php?action=rp&key=aBcDeFgHiJkLmNoPqRsT&login=ada",
    "/wp-login.php?action=rp&key=shoes&login=ada", "/ucp.php?mode=activate&u=2&k=ABC12345",
    "/confirm?id=5f4dcc3b5aa765d61d8327deb882cf99", "/reset?code=ABC", "/#/reset/a1b2c3d4e5",
    "/x?t=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc", "/x/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc",
    "?key=5f4dcc3b5aa765d61d8327deb882cf99", "?ticket=5f4dcc3b5aa765d61d8327deb882cf99",
    "?__clerk_ticket=5f4dcc3b5aa765d61d8327deb882cf99", "?rlkey=abc", "?authkey=!Ab", "?state=%7B%22token%22%3A%22x%22%7D",
    "?accesstoken=1", "?a=1&amp;token=2", "?hmac=1", "?verification_code=123456", "?token_hash=abc", "?device_code=1",
    "?X-Amz-Security-Token=1", "?a.b.token=1", "?magic_token=1", "?user-token=1", "?login_key=1", "/reset-password/SECRET",
    "/reset-password/AbCdEf", "/accounts/confirm-email/MQ:1rAbCd:x9f8e7d6c5b4/",
    "/accounts/password/reset/key/MQ-5xzabcdef0/", "/passwords/eyJfcmFpbHMiOnsi--5f4dcc3b5aa765d6/edit",
    "/login/5f4dcc3b5aa765d61d83", "/auth/9f8e7d6c5b4a3f2e1d0c", "/token/9f8e7d6c5b4a", "/magic/9f8e7d6c5b4a",
    "/forgot/9f8e7d6c5b4a", "/email-login/a1b2c3", "/password-recovery/a1b2c3", "/verify/482913",
    "/(S(lit3py55t21z5v55vlm25s55))/default.aspx", "?verify=1700000000-5f4dcc3b5aa765d61d83",
    "?confirm=5f4dcc3b5aa765d61d83", "?activation=5f4dcc3b5aa765d61d83", "?sign=5f4dcc3b5aa765d61d8327deb882cf99",
    "?hdnts=exp=1~acl=/*~hmac=abc", "?one_time_code=123456", "?smsCode=123456", "?q-signature=1", "?x-oss-signature=1",
    "/checkout/order-pay/1/?pay_for_order=true&key=wc_order_Ab12Cd34", "/my-account/lost-password/?key=abc&id=1",
    "/member.php?action=resetpassword&uid=1&code=abc", "/index.php?option=com_users&view=reset&code=abc",
    "/session/?code=abc&state=xyz", "/#!/verify/a1b2c3d4", "/go?next=/reset/a1b2c3d4&x=1",
    "/go?u=http://me:pw@b.example:81/x", "?redirect_uri=https%3A%2F%2Fb.example%2Fcb%23access_token%3D1",
    "/%72eset/a1b2c3d4", "/RESET/A1B2C3D4", "/Account/ResetPassword/A1B2C3D4",
)  # fmt: skip
HARMLESS = (
    "?key=shoes", "?code=SAVE20", "?code=SAVE20&utm_campaign=reactivation", "?key=spring-sale-2025", "?key=summer2024",
    "?author=ada", "?compass=n", "?bypass=1", "?passage=1", "?secretary=1", "?zipcode=12345", "?zip_code=12345",
    "?promo_code=SAVE20", "?promoCode=SAVE20", "?authority=x", "?authors=1", "/airline/pass/123456", "/pass?x=1",
    "?boarding_pass=1", "?boardingPass=A1", "?ski-pass=gold", "?monkey=1", "?keyword=x", "?keywords=x", "?tokens=2",
    "?tokenizer=1", "?passenger=2", "?passport=no", "?password_hint=1", "?secrets_of=1", "?sigma=1", "?design=1",
    "?signed=1", "?otpions=1", "?state=CA", "?country_code=DE", "?url_key=shoes", "?sort_key=price", "?sid=12",
    "?session=3", "?session_id=42", "?hash=abc", "?ticket=12345", "?utm_source=abc123def456ghi789jkl",
    "?mkt_tok=eyJpIjoiTTJRM1pHRTVZVGt6WkdSaSIsInQiOiJ", "?gclid=Cj0KCQjw1a2b3c4d5e6f7g8h9", "?mc_eid=1a2b3c4d5e",
    "?u=https://b.example/?href=https://c.example", "/token=1", "/reset", "/reset/your-sleep-habits",
    "/reset/your-sleep-2024", "/confirm/order-1234", "/verify", "/password/tips", "/password/strength-test",
    "/reset-password/instructions", "/blog/how-to-reset-your-password/2024/01", "/unsubscribe/a1b2c3d4e5f6",
    "/unsubscribe/confirm/a1b2c3d4e5f6", "/products/abc123def456?ref=a1b2c3d4e5f6g7h8", "/@ada/posts",
    "/?email=a@b.example&url=https://b.example", "?url=https%3A%2F%2Fb.example%2Fshoes%3Fcolor%3Dred",
    "?url=https://b.example&email=a@b.example", "?q=a%26b", '?filter={"key":"price"}', "?magic=1", "/magic-kingdom/tickets",
    "/confirm-order?order=12345", "/recover/data-2024", "/recovery/a", "/checkout/confirm?order=12345", "/auth",
    "/auth/login?next=/x", "/activation/summer-24", "/?code=SAVE20&country=DE", "/invite/ADA20", "/secret/garden",
    "/password", "?page=reset", "?redirect=%2Fcart%3Fcode%3DSAVE20", "/maps/@40.7,-74.0,12z", "?apikeys=1", "?type=token",
    "?code=SAVE20&state=CA", "?product_key=AB12CD34", "?category_key=cat12abc9", "?verify=1", "?confirm=yes", "?reset=all",
    "?sign=aries", "?activation=summer", "?magic=kingdom", "/magic/MTG2024/cards", "/magic/the-gathering-2024",
    "/login/with-your-account-2024", "/auth/oauth2callback", "/sso/saml2/acme", "/password/best-practices-2024",
    "/token/ERC20", "/token-economy/2024", "/confirm/2024-06-01", "/reset-your-life/2024", "/verify-coverage/AB12CD34EF",
    "/invitation/summer-party-2024", "/forgot/me-not-2024", "/reset/1", "/?utm_campaign=password-reset&code=SAVE20",
    "/?utm_content=verify-email/a1", "/?s=reset", "/products/reset-button", "/products/magic-link-cable/AB12CD34EF",
    "/blog/verify-email/", "/otp", "/t-shirts/(S)/red", "/contact?subject=reset%20password", "/?q=forgot+password",
    "/?passengers=2&token_type=x", "/search?q=token%3D1", "/keys/AB12CD34EF", "/?returnUrl=%2Fconfirm",
)  # fmt: skip


@pytest.mark.parametrize("rest", SECRET)
def test_secret(rest: str) -> None:
    assert within(rest)


@pytest.mark.parametrize("rest", HARMLESS)
def test_harmless(rest: str) -> None:
    assert not within(rest)


@pytest.mark.parametrize("rest", SECRET)
@pytest.mark.parametrize("times", [1, 2, 3])
def test_in_a_url_that_another_carries(rest: str, times: int) -> None:
    inner = f"https://b.example{'' if rest[0] in '/?#;' else '/'}{rest}"
    for _ in range(times):
        inner = quote(inner, safe="")
    assert within(f"/go?id=1&url={inner}&x=2")
    assert within(f"/go/{inner}")


@pytest.mark.parametrize("rest", HARMLESS)
def test_harmless_in_another(rest: str) -> None:
    inner = f"https://b.example{'' if rest[0] in '/?#;' else '/'}{rest}"
    assert not within(f"/go?id=1&url={quote(inner, safe='')}&x=2")


@pytest.mark.parametrize(
    "inner", ["https://b.example/?token=1", "http://b.example/reset/a1b2c3d4e5", "https://u:p@b.example/"]
)
def test_in_base64(inner: str) -> None:
    coded = base64.urlsafe_b64encode(inner.encode()).decode().rstrip("=")
    assert within(f"/ck/a?!&&u=a1{coded}&ntb=1")
    assert not within(f"/ck/a?u=a1{base64.b64encode(b'https://b.example/shoes?color=red').decode()}")


@pytest.mark.parametrize("name", NAMES["always"])
def test_every_name_in_every_spelling(name: str) -> None:
    words = name.split("_")
    for spelt in (
        name, name.upper(), name.replace("_", "-"), name.replace("_", "."), "".join(words), words[0] + "".join(map(str.title, words[1:])),
        f"my_{name}", f"x-{name}", f"user[{name}]", f"{name}[]", f"{name}[0]", f"{name}%5B%5D", f"%{ord(name[0]):02x}{name[1:]}",
    ):  # fmt: skip
        for mark in "?#;":
            assert within(f"/x{mark}{spelt}=1"), spelt
        assert within(f"?a=1&{spelt}=1;b=2")
        assert within(f"?a=1;{spelt}=1")


@pytest.mark.parametrize("name", NAMES["never"])
def test_every_name_that_only_looks_like_one(name: str) -> None:
    for value in ("1", "5f4dcc3b5aa765d61d8327deb882cf99"):
        assert not within(f"/x?{name}={value}")
        assert not within(f"/verify?{name}={value}")


def test_changed_by_the_operator() -> None:
    mine = Table(("voucher", "-auth", "-csrf_token", "key", "/portal", "-/verify"))
    for rest in (
        "?voucher=1",
        "?giftVoucher=1",
        "?token=1",
        "?key=shoes",
        "/portal/summer-house-4711",
        "/reset/a1b2c3d4",
    ):
        assert within(rest, mine), rest
    for rest in (
        "?auth=1",
        "?user_auth=1",
        "?csrf_token=1",
        "?vouchers=1",
        "/verify/a1b2c3d4e5",
        "?code=SAVE20",
        "/portal/shoes",
    ):
        assert not within(rest, mine), rest
    assert within("?auth=1")
    assert within("?csrf_token=1")
    assert within("/verify/a1b2c3d4e5")
    assert not within("?voucher=1")


def test_all_taken_away() -> None:
    none = Table(("-*",))
    assert not within("?token=1", none)
    assert not within("/reset/a1b2c3d4e5", none)
    assert not within("?code=1&state=2", none)
    one = Table(("-*", "token"))
    assert within("?token=1", one)
    assert within("?reset_token=1", one)
    assert not within("?password=1", one)
    assert within("?url=https%3A%2F%2Fu%3Ap%40b.example%2F", none)  # a login is one, whatever the names are


def test_known_parts_say_nothing_of_others() -> None:
    """What was seen to be harmless is remembered by its letters: other digits in it change nothing."""
    known = Table(())
    for _ in range(2):
        assert not within("?edit=1&t0=2", known)
        assert within("?edit2=1", known)
        assert within("?t0ken2=1&token2=1", known)
        assert not within("/reset/shoes", known)
        assert within("/reset/sh0es5hoes", known)


@given(
    st.text('?#&;=:/%@.-_[]2aeknotswEJHRT"0c', max_size=60),
    st.sampled_from(["token=1", "%74oken=1", "x[pwd]=1", "jwt=1"]),
)
def test_a_name_is_found_behind_anything(before: str, pair: str) -> None:
    """For any text: a verdict. And what stands before a parameter hides it from nobody."""
    within(before)
    assert within(f"{before}&{pair}")
    assert within(f"{before};{pair}&{before}")


def test_never_more_is_remembered_than_is_worth_it() -> None:
    known = Table(())
    for number in range(9_000):
        letters = "".join(chr(97 + int(digit)) for digit in str(number))
        assert not within(f"/p/{letters}?id={letters}", known)
    assert len(known.harmless) <= 4_000
