"""An API behind the gateway that says who is calling. It needs PyJWT and cryptography.

JWKS_URL=https://api.example.com/.well-known/api-keys/jwks.json AUDIENCE=contacts LISTEN=127.0.0.1:9000 python3 upstream.py
"""

import json
import os
import threading
import time
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt


class Refused(Exception):
    """The request does not prove that it came through the gateway: 401."""


class Keys:
    """The gateway's public keys. OSError: they cannot be fetched, 503."""

    def __init__(self, url):
        self.url, self.lock = url, threading.Lock()
        self.known, self.tried = ({}, -1e9), -1e9  # (keys, when they were fetched)

    def key(self, kid):
        keys, fetched = self.known
        if kid in keys and time.monotonic() - fetched < 300:
            return keys[kid]
        with self.lock:  # one fetch for all who wait
            now = time.monotonic()
            if now - self.tried >= 10:  # PyJWKClient would fetch for every id that somebody invents
                self.tried = now
                self.known = self.fetch(), now
            keys, fetched = self.known
            if now - fetched >= 300:
                raise OSError("the gateway's keys are unavailable")
            return keys.get(kid)

    def fetch(self):
        opener = urllib.request.build_opener(NoRedirects)
        try:
            with opener.open(self.url, timeout=5) as response:
                jwks = json.loads(response.read(65536))
            return {k["kid"]: jwt.PyJWK(k).key for k in jwks["keys"] if k.get("crv") == "Ed25519"}
        except Exception as error:
            raise OSError(f"fetching the gateway's keys: {error}") from error


class NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


class Verifier:
    def __init__(self, jwks_url, audience):
        self.keys, self.audience = Keys(jwks_url), audience
        self.issuer = "{0.scheme}://{0.netloc}".format(urllib.parse.urlsplit(jwks_url))

    def caller(self, assertions, method, target):
        """Returns the claims of a request with these X-API-Key-Assertion headers."""
        if len(assertions) != 1:
            raise Refused("there is not exactly one assertion")
        try:
            header = jwt.get_unverified_header(assertions[0])
            if header.get("typ") != "api-key+jwt" or "crit" in header:
                raise Refused("it is not an assertion")
            key = self.keys.key(header.get("kid"))
            if key is None:
                raise Refused("its key is unknown")
            claims = jwt.decode(
                assertions[0],
                key,
                algorithms=["EdDSA"],
                issuer=self.issuer,
                audience=self.audience,
                leeway=5,
                options={"require": ["iss", "aud", "iat", "exp", "sub", "workspace_id", "access"]},
            )
        except (jwt.PyJWTError, TypeError, ValueError) as error:
            raise Refused(type(error).__name__) from None
        if claims["exp"] - claims["iat"] > 60:
            raise Refused("it is valid for too long")
        path = target.partition("?")[0]
        if claims.get("method", method) != method or claims.get("path", path) != path:
            raise Refused("it is for another request")
        return claims


verifier = Verifier(os.environ["JWKS_URL"], os.environ["AUDIENCE"])


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            claims = verifier.caller(self.headers.get_all("X-API-Key-Assertion", []), self.command, self.path)
        except Refused:
            return self.answer(401, {"error": "Unauthorized."})
        except OSError:
            return self.answer(503, {"error": "Service Unavailable."})
        self.answer(200, {"workspace": claims["workspace_id"], "key": claims["sub"], "access": claims["access"]})

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


if __name__ == "__main__":
    host, port = os.environ["LISTEN"].split(":")
    server = ThreadingHTTPServer((host, int(port)), Handler)
    print(f"listening on http://{host}:{server.server_port}", flush=True)
    server.serve_forever()
