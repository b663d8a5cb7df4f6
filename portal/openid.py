"""OpenID Connect: authorization code with PKCE, state and nonce; the ID token verified by the provider's keys.

Nothing that a provider sends is taken on trust: its addresses must be its own by https, its answers are bounded, and an
ID token counts only when its signature, issuer, audience, nonce and times are right.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from portal.errors import OpenIdRefused, OpenIdUnavailable

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""What a provider may be allowed to sign with: signatures with a key pair, and nothing else."""

_BYTES_MAX = 512 * 1024
_TOKEN_LENGTH_MAX = 64 * 1024
_TIMEOUT_S = 10.0
_METADATA_GOOD_S = 3600.0
_KEYS_ANEW_S = 60.0
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Provider:
    """A tenant's provider, as the table holds it. roles: (group, role), the first that a person has counts."""

    tenant: str
    issuer: str
    client_id: str
    client_secret: str | None
    public_url: str
    label: str
    scopes: str
    name_claim: str
    groups_claim: str
    roles: tuple[tuple[str, str], ...]
    algorithms: tuple[str, ...]
    clock_skew_s: int

    @property
    def redirect_uri(self) -> str:
        return f"{self.public_url.rstrip('/')}/sign-in/openid/back"


@dataclass(frozen=True)
class Metadata:
    """What the provider says of itself."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    end_session_endpoint: str


@dataclass(frozen=True)
class Attempt:
    """What one sign-in must come back with."""

    state: str
    nonce: str
    code_verifier: str

    @classmethod
    def new(cls) -> Attempt:
        return cls(*(secrets.token_urlsafe(32) for _ in range(3)))


class OpenIdClient:
    """Talks to providers; remembers their metadata and keys for a while.

    clock: seconds since 1970. transport: of httpx, for a network of its own.
    """

    def __init__(
        self, *, clock: Callable[[], float] = time.time, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._clock = clock
        self._transport = transport
        self._lock = threading.Lock()
        self._metadata: dict[str, tuple[float, Metadata]] = {}
        self._keys: dict[str, tuple[float, KeySet]] = {}

    @cached_property
    def _http(self) -> httpx.Client:
        """Made when a provider is first asked: it reads all authorities, and most installations have no provider."""
        return httpx.Client(timeout=_TIMEOUT_S, follow_redirects=False, transport=self._transport)

    def way_out(self, provider: Provider, attempt: Attempt) -> str:
        """Where the browser goes. Raises `OpenIdUnavailable`."""
        challenge = hashlib.sha256(attempt.code_verifier.encode()).digest()
        query = {
            "response_type": "code",
            "client_id": provider.client_id,
            "redirect_uri": provider.redirect_uri,
            "scope": provider.scopes,
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": base64.urlsafe_b64encode(challenge).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        endpoint = self.metadata(provider).authorization_endpoint
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    def way_to_sign_out(self, provider: Provider) -> str:
        """Where the provider's own session ends; empty where it has no such address. Raises `OpenIdUnavailable`."""
        endpoint = self.metadata(provider).end_session_endpoint
        query = {
            "client_id": provider.client_id,
            "post_logout_redirect_uri": f"{provider.public_url.rstrip('/')}/sign-in",
        }
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}" if endpoint else ""

    def claims(self, provider: Provider, attempt: Attempt, code: str) -> dict[str, Any]:
        """Exchange the code, verify the ID token. Raises `OpenIdUnavailable`, `OpenIdRefused`."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": provider.redirect_uri,
            "code_verifier": attempt.code_verifier,
            "client_id": provider.client_id,
        }
        auth = None
        if provider.client_secret is not None:
            auth = httpx.BasicAuth(provider.client_id, provider.client_secret)
            del form["client_id"]
        answer = self._ask("POST", self.metadata(provider).token_endpoint, data=form, auth=auth)
        token = answer.get("id_token")
        if not isinstance(token, str) or len(token) > _TOKEN_LENGTH_MAX:
            raise OpenIdRefused("the provider gave no ID token")
        return self.verified(provider, token, attempt.nonce)

    def verified(self, provider: Provider, token: str, nonce: str) -> dict[str, Any]:
        """The claims of an ID token that is right in every respect. Raises `OpenIdRefused`."""
        allowed = [name for name in provider.algorithms if name in ALGORITHMS]
        try:
            decoded = jwt.decode(token, self._key_set(provider, token), algorithms=allowed)
            claims = decoded.claims
            jwt.JWTClaimsRegistry(
                now=lambda: int(self._clock()),
                leeway=provider.clock_skew_s,
                iss={"essential": True, "value": provider.issuer},
                sub={"essential": True},
                aud={"essential": True, "value": provider.client_id},
                exp={"essential": True},
                iat={"essential": True},
            ).validate(claims)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise OpenIdRefused(f"the ID token is not right: {type(error).__name__}") from None
        audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        if claims.get("azp", provider.client_id) != provider.client_id or len(audiences) > 10:
            raise OpenIdRefused("the ID token was made for another client")
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
            raise OpenIdRefused("the ID token answers another sign-in")
        if not 1 <= len(claims["sub"]) <= 255 or not claims["sub"].isprintable():
            raise OpenIdRefused("the ID token names nobody")
        return claims

    def metadata(self, provider: Provider) -> Metadata:
        """Raises `OpenIdUnavailable`."""
        with self._lock:
            known = self._metadata.get(provider.issuer)
        if known and self._clock() - known[0] < _METADATA_GOOD_S:
            return known[1]
        require_safe_address(provider.issuer)
        found = self._ask("GET", f"{provider.issuer.rstrip('/')}/.well-known/openid-configuration")
        if found.get("issuer") != provider.issuer:
            raise OpenIdUnavailable("the provider calls itself by another name")
        names = ("authorization_endpoint", "token_endpoint", "jwks_uri", "end_session_endpoint")
        values = [found.get(name, "") if isinstance(found.get(name, ""), str) else "" for name in names]
        for address in (*values[:3], *filter(None, values[3:])):
            require_safe_address(address)
        made = Metadata(*values)
        with self._lock:
            self._metadata[provider.issuer] = (self._clock(), made)
        return made

    def _key_set(self, provider: Provider, token: str) -> KeySet:
        """The provider's keys, fetched anew when the token names one that is not known, once a minute at most."""
        with self._lock:
            known = self._keys.get(provider.issuer)
        if known:
            age_s = self._clock() - known[0]
            is_fresh = age_s < _METADATA_GOOD_S and (age_s < _KEYS_ANEW_S or _has_key(known[1], token))
            if is_fresh:
                return known[1]
        found = self._ask("GET", self.metadata(provider).jwks_uri)
        keys = KeySet.import_key_set(
            {"keys": [key for key in found.get("keys", []) if key.get("use", "sig") == "sig"]}
        )
        with self._lock:
            self._keys[provider.issuer] = (self._clock(), keys)
        return keys

    def _ask(self, method: str, address: str, **values: Any) -> dict[str, Any]:
        """One request, its JSON object. Raises `OpenIdUnavailable`."""
        try:
            with self._http.stream(method, address, **values) as response:
                body = b""
                for piece in response.iter_bytes():
                    body += piece
                    if len(body) > _BYTES_MAX:
                        raise OpenIdUnavailable("the provider sends more than we take")
            if response.status_code != 200:
                raise OpenIdUnavailable(f"the provider answers {response.status_code}")
            found = json.loads(body)
        except (httpx.HTTPError, ValueError) as error:
            raise OpenIdUnavailable(f"the provider does not answer: {type(error).__name__}") from None
        if not isinstance(found, dict):
            raise OpenIdUnavailable("the provider's answer cannot be read")
        return found


