"""A provider over real HTTP, and the steps of a login that tests walk by hand."""

import base64
import hashlib
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from starlette.types import ASGIApp

CALLBACK = "http://127.0.0.1:4711/callback"


class MovableClock:
    """Real time, plus what the test added."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@contextmanager
def served(app: ASGIApp, **more: Any) -> Iterator[str]:
    """The application's address while it runs in a thread on a free port."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off", **more))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.005)
    try:
        host, port = server.servers[0].sockets[0].getsockname()
        yield f"{'https' if server.config.is_ssl else 'http'}://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join(5)


@contextmanager
def served_afar(app: ASGIApp, directory: Path) -> Iterator[str]:
    """Over https, which clients made meanwhile trust, and at an address that counts as another machine's."""
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    _certify("127.0.0.2", certificate, key)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SSL_CERT_FILE", str(certificate))
        with served(app, host="127.0.0.2", ssl_certfile=str(certificate), ssl_keyfile=str(key)) as url:
            yield url


def _certify(address: str, certificate: Path, key: Path) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, address)]), datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
    certificate.write_bytes(made.sign(private, hashes.SHA256()).public_bytes(Encoding.PEM))
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def new_verifier() -> tuple[str, str]:
    """A PKCE verifier and its S256 challenge."""
    verifier = secrets.token_urlsafe(48)
    return verifier, base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def query_of(response: httpx2.Response) -> dict[str, str]:
    """The parameters of the address a redirect goes to."""
    return dict(parse_qsl(urlsplit(response.headers["location"]).query))


def authorization(challenge: str, login: str = "kari", **changes: str | None) -> dict[str, str]:
    asked = {
        "response_type": "code",
        "client_id": "itb-app",
        "redirect_uri": CALLBACK,
        "scope": "openid profile",
        "state": "s1",
        "nonce": "n1",
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        "login_hint": login,
    }
    return {name: value for name, value in {**asked, **changes}.items() if value is not None}


def redeem(code: str, verifier: str, **changes: str) -> dict[str, str]:
    form = {"grant_type": "authorization_code", "code": code, "code_verifier": verifier}
    return {**form, "client_id": "itb-app", "redirect_uri": CALLBACK, **changes}


async def tokens_of(issuer: str, login: str = "kari", **asked: str) -> dict[str, Any]:
    """What a mobile app gets when that person logs in."""
    verifier, challenge = new_verifier()
    async with httpx2.AsyncClient(base_url=issuer) as app:
        back = await app.get("/authorize", params=authorization(challenge, login, **asked))
        answer = await app.post("/token", data=redeem(query_of(back)["code"], verifier))
    assert answer.status_code == 200, answer.text
    tokens: dict[str, Any] = answer.json()
    return tokens
