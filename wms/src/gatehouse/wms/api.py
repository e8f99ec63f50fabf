"""Jobs for people: the part of the HTTP interface behind a person's token (pilots' part: `pilot_api`)."""

import random
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from starlette.routing import BaseRoute

from gatehouse.registry.clock import Clock, iso
from gatehouse.registry.database import Database
from gatehouse.registry.errors import Problem
from gatehouse.registry.settings import Settings
from gatehouse.tokenmanager import gate, revoke
from gatehouse.tokenmanager.describe import describe
from gatehouse.tokenmanager.gate import KIB, GatedAPIRoute, allow, either, members, principal_of, route
from gatehouse.tokenmanager.groups import Groups
from gatehouse.tokenmanager.issue import Mint
from gatehouse.tokenmanager.revoke import Revocations
from gatehouse.wms import intake, jobs, sandboxes, shapes, submit
from gatehouse.wms.pilot_api import PilotApi
from gatehouse.wms.policy import Right
from gatehouse.wms.states import JobStatus
from gatehouse.wms.views import JobView, encode, view

MIB = 1024 * KIB
TAR = "application/x-tar"


class WmsApi:
    """All routes of the WMS. `wake` is called when jobs came in; it must not block."""

    def __init__(
        self,
        *,
        database: Database,
        mint: Mint,
        settings: Settings,
        groups: Groups,
        revoked: Revocations,
        clock: Clock,
        wake: Callable[[], None] = lambda: None,
        draw: random.Random | None = None,
    ) -> None:
        self._database = database
        self._groups = groups
        self._revoked = revoked
        self._clock = clock
        self._token_lifetime = settings.lifetimes.job_token
        self._wake = wake
        self._draw = draw or random.Random()  # noqa: S311 - fairness, not secrecy
        self._pilots = PilotApi(database, mint, settings.lifetimes, clock, wake, self._draw)

    def routes(self) -> list[BaseRoute]:
        """The routes: hot ones plain, the others described by OpenAPI."""
        api = APIRouter(route_class=GatedAPIRoute, tags=["jobs"])
        add = api.add_api_route
        add("/api/jobs", self.search, methods=["GET"], response_model=shapes.JobsShape)
        add("/api/jobs/{job_id}/log", self.log, methods=["GET"], response_model=shapes.LogShape)
        add("/api/jobs/{job_id}/output", self.output, methods=["GET"], response_class=Response)
        add("/api/jobs/{job_id}/kill", self.kill, methods=["POST"], response_model=shapes.StatusShape)
        add("/api/jobs/{job_id}/delete", self.delete, methods=["POST"], response_model=shapes.StatusShape)
        stored = shapes.StoredShape
        add("/api/sandboxes", self.store, methods=["POST"], status_code=201, response_model=stored)
        add("/api/sandboxes/{sandbox_id}", self.fetch, methods=["GET"], response_class=Response)
        self._pilots.add_to(api)
        hot = [
            route("/api/jobs", self.submit, methods=["POST"]),
            route("/api/jobs/{job_id:int}", self.get),
            *self._pilots.hot(),
        ]
        return [*hot, *api.routes]

    @allow(members("NormalUser").body(4 * MIB), "work")
    @describe({201: shapes.Submitted}, body=intake.Submission)
    async def submit(self, request: Request) -> Response:
        """Submit up to 1000 jobs: all or none."""
        who = principal_of(request)
        manifests = intake.submission(await request.body())
        facts = self._groups.by_name.get(who.group)
        share = submit.share_of(facts.options if facts else {})
        ids = await submit.submit(self._database, who, manifests, self._draw, share)
        self._wake()
        return answer({"ids": ids}, 201)

    @allow(members(), "call")
    @describe({200: JobView})
    async def get(self, request: Request) -> Response:
        """One job."""
        job_id = request.path_params["job_id"]
        who = principal_of(request)
        return answer(view(await self._database.read(lambda tx: jobs.get(tx, who, bounded(job_id)))))

    @allow(members(), "call")
    async def search(
        self,
        request: Request,
        owner: Annotated[str, Query(max_length=128)] = "",
        status: Annotated[str, Query(max_length=256)] = "",
        job_group: Annotated[str, Query(max_length=128)] = "",
        name: Annotated[str, Query(max_length=128)] = "",
        days: Annotated[int, Query(ge=0, le=36500)] = 0,
        limit: Annotated[int, Query(ge=1, le=jobs.LIST_LIMIT)] = 1000,
        ids: Annotated[str, Query(max_length=20_000)] = "",
        final: Annotated[bool | None, Query()] = None,
    ) -> Response:
        """Jobs, newest first. `owner` is a user name, empty for one's own jobs, `*` for all one may see."""
        who = principal_of(request)
        query = jobs.Query(owner, statuses(status), job_group, name, days, numbers(ids), final, limit)
        rows = await self._database.read(lambda tx: jobs.search(tx, who, query))
        return answer({"jobs": [view(row) for row in rows]})

    @allow(members(), "call")
    async def log(self, request: Request, job_id: int) -> Response:
        """How a job came to its status."""
        who = principal_of(request)
        found = await self._database.read(lambda tx: jobs.log(tx, who, bounded(job_id)))
        events = [
            {
                "status": event.status,
                "minor_status": event.minor_status,
                "application_status": event.application_status,
                "time": iso(event.at),
                "source": event.source,
            }
            for event in found
        ]
        return answer({"events": events})

    @allow(members(), "call")
    @describe({200: TAR})
    async def output(self, request: Request, job_id: int) -> Response:
        """The output sandbox of a job, a tar.bz2 archive."""
        who = principal_of(request)
        job = await self._database.read(lambda tx: jobs.get(tx, who, bounded(job_id), Right.SANDBOX))
        content = await self._database.read(lambda tx: sandboxes.output(tx, job_id))
        if content is None:
            hint = f"Job {job_id} is {job.status} ({job.minor_status}); its history: dlogging {job_id}"
            raise Problem(404, "no_output", f"Job {job_id} has no output sandbox.", hint=hint)
        return Response(content, media_type=TAR)

    @allow(members(), "call")
    async def kill(self, request: Request, job_id: int) -> Response:
        """Kill a job. Its credential is dead at once."""
        who, lifetime = principal_of(request), self._token_lifetime
        ended = await self._database.write(lambda tx: jobs.kill(tx, who, bounded(job_id), lifetime))
        return self._ended(ended)

    @allow(members(), "call")
    async def delete(self, request: Request, job_id: int) -> Response:
        """Delete a job that does not run."""
        who, lifetime = principal_of(request), self._token_lifetime
        ended = await self._database.write(lambda tx: jobs.delete(tx, who, bounded(job_id), lifetime))
        return self._ended(ended)

    def _ended(self, ended: jobs.Ended) -> Response:
        if ended.claim is not None:
            self._revoked.note(revoke.claim_name(ended.claim.name), self._clock.now() + self._token_lifetime)
        return answer({"status": ended.status})

    @allow(members("NormalUser").body(sandboxes.LIMIT), "work")
    @describe({201: shapes.Stored}, body=shapes.BYTES)
    async def store(self, request: Request) -> Response:
        """Store a sandbox; its id is the sha256 of its content."""
        stored = await sandboxes.store(self._database, principal_of(request), await request.body())
        return answer(stored._asdict(), 201)

    @allow(either(members(), gate.jobs()), "work")
    @describe({200: TAR})
    async def fetch(self, request: Request, sandbox_id: str) -> Response:
        """The content of a sandbox."""
        who = principal_of(request)
        content = await self._database.read(lambda tx: sandboxes.fetch(tx, who, sandbox_id[:80]))
        return Response(content, media_type=TAR)


def answer(body: object, status: int = 200) -> Response:
    """A JSON response."""
    return Response(encode(body), status, media_type="application/json")


def bounded(job_id: int) -> int:
    """A job id that a column can hold. Raises Problem 404."""
    if not 0 < job_id < 2**53:
        raise Problem(404, "not_found", "There is no such job.")
    return job_id


def statuses(text: str) -> tuple[JobStatus, ...]:
    """`Waiting,Running`. Raises Problem 400."""
    try:
        return tuple(JobStatus(word.strip()) for word in text.split(",") if word.strip())
    except ValueError as error:
        known = ", ".join(JobStatus)
        raise Problem(400, "invalid_request", f"{error}.", hint=f"The statuses are {known}.") from None


def numbers(text: str) -> tuple[int, ...]:
    """`1,2,3`, a thousand at most. Raises Problem 400."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    if len(words) > 1000 or not all(word.isascii() and word.isdecimal() and len(word) < 16 for word in words):
        raise Problem(400, "invalid_request", "ids are up to 1000 numbers with commas between them.")
    return tuple(int(word) for word in words)
