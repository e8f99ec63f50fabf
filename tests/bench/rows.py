"""The rows of the table: what is asked of the server, and what it may cost (design: hot paths).

A row is a plug-in: `prepare` is given the running server, makes what it needs there (people, tokens, jobs) and
returns the talk of each connection. To add one, write a function `prepare(server) -> Talk` and enter it in ROWS.
"""

import asyncio
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import urlencode

from tests.bench.load import Conversation, Failed, Load, Response, Talk, request
from tests.bench.people import FORM, log_in
from tests.bench.server import CLIENT, CLIENT_SECRET, Server
from tests.bench.world import ELEMENT, PILOTS, SITE, bound_pilots, pilot_tokens

CONNECTIONS = 32
BULK = 1000
JSON = "application/json"
OK, CREATED = frozenset({200}), frozenset({201})


@dataclass(frozen=True, slots=True)
class Row:
    """A kind of request. goal, stretch and limit are ratios to R; `units` divides a request that does many things."""

    name: str
    prepare: Callable[[Server], Talk]
    goal: float | None = None
    stretch: float | None = None
    limit: float | None = None
    expect: frozenset[int] = OK
    connections: int = CONNECTIONS
    units: int = 1


def repeat(data: bytes) -> Talk:
    """Every connection sends the same request for ever."""

    def talk(_number: int) -> Conversation:
        while True:
            yield data

    return talk


def once(requests: Iterable[bytes], keep: Callable[[Response], None] = lambda _: None) -> Talk:
    """The connections share out a list of requests; `keep` is given every response."""
    left = iter(requests)

    def talk(_number: int) -> Conversation:
        for data in left:
            keep((yield data))

    return talk


def ask(server: Server, requests: Iterable[bytes], expect: frozenset[int] = OK) -> list[bytes]:
    """The bodies of the responses to a list of requests, in the order they came. Errors: Failed."""
    bodies: list[bytes] = []

    async def go() -> None:
        work = Load(
            server, once(requests, lambda response: bodies.append(response.body)), expect, CONNECTIONS
        )
        try:
            await work.open()
            await work.run(60)
        finally:
            work.close()

    asyncio.run(go())
    return bodies


def userinfo(server: Server) -> Talk:
    """A person's program asks who it is; the token was seen before."""
    return repeat(request("GET", "/auth/userinfo", token=log_in(server)["access_token"]))


def job(number: int) -> dict[str, object]:
    """A job of a parameter sweep, as `dsub` writes it."""
    return {
        "executable": "/cvmfs/experiment.org/bin/simulate",
        "arguments": f"--events 1000 --seed {number}",
        "name": f"sweep_{number}",
        "job_group": "sweep",
        "cpu_time": 86400,
        "priority": 5,
        "environment": {"OMP_NUM_THREADS": "1"},
        "output_sandbox": ["std.out", "std.err", "histograms.root"],
    }


def submission(token: str, jobs: int) -> bytes:
    """A request that submits so many jobs."""
    body = json.dumps({"jobs": [job(number) for number in range(jobs)]}).encode()
    return request("POST", "/api/jobs", body, token=token, content_type=JSON)


def job_status(server: Server) -> Talk:
    """A person looks at one job."""
    token = log_in(server)["access_token"]
    [body] = ask(server, [submission(token, 1)], CREATED)
    [number] = json.loads(body)["ids"]
    return repeat(request("GET", f"/api/jobs/{number}", token=token))


def refresh(server: Server) -> Talk:
    """Every connection is a login of its own and follows its token from one to the next."""
    first = [log_in(server)["refresh_token"] for _ in range(CONNECTIONS)]

    def talk(number: int) -> Conversation:
        token = first[number]
        while True:
            form = {
                "grant_type": "refresh_token",
                "refresh_token": token,
                "client_id": CLIENT,
                "client_secret": CLIENT_SECRET,
            }
            response = yield request("POST", "/auth/token", urlencode(form).encode(), content_type=FORM)
            token = json.loads(response.body)["refresh_token"]

    return talk


def form(path: str, **said: str) -> bytes:
    """The client posts a form."""
    body = urlencode({**said, "client_id": CLIENT, "client_secret": CLIENT_SECRET})
    return request("POST", path, body.encode(), content_type=FORM)


def exchange(server: Server) -> Talk:
    """A service narrows a person's token for the next service; recorded, signed, never stored."""
    kind = "urn:ietf:params:oauth:token-type:access_token"
    return repeat(
        form(
            "/auth/token",
            grant_type="urn:ietf:params:oauth:grant-type:token-exchange",
            subject_token=log_in(server)["access_token"],
            subject_token_type=kind,
        )
    )


