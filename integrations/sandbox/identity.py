"""A small OpenID Connect provider for demos and tests: BankID's and Vipps's place, with made-up people.

It keeps to the standards on purpose (PKCE required, codes used once, `iss` in the answer), so that a client which
works here is not working by luck. Its one freedom: `login_hint` signs that person in without a page. As a broker it
takes `kc_idp_hint`, and tells what that method would; `resource` (RFC 8707) says whom an access token is for.
"""

import base64
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit

from joserfc.errors import JoseError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from integrations.sandbox.identity_clients import DEMO_CLIENTS, Client
from integrations.sandbox.identity_pages import bad_request, choose_person, signed_out
from integrations.sandbox.identity_tokens import (
    ACR,
    ALGORITHM,
    API_AUDIENCE,
    TOKEN_SECONDS,
    Grant,
    SigningKeys,
    access_token,
    id_token,
    person_claims,
    subject,
)
from integrations.sandbox.people import PEOPLE, Person, crowd

CODE_SECONDS = 60
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")


class AuthorizationError(Exception):
    """A refusal that OAuth has a code for."""

    def __init__(self, code: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.code, self.description, self.status = code, description, status

    def as_json(self) -> JSONResponse:
        challenge = {"WWW-Authenticate": 'Basic realm="sandbox"'} if self.status == 401 else {}
        body = {"error": self.code, "error_description": self.description}
        return JSONResponse(body, self.status, {**NO_STORE, **challenge})


class IdentityProvider:
    """Codes and ended sessions live in memory; everything else is in the signed tokens."""

    def __init__(
        self,
        issuer: str | None,
        keys: SigningKeys,
        people: Iterable[Person],
        clients: Iterable[Client],
        now: Callable[[], float],
        lean_id_token: bool,
    ) -> None:
        self.keys = keys
        self._issuer = issuer
        self._people = {person.login: person for person in people}
        self._clients = {client.client_id: client for client in clients}
        self._now = now
        self._lean_id_token = lean_id_token
        self._grants: dict[str, Grant] = {}
        self._ended: set[str] = set()

    def routes(self) -> list[Route]:
        return [
            Route("/.well-known/openid-configuration", self.discovery),
            Route("/jwks", self.jwks),
            Route("/authorize", self.authorize),
            Route("/token", self.token, methods=["POST"]),
            Route("/userinfo", self.userinfo, methods=["GET", "POST"]),
            Route("/end_session", self.end_session, methods=["GET", "POST"]),
        ]

    def issuer(self, request: Request) -> str:
        if self._issuer:
            return self._issuer
        # Starlette's base_url leaves out the path of a mount.
        return f"{request.url.scheme}://{request.url.netloc}{request.scope.get('root_path', '')}"

    async def discovery(self, request: Request) -> Response:
        issuer = self.issuer(request)
        return JSONResponse(
            {
                "issuer": issuer,
                "authorization_endpoint": f"{issuer}/authorize",
                "token_endpoint": f"{issuer}/token",
                "userinfo_endpoint": f"{issuer}/userinfo",
                "end_session_endpoint": f"{issuer}/end_session",
                "jwks_uri": f"{issuer}/jwks",
                "response_types_supported": ["code"],
                "grant_types_supported": ["authorization_code"],
                "subject_types_supported": ["public"],
                "scopes_supported": ["openid", "profile", "email", "phone"],
                "acr_values_supported": [ACR],
                "id_token_signing_alg_values_supported": [ALGORITHM],
                "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
                "code_challenge_methods_supported": ["S256"],
                "authorization_response_iss_parameter_supported": True,
            }
        )

    async def jwks(self, request: Request) -> Response:
        return JSONResponse(self.keys.all.as_dict(private=False))

    async def authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        client = self._clients.get(asked.get("client_id", ""))
        redirect_uri = asked.get("redirect_uri", "")
        if client is None or not client.may_redirect_to(redirect_uri):
            return bad_request("The application or its return address is not known here.")
        answer = {"iss": self.issuer(request)} | ({"state": asked["state"]} if "state" in asked else {})
        try:
            _check_authorization(asked)
        except AuthorizationError as error:
            return _redirect(redirect_uri, answer | {"error": error.code, "error_description": error.description})
        person = self._people.get(asked.get("login_hint", ""))
        if person is None:
            return choose_person(asked, [person for person in self._people.values() if person.listed])
        return _redirect(redirect_uri, answer | {"code": self._new_code(asked, person)})

    def _new_code(self, asked: Mapping[str, str], person: Person) -> str:
        now = int(self._now())
        self._grants = {code: each for code, each in self._grants.items() if now < each.signed_in_at + CODE_SECONDS}
        code = secrets.token_urlsafe(32)
        self._grants[code] = Grant(
            client_id=asked["client_id"],
            redirect_uri=asked["redirect_uri"],
            challenge=asked["code_challenge"],
            nonce=asked.get("nonce"),
            scope=asked["scope"],
            person=person,
            session=secrets.token_urlsafe(16),
            signed_in_at=now,
            audience=asked.get("resource") or API_AUDIENCE,
            method=asked.get("kc_idp_hint", ""),
        )
        return code

    async def token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode("utf-8", "replace"), keep_blank_values=True))
        try:
            client = self._authenticate(request, form)
            if form.get("grant_type") != "authorization_code":
                raise AuthorizationError("unsupported_grant_type", "only authorization_code")
            grant = self._redeem(client, form)
        except AuthorizationError as error:
            return error.as_json()
        issuer, now = self.issuer(request), int(self._now())
        return JSONResponse(
            {
                "access_token": access_token(self.keys, issuer, grant, now),
                "id_token": id_token(self.keys, issuer, grant, now, lean=self._lean_id_token),
                "token_type": "Bearer",
                "expires_in": TOKEN_SECONDS,
                "scope": grant.scope,
            },
            headers=NO_STORE,
        )

    def _authenticate(self, request: Request, form: Mapping[str, str]) -> Client:
        client_id, secret = form.get("client_id", ""), form.get("client_secret", "")
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            client_id, secret = _basic_credentials(credentials)
        client = self._clients.get(client_id)
        if client is None or not hmac.compare_digest((client.secret or "").encode(), secret.encode()):
            raise AuthorizationError("invalid_client", "unknown client or wrong secret", 401)
        return client

    def _redeem(self, client: Client, form: Mapping[str, str]) -> Grant:
        # Popped before it is looked at: a code that was tried with the wrong proof is burnt.
        grant = self._grants.pop(form.get("code", ""), None)
        if grant is None or self._now() >= grant.signed_in_at + CODE_SECONDS:
            raise AuthorizationError("invalid_grant", "the code is unknown, used or expired")
        if grant.client_id != client.client_id or grant.redirect_uri != form.get("redirect_uri"):
            raise AuthorizationError("invalid_grant", "the code was given to another client or return address")
        verifier = form.get("code_verifier", "")
        digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
        if not VERIFIER.fullmatch(verifier) or not hmac.compare_digest(digest, grant.challenge.encode()):
            raise AuthorizationError("invalid_grant", "the code verifier does not match")
        return grant

    async def userinfo(self, request: Request) -> Response:
        claims = self._claims_of_bearer(request)
        people = {subject(person): person for person in self._people.values()}
        person = people.get(claims.get("sub", ""))
        if person is None:
            return Response(status_code=401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
        return JSONResponse(person_claims(person), headers=NO_STORE)

    def _claims_of_bearer(self, request: Request) -> dict[str, Any]:
        """The claims of a live access token of ours, else nothing."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        try:
            claims = self.keys.claims(token) if scheme.lower() == "bearer" else {}
        except (JoseError, ValueError):
            return {}
        live = "client_id" in claims and self._now() < claims["exp"]  # which ID tokens have not
        return claims if live and claims["sid"] not in self._ended else {}

    async def end_session(self, request: Request) -> Response:
        """Ends the login named by `id_token_hint`, and goes back where the application may be sent."""
        body = await request.body() if request.method == "POST" else b""
        asked = {**request.query_params, **dict(parse_qsl(body.decode("utf-8", "replace")))}
        try:
            hint = self.keys.claims(asked["id_token_hint"])
        except (KeyError, JoseError, ValueError):
            hint = {}
        self._ended |= {hint["sid"]} if "sid" in hint else set()
        client = self._clients.get(asked.get("client_id") or hint.get("aud", ""))
        back = asked.get("post_logout_redirect_uri", "")
        if client is None or not client.may_redirect_to(back):
            return signed_out()
        return _redirect(back, {"state": asked["state"]} if "state" in asked else {})


def _check_authorization(asked: Mapping[str, str]) -> None:
    """Raises what RFC 6749 and 7636 call the fault; the return address is known to be good."""
    if asked.get("response_type") != "code":
        raise AuthorizationError("unsupported_response_type", "only code")
    if "openid" not in asked.get("scope", "").split():
        raise AuthorizationError("invalid_scope", "openid is missing")
    if asked.get("code_challenge_method") != "S256" or not CHALLENGE.fullmatch(asked.get("code_challenge", "")):
        raise AuthorizationError("invalid_request", "PKCE with S256 is required")


def _basic_credentials(encoded: str) -> tuple[str, str]:
    """Client id and secret, each form-encoded inside (RFC 6749, 2.3.1); nothing where they cannot be read."""
    try:
        client_id, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return unquote_plus(client_id), unquote_plus(secret)


def _redirect(uri: str, parameters: Mapping[str, str]) -> RedirectResponse:
    joint = "&" if urlsplit(uri).query else "?"
    return RedirectResponse(f"{uri}{joint}{urlencode(parameters)}" if parameters else uri, 302, NO_STORE)


def create_identity_provider(
    *,
    issuer: str | None = None,
    key_file: Path | None = None,
    people: Iterable[Person] = (*PEOPLE, *crowd(500)),
    clients: Iterable[Client] = DEMO_CLIENTS,
    lean_id_token: bool = False,
    now: Callable[[], float] = time.time,
) -> Starlette:
    """The provider as an application. Without `issuer` it goes by the address that it is asked at.

    `lean_id_token` leaves the person's claims to UserInfo and the access token. The provider itself is at
    `app.state.provider`, for tests that rotate its key.
    """
    provider = IdentityProvider(issuer, SigningKeys(key_file), people, clients, now, lean_id_token)
    app = Starlette(routes=provider.routes())
    app.state.provider = provider
    return app
