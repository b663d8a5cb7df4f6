"""Every ID token that must not count, and a provider that is not to be believed."""

from __future__ import annotations

import base64
import hmac
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from joserfc.jws import JWSRegistry
from joserfc.registry import HeaderParameter

from portal import app
from portal.errors import OpenIdRefused, OpenIdUnavailable
from portal.openid import Attempt, OpenIdClient, Provider, role_of

ROLES = (("radmeter-admins", "admin"), ("doctors", "radiologist"))
ISSUER = "https://id.hospital.test"
KEY = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})
STRANGER = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})
NOW = 1_800_000_000
PROVIDER = Provider(
    tenant="alpha", issuer=ISSUER, client_id="radmeter", client_secret=None, public_url="https://portal.test",
    label="x", scopes="openid", name_claim="preferred_username", groups_claim="groups", roles=ROLES,
    algorithms=("RS256",), clock_skew_s=60,
)  # fmt: skip


class Network:
    """The provider as httpx sees it. metadata: what it says otherwise."""

    def __init__(self, **metadata: Any) -> None:
        self.metadata = metadata
        self.keys = [KEY]
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(str(request.url))
        if request.url.path == "/keys":
            return httpx.Response(200, json={"keys": [key.as_dict(private=False) for key in self.keys]})
        names = {"authorization_endpoint": "/a", "token_endpoint": "/t", "jwks_uri": "/keys"}
        found = {name: ISSUER + path for name, path in names.items()} | {"issuer": ISSUER} | self.metadata
        return httpx.Response(200, json=found)


def client_of(network: Network) -> OpenIdClient:
    return OpenIdClient(clock=lambda: NOW, transport=httpx.MockTransport(network))


def token(
    key: Any = KEY, algorithm: str = "RS256", header: dict[str, Any] | None = None, **claims: Any
) -> str:
    values = {
        "iss": ISSUER, "sub": "s-1", "aud": "radmeter", "exp": NOW + 300, "iat": NOW, "nonce": "n", **claims,
    }  # fmt: skip
    kept = {name: value for name, value in values.items() if value is not None}
    wild = JWSRegistry({"x": HeaderParameter("of no standard", "int")}, [algorithm])
    return jwt.encode({"alg": algorithm, "kid": "one", **(header or {})}, kept, key, registry=wild)


