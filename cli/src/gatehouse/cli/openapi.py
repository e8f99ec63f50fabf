"""The description of the API (OpenAPI 3.1): every route, from what is declared beside it."""

import copy
import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from fastapi import FastAPI
from starlette.routing import BaseRoute, Route

from gatehouse.tokenmanager import gate
from gatehouse.tokenmanager.describe import Content, Description, description_of

_REF = "#/components/schemas/{name}"
_PARAMETER = re.compile(r"\{(\w+)(:int)?\}")
_BIG = 2**53 - 1  # the largest whole number that every reader of JSON can hold
_BODIES = {"POST", "PUT"}
_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "dpop": {"type": "http", "scheme": "dpop", "description": "A token bound to a key (RFC 9449)."},
}


class Error(msgspec.Struct):
    """What went wrong (RFC 6749 §5.2), and facts that a program may want."""

    error: str
    error_description: str = ""
    hint: str = ""


def document(app: FastAPI, routes: Iterable[BaseRoute]) -> dict[str, Any]:
    """The whole description. Raises LookupError for a route that nobody described."""
    found = [route for route in routes if isinstance(route, Route)]
    made: dict[str, Any] = copy.deepcopy(app.openapi())
    schemas = _Schemas(found)
    for route in found:
        for method, operation in _operations(route, made["paths"]):
            said = description_of(route.endpoint)
            if said is None and not operation:
                raise LookupError(f"{method} {route.path} says nothing of what it takes and gives.")
            if said is not None:
                _tell(operation, method, route, said, schemas)
            _common(operation, route, said, schemas)
    components = made.setdefault("components", {})
    known = {n: s for n, s in components.get("schemas", {}).items() if "ValidationError" not in n}
    components |= {"schemas": {**known, **schemas.components}, "securitySchemes": _SECURITY}
    return made


class _Schemas:
    """JSON Schemas of all types in the descriptions."""

    def __init__(self, routes: Iterable[Route]) -> None:
        types: list[type] = [Error]
        for route in routes:
            if (said := description_of(route.endpoint)) is not None:
                given = (*said.gives.values(), said.form, said.body, said.query)
                types += [one for one in given if isinstance(one, type) and one not in types]
        made, self.components = msgspec.json.schema_components(types, ref_template=_REF)
        self._by_type = dict(zip(types, made, strict=True))

    def of(self, kind: type) -> dict[str, Any]:
        """The schema of a type, a reference mostly."""
        return self._by_type[kind]

    def content(self, kind: Content) -> dict[str, Any]:
        """A body in an answer or a request."""
        if kind is None:
            return {}
        if isinstance(kind, str):
            schema = {"type": "string", "format": "binary"} if kind == "application/octet-stream" else {}
            return {"content": {kind: {"schema": schema}}}
        return {"content": {"application/json": {"schema": self.of(kind)}}}

    def parameters(self, kind: type) -> Iterator[dict[str, Any]]:
        """A parameter of the query for each field of a type."""
        named = self.components[self.of(kind)["$ref"].rpartition("/")[2]]
        for name, schema in named["properties"].items():
            yield {
                "name": name,
                "in": "query",
                "required": name in named.get("required", ()),
                "schema": schema,
            }


def _operations(route: Route, paths: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    path = _PARAMETER.sub(r"{\1}", route.path)
    for method in sorted((route.methods or set()) - {"HEAD"}):
        yield method, paths.setdefault(path, {}).setdefault(method.lower(), {})


def _tell(operation: dict[str, Any], method: str, route: Route, said: Description, schemas: _Schemas) -> None:
    name = f"{method.lower()} {route.path}"
    operation.setdefault("operationId", re.sub(r"\W+", "_", name).strip("_"))
    operation.setdefault("summary", (route.endpoint.__doc__ or "").strip().partition("\n")[0])
    parameters = operation.setdefault("parameters", [_path(*one) for one in _PARAMETER.findall(route.path)])
    if said.query is not None and method == "GET":
        parameters += schemas.parameters(said.query)
    if method in _BODIES and said.form is not None:
        form = {"application/x-www-form-urlencoded": {"schema": schemas.of(said.form)}}
        operation["requestBody"] = {"required": not said.page, "content": form}
    elif method in _BODIES and said.body is not None:
        operation["requestBody"] = {"required": True, **schemas.content(said.body)}
    operation["responses"] = {
        str(status): {"description": _words(status), **schemas.content(kind)}
        for status, kind in said.gives.items()
    }


def _path(name: str, number: str) -> dict[str, Any]:
    schema = {"type": "integer", "minimum": 1, "maximum": _BIG} if number else {"type": "string"}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _common(operation: dict[str, Any], route: Route, said: Description | None, schemas: _Schemas) -> None:
    """Refusals, which look the same everywhere, and who may call."""
    rule = gate.rule_of(route.endpoint)
    if rule is not None and not rule.public:
        operation["security"] = [{name: []} for name in _SECURITY]
    content = schemas.content(Error)
    if said is not None and said.page:
        content["content"]["text/html"] = {"schema": {}}
    operation["responses"].pop("422", None)  # the framework's own shape, which nobody sends
    operation["responses"] |= {
        "4XX": {"description": "Refused.", **content},
        "5XX": {"description": "Not possible now.", **content},
    }


def _words(status: int) -> str:
    return {201: "Made.", 204: "Nothing.", 302: "Elsewhere.", 303: "Elsewhere.", 304: "Not changed."}.get(
        status, "Done."
    )
