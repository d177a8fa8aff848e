"""An identity provider that does one thing wrong at a time."""

import base64
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from joserfc import jwt
from joserfc.jwk import ECKey, OctKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

Claims = dict[str, Any]


def _signing_input(header: Claims, claims: Claims) -> str:
    parts = (json.dumps(part).encode() for part in (header, claims))
    return ".".join(_encoded(part) for part in parts)


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unsigned(claims: Claims, typ: str = "JWT") -> str:
    return _signing_input({"alg": "none", "typ": typ}, claims) + "."


def signed_with_the_public_key(claims: Claims, key: ECKey, typ: str = "JWT") -> str:
    """The old trick: the public key taken for a shared secret. By hand, because joserfc would not."""
    text = _signing_input({"alg": "HS256", "typ": typ, "kid": key.kid}, claims)
    return f"{text}.{_encoded(hmac.digest(key.as_pem(private=False), text.encode(), 'sha256'))}"


@dataclass
class Misbehaviour:
    """What to do wrong; the defaults do everything right."""

    claims: Claims = field(default_factory=dict)
    sign: Callable[[Claims], str] | None = None
    answer: Claims = field(default_factory=dict)
    discovery: Claims = field(default_factory=dict)
    token_status: int = 200
    token: Claims = field(default_factory=dict)
    userinfo: Claims = field(default_factory=dict)
    keys: Callable[[list[Claims]], Any] = lambda published: published


class HostileProvider:
    def __init__(self) -> None:
        self.key = ECKey.generate_key("P-256", {"kid": "k1"}, private=True)
        self.wrong = Misbehaviour()
        self.asked: dict[str, str] = {}
        self.issuer = ""  # as discovery has told it
        self.app = Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self.discovery),
                Route("/jwks", self.jwks),
                Route("/authorize", self.authorize),
                Route("/token", self.token, methods=["POST"]),
                Route("/userinfo", self.userinfo),
            ]
        )

    async def discovery(self, request: Request) -> Response:
        issuer = self.issuer = str(request.base_url).rstrip("/")
        ends = {"authorization": "authorize", "token": "token", "userinfo": "userinfo"}
        doors = {f"{name}_endpoint": f"{issuer}/{path}" for name, path in ends.items()}
        algorithms = ["ES256", "HS256", "none"]
        promises = {"id_token_signing_alg_values_supported": algorithms, "jwks_uri": f"{issuer}/jwks"}
        return JSONResponse({"issuer": issuer, **doors, **promises, **self.wrong.discovery})

    def rotate(self) -> ECKey:
        """Signs with a new key from now on, and publishes that one alone; answers the old one."""
        old, self.key = self.key, ECKey.generate_key("P-256", {"kid": f"{self.key.kid}+"}, private=True)
        return old

    async def jwks(self, request: Request) -> Response:
        secret = OctKey.import_key("a shared secret in a public place", {"kid": "k0"})
        published = [secret.as_dict(private=True), self.key.as_dict(private=False)]
        return JSONResponse({"keys": self.wrong.keys(published)})

    async def authorize(self, request: Request) -> Response:
        self.asked = dict(request.query_params)
        answer = {"code": "c", "state": self.asked["state"], **self.wrong.answer}
        return RedirectResponse(f"{self.asked['redirect_uri']}?{urlencode(answer)}", 302)

    async def token(self, request: Request) -> Response:
        now = int(time.time())
        about = {"iss": self.issuer, "aud": self.asked["client_id"], "sub": "somebody"}
        about |= {"acr": "high:bankid"}
        times = {"iat": now, "exp": now + 600, "auth_time": now, "nonce": self.asked["nonce"]}
        claims = {**about, **times, **self.wrong.claims}
        claims = {name: value for name, value in claims.items() if value is not None}
        id_token = (self.wrong.sign or self.signed)(claims)
        body = {"access_token": "opaque", "token_type": "Bearer", "id_token": id_token, **self.wrong.token}
        return JSONResponse({k: v for k, v in body.items() if v is not None}, self.wrong.token_status)

    async def userinfo(self, request: Request) -> Response:
        return JSONResponse(self.wrong.userinfo)

    def signed(self, claims: Claims, typ: str = "JWT") -> str:
        return jwt.encode({"alg": "ES256", "typ": typ, "kid": self.key.kid}, claims, self.key)
