"""The login as a person walks it in the browser: confirm, choose a provider, come back, choose a group, done.

Every page works without script. A form is only taken with the token of the walk it belongs to, and the walk only
with the cookie of the browser that began it.
"""

from starlette.routing import BaseRoute

from gatehouse.auth.arrival import Arrival
from gatehouse.auth.departure import Departure
from gatehouse.auth.journey import Journey
from gatehouse.tokenmanager.gate import route


def routes(journey: Journey) -> list[BaseRoute]:
    """The pages under `/auth`, in the order in which they are walked."""
    departure, arrival = Departure(journey), Arrival(journey)
    return [
        route("/auth/device", departure.device),
        route("/auth/device/code", departure.code, methods=["POST"]),
        route("/auth/device/confirm", departure.confirm, methods=["POST"]),
        route("/auth/authorization", departure.choose_provider),
        route("/auth/authorization/{provider}", departure.leave),
        route("/auth/redirect", arrival.come_back),
        route("/auth/redirect/{provider}", arrival.come_back),
        route("/auth/device/group", arrival.group, methods=["POST"]),
    ]
