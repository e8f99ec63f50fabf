"""A person logs in to the measured server by the device flow, approving over real HTTP."""

from urllib.parse import parse_qsl, urlsplit

import httpx

from gatehouse.cli.demo.approve import approve
from tests.bench.load import Failed
from tests.bench.server import CLIENT, CLIENT_SECRET, Server
from tests.bench.world import GROUP

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
FORM = "application/x-www-form-urlencoded"


def log_in(server: Server, username: str = "alice") -> dict[str, str]:
    """The token response of a fresh login. Errors: Failed, CommandError, httpx.HTTPError."""
    credentials = {"client_id": CLIENT, "client_secret": CLIENT_SECRET}
    with httpx.Client(base_url=server.base, timeout=10, trust_env=False) as client:
        started = client.post("/auth/device", data={**credentials, "scope": f"g:{GROUP}"})
        if started.status_code != 200:
            raise Failed(f"no login could be started: {started.text[:300]}")
        device = started.json()
        query = dict(parse_qsl(urlsplit(device["verification_uri_complete"]).query))
        approve(f"{server.base}/auth/device?user_code={query['user_code']}", username)
        grant = {"grant_type": DEVICE_GRANT, "device_code": device["device_code"]}
        answer = client.post("/auth/token", data={**credentials, **grant})
    if answer.status_code != 200:
        raise Failed(f"the login did not end in a token: {answer.text[:300]}")
    tokens: dict[str, str] = answer.json()
    return tokens
