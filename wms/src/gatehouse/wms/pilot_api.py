"""What pilots call: match with the pilot's token, everything about the job with the job's credential."""

import random
from collections.abc import Callable

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import Response
from msgspec import Raw, Struct

from gatehouse.registry.clock import Clock
from gatehouse.registry.database import Database, Tx
from gatehouse.registry.errors import Problem
from gatehouse.registry.settings import Lifetimes
from gatehouse.tokenmanager import gate
from gatehouse.tokenmanager.describe import describe
from gatehouse.tokenmanager.gate import allow, principal_of, route
from gatehouse.tokenmanager.issue import Mint
from gatehouse.tokenmanager.principal import Principal
from gatehouse.wms import claims, intake, matcher, owners, pilots, runs, sandboxes, shapes
from gatehouse.wms.claims import Owner
from gatehouse.wms.states import PilotStatus
from gatehouse.wms.views import encode

_OFFER = msgspec.json.Decoder(intake.Offer)
_BEAT = msgspec.json.Decoder(intake.Beat)
_REPORT = msgspec.json.Decoder(intake.Report)
_PILOT_REPORT = msgspec.json.Decoder(intake.PilotReport)


class _Inputs(Struct):
    input_sandbox: list[str] = []


_INPUTS = msgspec.json.Decoder(_Inputs)


class Given(Struct, frozen=True):
    """A job given to a pilot, with the credential for it."""

    job_id: int
    attempt: int
    token: str
    expires_in: int
    job: Raw
    input_sandboxes: list[str]


class PilotApi:
    """The routes for pilots and the runs of jobs."""

    def __init__(
        self,
        database: Database,
        mint: Mint,
        lifetimes: Lifetimes,
        clock: Clock,
        wake: Callable[[], None],
        draw: random.Random,
    ) -> None:
        self._database = database
        self._mint = mint
        self._lifetime = lifetimes.job_token
        self._clock = clock
        self._wake = wake
        self._draw = draw

    def hot(self) -> list[gate.GatedRoute]:
        """The plain routes."""
        return [
            route("/api/pilots/match", self.match, methods=["POST"]),
            route("/api/jobs/{job_id:int}/heartbeat", self.heartbeat, methods=["POST"]),
            route("/api/jobs/{job_id:int}/status", self.status, methods=["POST"]),
        ]

    def add_to(self, api: APIRouter) -> None:
        """Add the routes that OpenAPI describes."""
        stored, status = shapes.StoredShape, shapes.StatusShape
        path = "/api/jobs/{job_id}/output"
        api.add_api_route(path, self.upload, methods=["POST"], status_code=201, response_model=stored)
        api.add_api_route("/api/pilots/status", self.pilot_status, methods=["POST"], response_model=status)

    @allow(gate.pilots(), "work")
    @describe({200: Given, 204: None}, body=intake.Offer)
    async def match(self, request: Request) -> Response:
        """One job for this pilot, or 204."""
        offer = intake.decode(_OFFER, await request.body())
        found = await matcher.match(self._database, principal_of(request), offer, self._draw)
        if found is None:
            return Response(status_code=204)
        minted = claims.credential(self._mint, found.claim, found.owner, self._lifetime)
        text = found.manifest.encode()
        given = Given(
            job_id=found.claim.job_id,
            attempt=found.claim.attempt,
            token=minted.token,
            expires_in=minted.lifetime,
            job=Raw(text),
            input_sandboxes=_INPUTS.decode(text).input_sandbox,
        )
        return _answer(given)

    @allow(gate.jobs(), "work")
    @describe({200: shapes.Go}, body=intake.Beat)
    async def heartbeat(self, request: Request) -> Response:
        """The run is alive; the answer says whether to go on, and renews the credential when it is due."""
        who = principal_of(request)
        claim = claims.of(who, request.path_params["job_id"])
        said = intake.decode(_BEAT, await request.body())
        left = who.expires_at - self._clock.now()
        renew = left < self._lifetime // 2
        owner = Owner(who.subject, who.username, who.group)

        def work(tx: Tx) -> bool:
            if renew and owners.stopped(tx, claim, owner, self._lifetime):
                return False
            return runs.beat(tx, claim, said.application_status, renewed=renew)

        if not await self._database.write(work):
            return _answer({"command": "kill", "token": None, "expires_in": left})
        if not renew:
            return _answer({"command": "continue", "token": None, "expires_in": left})
        minted = claims.credential(self._mint, claim, owner, self._lifetime)
        return _answer({"command": "continue", "token": minted.token, "expires_in": minted.lifetime})

    @allow(gate.jobs(), "work")
    @describe({200: shapes.Status}, body=intake.Report)
    async def status(self, request: Request) -> Response:
        """The run reports a change of status; 409 when it is not the job's run any more."""
        who = principal_of(request)
        claim = claims.of(who, request.path_params["job_id"])
        said = intake.decode(_REPORT, await request.body())
        now = await self._database.write(lambda tx: runs.report(tx, who, claim, said, self._lifetime))
        return _answer({"status": now})

    @allow(gate.jobs().body(sandboxes.LIMIT), "work")
    @describe({201: shapes.Stored}, body=shapes.BYTES)
    async def upload(self, request: Request, job_id: int) -> Response:
        """Hand in the output sandbox of a job, a tar.bz2 archive."""
        body = await request.body()
        stored = await sandboxes.store_output(self._database, principal_of(request), job_id, body)
        return _answer(stored._asdict(), 201)

    @allow(gate.pilots(), "work")
    @describe({200: shapes.Status}, body=intake.PilotReport)
    async def pilot_status(self, request: Request) -> Response:
        """A pilot says how it ended; a job that it still holds goes back to its queue."""
        who: Principal = principal_of(request)
        said = intake.decode(_PILOT_REPORT, await request.body())
        status = _pilot_status(said.status)
        now = await self._database.write(
            lambda tx: pilots.report(tx, who, status, said.message, self._lifetime)
        )
        self._wake()
        return _answer({"status": now})


def _pilot_status(word: str) -> PilotStatus:
    for status in (PilotStatus.DONE, PilotStatus.FAILED):
        if status == word:
            return status
    raise Problem(400, "invalid_request", "A pilot reports Done or Failed.", facts={"field": "status"})


def _answer(body: object, status: int = 200) -> Response:
    return Response(encode(body), status, media_type="application/json")
