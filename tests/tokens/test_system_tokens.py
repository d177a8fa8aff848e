"""System tokens are ours alone to sign: whatever is forged, foreign, old or meant for something else is refused."""

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import timedelta
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from domain.client import SYSTEM_SCOPES, Scope
from domain.ports import SystemToken, TokenUnreadable
from integrations.tokens.system_tokens import EcSystemTokens, _key
from tests.oidc.serving import MovableClock

SECRET = "tests-only-not-a-secret-0123456789abcdef"
ISSUER = "https://booking.example"


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
def tokens(clock: MovableClock) -> EcSystemTokens:
    return EcSystemTokens(SECRET, 1, ISSUER, clock)


def token(clock: MovableClock, **changes: Any) -> SystemToken:
    now = clock.now().replace(microsecond=0)
    told: dict[str, Any] = {"agency": "fysio", "key_id": "abcdefgh", "tenant": "t", "scopes": SYSTEM_SCOPES}
    return SystemToken(**{**told, "issued_at": now, "expires_at": now + timedelta(hours=1), **changes})


def forged(tokens: EcSystemTokens, clock: MovableClock, header: dict[str, Any], **claims: Any) -> str:
    """By our own key, but with another header or other claims; a claim that is None is left out."""
    ours = jwt.decode(tokens.sign(token(clock)), _key(SECRET, 1), algorithms=["ES256"])
    told = {name: value for name, value in {**ours.claims, **claims}.items() if value is not None}
    return jwt.encode({**ours.header, **header}, told, _key(SECRET, 1), algorithms=["ES256"])


def test_what_was_signed_is_read_again(tokens: EcSystemTokens, clock: MovableClock) -> None:
    assert tokens.read(tokens.sign(token(clock))) == token(clock)


def test_its_form_is_that_of_an_access_token(tokens: EcSystemTokens, clock: MovableClock) -> None:
    """Checked by the published keys, as others would (RFC 9068)."""
    published = KeySet.import_key_set(json.loads(json.dumps(tokens.public_keys())))
    found = jwt.decode(tokens.sign(token(clock)), published, algorithms=["ES256"])
    assert (found.header["alg"], found.header["typ"]) == ("ES256", "at+jwt")
    assert found.header["kid"] in [key["kid"] for key in tokens.public_keys()["keys"]]
    assert {"iss", "aud", "sub", "azp", "tenant", "scope", "jti", "exp", "iat", "nbf"} == found.claims.keys()
    assert (found.claims["iss"], found.claims["sub"], found.claims["azp"]) == (ISSUER, "fysio", "abcdefgh")
    assert found.claims["exp"] - found.claims["iat"] == 3600
    assert found.claims["scope"].split() == sorted(SYSTEM_SCOPES)
    assert not any("d" in key for key in tokens.public_keys()["keys"])


def test_no_two_tokens_have_one_name(tokens: EcSystemTokens, clock: MovableClock) -> None:
    assert tokens.sign(token(clock)) != tokens.sign(token(clock))


@pytest.mark.parametrize(
    ("header", "claims"),
    [
        ({"typ": "JWT"}, {}),
        ({"kid": "another"}, {}),
        ({}, {"iss": "https://elsewhere.example"}),
        ({}, {"aud": "https://elsewhere.example"}),
        *(({}, {name: None}) for name in ("iss", "aud", "sub", "azp", "tenant", "scope", "exp", "nbf", "iat", "jti")),
        ({}, {"exp": "never"}),
        ({}, {"exp": 0}),
    ],
    ids=str,
)
def test_another_kind_or_claim_is_refused(
    tokens: EcSystemTokens, clock: MovableClock, header: dict[str, Any], claims: dict[str, Any]
) -> None:
    assert tokens.read(forged(tokens, clock, {})).agency == "fysio"
    with pytest.raises(TokenUnreadable):
        tokens.read(forged(tokens, clock, header, **claims))


def test_times_are_kept_with_a_minute_of_grace(tokens: EcSystemTokens, clock: MovableClock) -> None:
    signed = tokens.sign(token(clock))
    for ahead, counts in ((timedelta(minutes=60, seconds=50), True), (timedelta(minutes=61, seconds=10), False)):
        clock.ahead = ahead
        assert _counts(tokens, signed) == counts
    clock.ahead = timedelta(0)
    now = int(clock.now().timestamp())
    for seconds, counts in ((50, True), (70, False)):
        assert _counts(tokens, forged(tokens, clock, {}, nbf=now + seconds)) == counts
        assert _counts(tokens, forged(tokens, clock, {}, iat=now + seconds)) == counts


def _counts(tokens: EcSystemTokens, text: str) -> bool:
    try:
        tokens.read(text)
    except TokenUnreadable:
        return False
    return True


def test_no_signature_and_another_algorithm_are_refused(tokens: EcSystemTokens, clock: MovableClock) -> None:
    signed = tokens.sign(token(clock))
    head, body, _ = signed.split(".")
    kid = json.loads(_padded(head))["kid"]
    none = _encoded({"alg": "none", "typ": "at+jwt", "kid": kid})
    claims = json.loads(_padded(body))
    signing = f"{_encoded({'alg': 'HS256', 'typ': 'at+jwt', 'kid': kid})}.{body}"
    mac = hmac.digest(_key(SECRET, 1).as_pem(private=False), signing.encode(), "sha256")
    shared = f"{signing}.{urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    stranger = jwt.encode({"alg": "ES256", "typ": "at+jwt", "kid": kid}, claims, ECKey.generate_key("P-256"))
    changed = f"{head}.{_encoded({**claims, 'tenant': 'other'})}.{signed.rpartition('.')[2]}"
    for forgery in (f"{none}.{body}.", shared, stranger, changed, f"{head}.{body}.", signed[:-4], "", "a.b.c", "é"):
        assert not _counts(tokens, forgery)


def _padded(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _encoded(part: dict[str, Any]) -> str:
    return urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def test_a_token_never_says_more_than_system_scopes(tokens: EcSystemTokens, clock: MovableClock) -> None:
    everything = tokens.sign(token(clock, scopes=frozenset(Scope)))
    assert tokens.read(everything).scopes == SYSTEM_SCOPES


def test_a_patients_token_is_nobody_of_ours(tokens: EcSystemTokens) -> None:
    theirs = ECKey.generate_key("P-256")
    bearer = jwt.encode({"alg": "ES256", "typ": "at+jwt", "kid": "theirs"}, {"sub": "kari"}, theirs)
    assert not tokens.is_ours(bearer)
    assert not tokens.is_ours("opaque")


def test_processes_agree_while_the_key_is_changed_one_after_the_other(clock: MovableClock) -> None:
    before, after, later, other = (
        EcSystemTokens(secret, number, ISSUER, clock)
        for secret, number in ((SECRET, 1), (SECRET, 2), (SECRET, 3), (SECRET.upper(), 1))
    )
    assert _counts(after, before.sign(token(clock))) and _counts(before, after.sign(token(clock)))
    assert not _counts(later, before.sign(token(clock)))
    assert not _counts(other, before.sign(token(clock)))
    assert EcSystemTokens(SECRET, 1, ISSUER, clock).public_keys() == before.public_keys()
