"""The Python API of the job service; the commands are written on top of it.

with GatehouseClient() as gatehouse:
    (job_id,) = gatehouse.submit([{"executable": "/bin/hostname"}])
    print(gatehouse.job(job_id)["status"])
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from time import sleep as system_sleep
from typing import Any, TypeVar

from gatehouse.cli import session
from gatehouse.cli.bearer import Tokens
from gatehouse.cli.errors import CommandError
from gatehouse.cli.issuer import api_base
from gatehouse.cli.wire import JSON_LIMIT, Answer, Wire
from gatehouse.registry.clock import SYSTEM, Clock

Job = dict[str, Any]
"""One job as the service describes it: `job_id`, `owner`, `name`, `status`, `minor_status`, `site`, …"""

_LIST_LIMIT = 64 * JSON_LIMIT
_ARCHIVE_LIMIT = 11 * (1 << 20)  # bytes: the service keeps sandboxes to 10 MiB
_BULK = 1000  # jobs in one submission
_BULK_BYTES = 3 * (1 << 20)  # of their JSON: the service takes 4 MiB
_IDS = 300  # job numbers in one URL
_T = TypeVar("_T")


def _chunks(items: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    return (items[i : i + size] for i in range(0, len(items), size))


def _batches(manifests: Sequence[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    part: list[Mapping[str, Any]] = []
    size = 0
    for manifest in manifests:
        more = len(json.dumps(manifest, ensure_ascii=False).encode("utf-8", "replace")) + 2
        if part and (len(part) == _BULK or size + more > _BULK_BYTES):
            yield part
            part, size = [], 0
        part.append(manifest)
        size += more
    if part:
        yield part


class GatehouseClient:
    """The job service under the identity of a token file (or of what token discovery finds).

    Raises NotLoggedIn, ApiError (the server's refusal) or Unreachable, all of them CommandError.
    """

    def __init__(
        self,
        token_file: Path | None = None,
        *,
        env: Mapping[str, str] = os.environ,
        clock: Clock = SYSTEM,
        sleep: Callable[[float], None] = system_sleep,
    ) -> None:
        found = session.find(token_file, env)
        self.issuer = found.tokens.issuer
        self.api = api_base(self.issuer)
        self._wire = Wire(self.api, clock=clock, sleep=sleep)
        self._session = session.Session(self._wire, found)

    def __enter__(self) -> "GatehouseClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._wire.close()

    @property
    def tokens(self) -> Tokens:
        """The present tokens."""
        return self._session.tokens

    def submit(self, manifests: Sequence[Mapping[str, Any]]) -> list[int]:
        """Submit jobs, up to a thousand per request; their numbers in the same order.

        Each request is one transaction. When a later one fails, the jobs of the earlier ones exist, and the
        error's `why` names them.
        """
        ids: list[int] = []
        for part in _batches(manifests):
            try:
                answer = self._call("POST", "/jobs", document={"jobs": part}, limit=_LIST_LIMIT)
                ids += _list(answer, "ids")
            except CommandError as error:
                if ids:
                    error.why += f"; already submitted: {ids[0]}..{ids[-1]} ({len(ids)} jobs)"
                raise
        return ids

    def jobs(
        self,
        *,
        owner: str = "",
        status: Sequence[str] = (),
        job_group: str = "",
        name: str = "",
        days: int | None = None,
        limit: int | None = None,
        ids: Sequence[int] = (),
        final: bool = True,
    ) -> list[Job]:
        """Jobs that match every given condition; without `owner` one's own, `*` all that one may see.

        `final` False leaves out those that have ended. The service gives the newest `limit` (1000) of them.
        """
        query = {
            "owner": owner,
            "status": ",".join(status),
            "job_group": job_group,
            "name": name,
            "days": "" if days is None else str(days),
            "limit": "" if limit is None else str(limit),
            "final": "" if final else "0",
        }
        query = {key: value for key, value in query.items() if value}
        found: list[Job] = []
        for part in _chunks(ids, _IDS) if ids else [()]:
            more = {"ids": ",".join(map(str, part))} if part else {}
            found += _list(self._call("GET", "/jobs", query={**query, **more}, limit=_LIST_LIMIT), "jobs")
        return found

    def job(self, job_id: int) -> Job:
        """One job."""
        return _object(self._call("GET", f"/jobs/{int(job_id)}"))

    def log(self, job_id: int) -> list[dict[str, Any]]:
        """The job's history, oldest first: `status`, `minor_status`, `application_status`, `time`, `source`."""
        return _list(self._call("GET", f"/jobs/{int(job_id)}/log", limit=_LIST_LIMIT), "events")

    def kill(self, job_id: int) -> str:
        """Kill a job; its status afterwards."""
        return str(_object(self._call("POST", f"/jobs/{int(job_id)}/kill")).get("status", ""))

    def delete(self, job_id: int) -> str:
        """Delete a job; its status afterwards."""
        return str(_object(self._call("POST", f"/jobs/{int(job_id)}/delete")).get("status", ""))

    def output(self, job_id: int) -> bytes:
        """The output sandbox, a tar.bz2 archive. ApiError `no_output` when there is none yet."""
        return self._call("GET", f"/jobs/{int(job_id)}/output", limit=_ARCHIVE_LIMIT).body

    def upload_sandbox(self, archive: bytes) -> str:
        """Store a tar.bz2 archive; its name `SB:<sha256>` for the manifests that use it."""
        answer = self._call("POST", "/sandboxes", content=archive, content_type="application/x-tar")
        return str(_object(answer).get("id", ""))

    def userinfo(self) -> dict[str, Any]:
        """Who one is: `sub`, `preferred_username`, `group`, `properties`, `vo`, …"""
        return _object(self._call("GET", "/userinfo", base=self.issuer))

    def _call(self, method: str, path: str, *, base: str = "", **request: Any) -> Answer:
        url = (base or self.api) + path
        bearer = self._session.bearer()
        answer = self._wire.send(method, url, bearer=bearer, **request)
        if answer.status == 401:  # revoked or turned over since: once, with a renewed token
            self._session.renew()
            renewed = self._session.tokens.access_token
            if renewed != bearer:
                answer = self._wire.send(method, url, bearer=renewed, **request)
        if answer.status >= 300:
            raise answer.error(bearer, self._session.tokens.access_token)
        return answer


def _object(answer: Answer) -> dict[str, Any]:
    fields = answer.fields()
    if fields is None:
        raise CommandError("the server's answer is not understood", why="it is no JSON object")
    return fields


def _list(answer: Answer, name: str) -> list[Any]:
    values = _object(answer).get(name)
    if not isinstance(values, list):
        raise CommandError("the server's answer is not understood", why=f"it has no list {name!r}")
    return values
