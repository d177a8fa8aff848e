"""Asks an identity provider where its doors are, and believes only what is safe to follow."""

import httpx2

from integrations.oidc.provider import OidcSettings, is_secure

REQUIRED = ("authorization_endpoint", "token_endpoint", "jwks_uri")
OPTIONAL = ("userinfo_endpoint", "end_session_endpoint")


class BadDiscovery(ValueError):
    """The provider's description of itself is not one to act on."""


async def discover(settings: OidcSettings, http: httpx2.AsyncClient) -> dict[str, object]:
    """The provider's endpoints by name, its `issuer`, and whether it promises `iss` in answers (RFC 9207).

    Raises `httpx2.HTTPError` or `BadDiscovery`. All else in the document is dropped: Authlib hands every field to its
    HTTP client as an argument, so that a field called `verify` or `code_challenge_method` would turn our own off.
    """
    answer = await http.get(f"{settings.issuer.rstrip('/')}/.well-known/openid-configuration")
    answer.raise_for_status()
    document = _json_object(answer)
    if document.get("issuer") != settings.issuer:
        raise BadDiscovery("the document names another issuer")
    found = {name: document[name] for name in REQUIRED + OPTIONAL if document.get(name)}
    if not all(name in found for name in REQUIRED):
        raise BadDiscovery("an endpoint is missing")
    if not all(is_secure(url, settings.issuer) for url in found.values()):
        raise BadDiscovery("an endpoint is not https")
    promises_issuer = document.get("authorization_response_iss_parameter_supported") is True
    return {**found, "issuer": settings.issuer, "authorization_response_iss_parameter_supported": promises_issuer}


def _json_object(answer: httpx2.Response) -> dict[str, object]:
    try:
        document = answer.json()
    except ValueError:
        raise BadDiscovery("not JSON") from None
    if not isinstance(document, dict):
        raise BadDiscovery("not a JSON object")
    return document