def credentials(_server: Server) -> Talk:
    """A service asks for a token of its own."""
    return repeat(form("/auth/token", grant_type="client_credentials", scope="compute.read"))


def introspect(server: Server) -> Talk:
    """A resource asks about a token that it asked about before."""
    return repeat(form("/auth/introspect", token=log_in(server)["access_token"]))


def submit(server: Server) -> Talk:
    """One job in a request."""
    return repeat(submission(log_in(server)["access_token"], 1))


def bulk(server: Server) -> Talk:
    """A thousand jobs in a request."""
    return repeat(submission(log_in(server)["access_token"], BULK))


OFFER = json.dumps({"site": SITE, "ce": ELEMENT, "tags": [], "cpu_time": 86400, "number_of_processors": 1})
RUNS = 16  # jobs that each connection reports on
FOR_RUNS = range(CONNECTIONS * RUNS)
FOR_MATCHES = range(len(FOR_RUNS), 2 * PILOTS // 3)
FOR_BOUND_MATCHES = range(2 * PILOTS // 3, PILOTS)
PROOFS = 16  # that each of the pilots makes who ask who they are


def offers(server: Server, pilots: range) -> list[bytes]:
    """A request for work from each of these pilots."""
    return [
        request("POST", "/api/pilots/match", OFFER.encode(), token=token, content_type=JSON)
        for token in pilot_tokens(server.config, pilots)
    ]


def heartbeat(server: Server) -> Talk:
    """Each connection reports in turn on runs that pilots were given; no credential is due for renewal."""
    given = [json.loads(body) for body in ask(server, offers(server, FOR_RUNS))]
    if len(given) != len(FOR_RUNS):
        raise Failed("not every pilot was given a job")
    said = json.dumps({"application_status": "event 500 of 1000"}).encode()
    beats = [
        request("POST", f"/api/jobs/{g['job_id']}/heartbeat", said, token=g["token"], content_type=JSON)
        for g in given
    ]

    def talk(number: int) -> Conversation:
        while True:
            for beat in beats[number * RUNS : (number + 1) * RUNS]:
                _ = yield beat  # not `yield from`: responses are sent in

    return talk


def match(server: Server) -> Talk:
    """Each request is a pilot of its own that asks for its one job; its token was seen in the last minute."""
    tokens = pilot_tokens(server.config, FOR_MATCHES)
    ask(server, [request("GET", "/auth/userinfo", token=token) for token in tokens])
    return once(
        [
            request("POST", "/api/pilots/match", OFFER.encode(), token=token, content_type=JSON)
            for token in tokens
        ]
    )


def userinfo_bound(server: Server) -> Talk:
    """The same as `userinfo` with tokens that are bound to keys: each request brings a proof of its own."""
    address = f"{server.base}/auth/userinfo"
    asked = [
        request("GET", "/auth/userinfo", token=token, proof=prover.proof("GET", address, token))
        for token, prover in bound_pilots(server.config, range(1024))
        for _ in range(PROOFS)
    ]
    ask(server, asked[::PROOFS])
    return once(one for number, one in enumerate(asked) if number % PROOFS)


def match_bound(server: Server) -> Talk:
    """The same as `match` with tokens that are bound to keys, as pilots have them."""
    pilots = bound_pilots(server.config, FOR_BOUND_MATCHES)
    known, path = f"{server.base}/auth/userinfo", "/api/pilots/match"
    ask(
        server, [request("GET", "/auth/userinfo", token=t, proof=p.proof("GET", known, t)) for t, p in pilots]
    )
    address = server.base + path
    return once(
        [
            request(
                "POST",
                path,
                OFFER.encode(),
                token=token,
                proof=prover.proof("POST", address, token),
                content_type=JSON,
            )
            for token, prover in pilots
        ]
    )


HELLO = Row("hello", lambda _server: repeat(request("GET", "/")))

# Rows that are measured on `gatehouse serve`, in the order of the table.
ROWS: tuple[Row, ...] = (
    Row("userinfo", userinfo, 3, 2.3, 1.4),
    Row("userinfo_bound", userinfo_bound),
    Row("job_status", job_status, 3, 2.3, 1.4),
    Row("refresh", refresh, 12, 8, 4.4),
    Row("exchange", exchange, 9, 6, 3),
    Row("credentials", credentials, 9, 6, 3),
    Row("introspect", introspect, 3.5, 2.5, 1.5),
    Row("match", match, 6, 3.5, 2.2),
    Row("match_bound", match_bound),
    Row("heartbeat", heartbeat, 8, 5),
    Row("submit", submit, 10, 6, expect=CREATED),
    Row("bulk", bulk, 0.5, 0.3, 0.2, expect=CREATED, connections=8, units=BULK),
)