def plain(*parts: dict[str, Any]) -> str:
    return ".".join(base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=").decode() for one in parts)


def unsigned(claims: dict[str, Any], **header: Any) -> str:
    return plain({"alg": "none", **header}, claims) + "."


def signed_with_the_public_key(claims: dict[str, Any]) -> str:
    """What a server believes that takes any algorithm: the key that everybody knows as a shared secret."""
    text = plain({"alg": "HS256", "kid": "one"}, claims)
    made = hmac.digest(KEY.as_pem(private=False), text.encode(), "sha256")
    return f"{text}.{base64.urlsafe_b64encode(made).rstrip(b'=').decode()}"


def signed_with(key_id: str, secret: bytes) -> str:
    """By HS256, with what a careless server would find under the name of the key."""
    text = plain({"alg": "HS256", "kid": key_id}, RIGHT)
    made = hmac.digest(secret, text.encode(), "sha256")
    return f"{text}.{base64.urlsafe_b64encode(made).rstrip(b'=').decode()}"


STYLE = Path(app.__file__).parent / "static/style.css"
RIGHT = {"iss": ISSUER, "sub": "s-1", "aud": "radmeter", "exp": NOW + 300, "iat": NOW, "nonce": "n"}
WRONG = {
    "signed by a stranger": lambda: token(STRANGER),
    "no signature": lambda: unsigned(RIGHT),
    "no signature, spelled otherwise": lambda: unsigned(RIGHT, alg="NONE"),
    "the public key as a shared secret": lambda: signed_with_the_public_key(RIGHT),
    "an algorithm that is not allowed": lambda: token(KEY, "RS512"),
    "brings its own key": lambda: token(STRANGER, header={"jwk": STRANGER.as_dict(private=False)}),
    "a critical header that nobody knows": lambda: token(header={"crit": ["x"], "x": 1}),
    "names a file as its key": lambda: signed_with("../../../../dev/null", b""),
    "names a file of ours as its key": lambda: signed_with("../portal/static/style.css", STYLE.read_bytes()),
    "names an address as its key": lambda: signed_with("https://evil.test/keys", b"known"),
    "asks the database for its key": lambda: signed_with("x' UNION SELECT 'known", b"known"),
    "says where its key lies": lambda: token(STRANGER, header={"jku": "https://evil.test/keys"}),
    "says where its certificate lies": lambda: token(STRANGER, header={"x5u": "https://evil.test/c"}),
    "expired": lambda: token(exp=NOW - 61),
    "without an end": lambda: token(exp=None),
    "an end that is no number": lambda: token(exp="2099-01-01"),
    "from the future": lambda: token(iat=NOW + 61),
    "not yet": lambda: token(nbf=NOW + 61),
    "another issuer": lambda: token(iss=ISSUER + "/"),
    "without an issuer": lambda: token(iss=None),
    "another audience": lambda: token(aud="other"),
    "other audiences": lambda: token(aud=["other", "another"]),
    "without an audience": lambda: token(aud=None),
    "for another party": lambda: token(aud=["radmeter", "other"], azp="other"),
    "another nonce": lambda: token(nonce="m"),
    "without a nonce": lambda: token(nonce=None),
    "of nobody": lambda: token(sub=None),
    "of an empty name": lambda: token(sub=""),
    "of a name that is no text": lambda: token(sub=7),
    "changed afterwards": lambda: token()[:-4] + "AAAA",
    "cut": lambda: token().rsplit(".", 1)[0],
    "nonsense": lambda: "nonsense",
    "empty": lambda: "",
    "not ASCII": lambda: "é.é.é",
}


class TestToken:
    @pytest.mark.parametrize("claims", [{}, {"aud": ["radmeter"]}, {"exp": NOW - 30}, {"iat": NOW + 30}])
    def test_a_right_token_counts_with_clocks_a_little_apart(self, claims: dict[str, Any]) -> None:
        assert client_of(Network()).verified(PROVIDER, token(**claims), "n")["sub"] == "s-1"

    @pytest.mark.parametrize("what", WRONG)
    def test_a_token_that_is_wrong_in_one_respect_does_not(self, what: str) -> None:
        network = Network()
        with pytest.raises(OpenIdRefused):
            client_of(network).verified(PROVIDER, WRONG[what](), "n")
        assert {urlsplit(address).hostname for address in network.asked} <= {"id.hospital.test"}

    def test_the_allow_list_holds_even_where_settings_ask_for_less(self) -> None:
        careless = replace(PROVIDER, algorithms=("none", "HS256"))
        for one in (unsigned(RIGHT), signed_with_the_public_key(RIGHT)):
            with pytest.raises(OpenIdRefused):
                client_of(Network()).verified(careless, one, "n")

    def test_a_new_key_is_fetched_when_a_token_names_it_and_not_more_than_once_a_minute(self) -> None:
        network, now = Network(), [float(NOW)]
        client = OpenIdClient(clock=lambda: now[0], transport=httpx.MockTransport(network))
        client.verified(PROVIDER, token(), "n")
        fresh = ECKey.generate_key("P-256", {"kid": "two", "use": "sig"})
        network.keys.append(fresh)
        allowing = replace(PROVIDER, algorithms=("RS256", "ES256"))
        for _ in range(5):
            with pytest.raises(OpenIdRefused):
                client.verified(allowing, token(fresh, "ES256", {"kid": "two"}), "n")
        assert network.asked.count(ISSUER + "/keys") == 1
        now[0] += 61
        assert client.verified(allowing, token(fresh, "ES256", {"kid": "two"}), "n")["sub"] == "s-1"
        assert network.asked.count(ISSUER + "/keys") == 2

    @pytest.mark.parametrize(
        "metadata",
        [
            {"issuer": "https://evil.test"}, {"token_endpoint": "http://id.hospital.test/t"}, {"jwks_uri": ""},
            {"jwks_uri": ["x"]}, {"authorization_endpoint": "javascript:alert(1)"},
            {"end_session_endpoint": "http://evil.test"}, {"jwks_uri": "https://user@evil.test/"},
        ],
    )  # fmt: skip
    def test_a_provider_that_contradicts_itself_is_not_believed(self, metadata: dict[str, Any]) -> None:
        with pytest.raises(OpenIdUnavailable):
            client_of(Network(**metadata)).way_out(PROVIDER, Attempt.new())

    def test_an_answer_without_an_end_is_not_read_to_the_end(self) -> None:
        def flood(_request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, content=(b"x" * 65536 for _ in range(10**6)))

        client = OpenIdClient(transport=httpx.MockTransport(flood))
        begun = time.monotonic()
        with pytest.raises(OpenIdUnavailable):
            client.metadata(PROVIDER)
        assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"groups": ["doctors"]}, "radiologist"), ({"groups": ["doctors", "radmeter-admins"]}, "admin"),
        ({"groups": "doctors"}, "radiologist"), ({"groups": []}, None), ({}, None), ({"groups": {"doctors": 1}}, None),
        ({"groups": ["Doctors"]}, None), ({"groups": [["doctors"]]}, None), ({"groups": None}, None),
    ],
)  # fmt: skip
def test_the_first_mapping_that_fits_gives_the_role(claims: dict[str, Any], role: str | None) -> None:
    assert role_of(PROVIDER, claims) == role
