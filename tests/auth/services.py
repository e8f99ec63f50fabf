"""Services as clients: what they are registered for, and how they ask for, about, and with tokens."""

from typing import Any

import httpx
import jwt

from tests.auth.kit import post
from tests.service import Service

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS = "urn:ietf:params:oauth:token-type:access_token"
STORAGE = "https://storage.example.org"
SERVICES = """
[[clients]]
client_id = "transfer"
name = "File transfer service"
client_secret = "transfer secret"
grant_types = ["client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange"]
scopes = ["storage.read:/data", "compute.read"]
audiences = ["https://storage.example.org"]

[[clients]]
client_id = "storage"
client_secret = "storage secret"
grant_types = []
resources = ["https://storage.example.org"]

[[clients]]
client_id = "guessed"
client_secret = "guessed secret"
grant_types = ["client_credentials"]

[[clients]]
client_id = "api"
client_secret = "api secret"
grant_types = ["urn:ietf:params:oauth:grant-type:token-exchange"]
"""


def claims(token: str) -> dict[str, Any]:
    """What a token says."""
    said: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return said


def own(service: Service, **form: str) -> httpx.Response:
    """The transfer service asks for a token of its own."""
    return post(
        service,
        "token",
        grant_type="client_credentials",
        client_id="transfer",
        client_secret="transfer secret",
        **form,
    )


def ask(service: Service, token: str, client: str = "storage", **form: str) -> httpx.Response:
    """A resource asks about a token."""
    said = {"client_id": client, "client_secret": f"{client} secret", "token": token, **form}
    return post(service, "introspect", **said)


def trade(service: Service, token: str, client: str = "api", **form: str) -> httpx.Response:
    """A service exchanges a token."""
    said = {
        "grant_type": EXCHANGE,
        "client_id": client,
        "client_secret": f"{client} secret",
        "subject_token": token,
        "subject_token_type": ACCESS,
        **form,
    }
    return post(service, "token", **{name: value for name, value in said.items() if value})