def _has_key(keys: KeySet, token: str) -> bool:
    header = token.split(".", 1)[0]
    try:
        named = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4))).get("kid")
    except (ValueError, AttributeError):
        return True  # no fetch for nonsense
    return named is None or any(key.kid == named for key in keys.keys)


def require_safe_address(address: str) -> None:
    """https, or http to this machine itself. Raises `OpenIdUnavailable`."""
    try:
        parts = urlsplit(address)
        host = parts.hostname
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or parts.username is not None:
        raise OpenIdUnavailable("an address of the provider is no web address")
    if parts.scheme == "http" and host not in _LOOPBACK:
        raise OpenIdUnavailable("an address of the provider is not https")


def role_of(provider: Provider, claims: dict[str, Any]) -> str | None:
    """The role of the first mapping whose group the person is in; None if there is none."""
    value: Any = claims
    for part in provider.groups_claim.split("."):  # as in realm_access.roles
        value = value.get(part) if isinstance(value, dict) else None
    groups = {value} if isinstance(value, str) else set(value) if _is_list_of_text(value) else set()
    return next((role for group, role in provider.roles if group in groups), None)


def _is_list_of_text(value: object) -> bool:
    return isinstance(value, list) and len(value) <= 5000 and all(isinstance(one, str) for one in value)
