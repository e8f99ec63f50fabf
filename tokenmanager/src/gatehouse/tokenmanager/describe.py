"""What a route takes and gives, declared beside it, for the description of the API.

    @allow(members("NormalUser"), "work")
    @describe({201: Submitted}, body=intake.Submission)
    async def submit(request: Request) -> Response: ...

Nothing here checks anything: the endpoints read their bodies themselves. Types are those that they read them with.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

_MARK = "__gatehouse_description__"
_Endpoint = TypeVar("_Endpoint", bound=Callable[..., Any])

Content = type | str | None
"""A type that is JSON on the wire, the media type of what is none, or no content."""


@dataclass(frozen=True, slots=True)
class Description:
    """Contents by status; `form` is a form body, `body` any other; `query` has a field for each parameter.

    `page`: made for a browser, so that refusals are pages too.
    """

    gives: Mapping[int, Content]
    form: type | None = None
    body: Content = None
    query: type | None = None
    page: bool = False


def describe(
    gives: Mapping[int, Content],
    *,
    form: type | None = None,
    body: Content = None,
    query: type | None = None,
    page: bool = False,
) -> Callable[[_Endpoint], _Endpoint]:
    """Describe an endpoint."""

    def mark(endpoint: _Endpoint) -> _Endpoint:
        setattr(endpoint, _MARK, Description(gives, form, body, query, page))
        return endpoint

    return mark


def description_of(endpoint: object) -> Description | None:
    """The description of an endpoint, if it has one."""
    return cast(Description | None, getattr(endpoint, _MARK, None))
