"""An OAuth 2.0 issuer on this machine, which signs JSON Web Tokens for one client (client credentials grant)."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from metroline.app.local.ports import HOST
from tests.support.brokers import run

CLIENT, SECRET = "line-worker", "open-sesame"
SCOPE = "kafka"
LIFETIME_SECONDS = 30


@dataclass
class Issuer:
    """An issuer with a token endpoint (HTTPS), and a key set (HTTP) against which brokers check its tokens."""

    folder: Path
    token_url: str = ""
    keys_url: str = ""
    is_strange: bool = False
    """True if the tokens that are issued from now on are not signed with the key that brokers know."""
    lifetime: int = LIFETIME_SECONDS
    """The lifetime of tokens that are issued from now on, in seconds."""
    secret: str = SECRET
    """The secret of the client."""
    is_away: bool = False
    """True if the token endpoint answers that it is not available (503)."""
    issued: list[str] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    """The status of each answer without a token."""

    @property
    def certificate(self) -> Path:
        """The certificate of the token endpoint, in PEM form; it signed itself."""
        return self.folder / "issuer.crt"

    @property
    def key(self) -> Path:
        """The private key of that certificate, which signs the tokens, too."""
        return self.folder / "issuer.key"

    def token(self) -> dict[str, Any]:
        """Return the answer of the token endpoint to its client (RFC 6749, 5.1)."""
        now = int(time.time())
        claims = {
            "iss": self.token_url,
            "sub": CLIENT,
            "scope": SCOPE,
            "iat": now,
            "exp": now + self.lifetime,
        }
        parts = [_base64(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": "key", "typ": "JWT"}, claims)]
        sign = ["openssl", "dgst", "-sha256", "-sign", str(self.key)]
        signature = subprocess.run(sign, input=".".join(parts).encode(), capture_output=True, check=True).stdout
        self.issued.append(".".join([*parts, _base64(signature[::-1] if self.is_strange else signature)]))
        return {"access_token": self.issued[-1], "token_type": "Bearer", "expires_in": self.lifetime}

    def keys(self) -> dict[str, Any]:
        """Return the key set (RFC 7517)."""
        shown = ["openssl", "rsa", "-in", str(self.key), "-noout", "-modulus"]
        modulus = subprocess.run(shown, capture_output=True, text=True, check=True).stdout.strip().partition("=")[2]
        key = {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "key", "e": "AQAB"}
        return {"keys": [key | {"n": _base64(bytes.fromhex(modulus))}]}


@contextmanager
def running_issuer(folder: Path) -> Iterator[Issuer]:
    """Run an issuer on free ports, with its files in a folder. openssl must be installed."""
    issuer = Issuer(folder)
    words = f"req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=issuer -addext subjectAltName=IP:{HOST}".split()
    run(["openssl", *words, "-keyout", str(issuer.key), "-out", str(issuer.certificate)])
    with ExitStack() as stack:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(issuer.certificate, issuer.key)
        issuer.token_url = f"https://{HOST}:{stack.enter_context(_serving(issuer, tls))}/token"
        issuer.keys_url = f"http://{HOST}:{stack.enter_context(_serving(issuer, None))}/keys"
        yield issuer


@contextmanager
def _serving(issuer: Issuer, tls: ssl.SSLContext | None) -> Iterator[int]:
    """Answer requests to an issuer on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(200, issuer.keys())

        def do_POST(self) -> None:
            asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            login = "Basic " + base64.b64encode(f"{CLIENT}:{issuer.secret}".encode()).decode()
            if issuer.is_away:
                self.answer(503, {"error": "temporarily_unavailable"})
            elif self.headers["Authorization"] != login:
                self.answer(401, {"error": "invalid_client", "error_description": "unknown client or wrong secret"})
            elif asked != {"grant_type": ["client_credentials"], "scope": [SCOPE]}:
                self.answer(400, {"error": "invalid_scope"})
            else:
                self.answer(200, issuer.token())

        def answer(self, status: int, body: dict[str, Any]) -> None:
            if status != 200:
                issuer.refused.append(status)
            encoded = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(encoded)))
            self.end_headers()
            self.wfile.write(encoded)

        def log_message(self, format: str, *args: Any) -> None:
            """Log nothing."""

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def _base64(data: bytes) -> str:
    """Return data in the base64 of JSON Web Tokens, for URLs and without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
