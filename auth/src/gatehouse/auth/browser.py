"""The login as a person walks it in the browser: consent, choose a provider, come back, choose a group, done.

Every page works without script. A form is only taken with the token of the walk it belongs to, and the walk only
with the cookie of the browser that began it.
"""

from starlette.routing import BaseRoute

from gatehouse.auth.account import AccountPages
from gatehouse.auth.arrival import Arrival
from gatehouse.auth.authorize import Authorize
from gatehouse.auth.backchannel import Backchannel
from gatehouse.auth.departure import Departure
from gatehouse.auth.journey import Journey
from gatehouse.auth.logout import Logout
from gatehouse.auth.server import Context
from gatehouse.auth.showing import Showing
from gatehouse.tokenmanager.gate import route


def routes(journey: Journey, context: Context) -> list[BaseRoute]:
    """The pages under `/auth`, in the order in which they are walked."""
    arrival = Arrival(journey)
    departure, authorize = Departure(journey, arrival), Authorize(journey, context)
    showing = Showing(journey, arrival)
    account, logout = AccountPages(journey, arrival), Logout(journey, context)
    return [
        route("/auth/device", departure.device),
        route("/auth/device/code", departure.code, methods=["POST"]),
        route("/auth/authorization", authorize.start, methods=["GET", "POST"]),
        route("/auth/login", departure.login),
        route("/auth/login/confirm", departure.confirm, methods=["POST"]),
        route("/auth/login/group", arrival.group, methods=["POST"]),
        route("/auth/login/{provider}", departure.leave),
        route("/auth/to-certificate", showing.away),
        route("/auth/certificate", showing.show),
        route("/auth/redirect", arrival.come_back),
        route("/auth/redirect/{provider}", arrival.come_back),
        route("/auth/redirect/{provider}/backchannel", Backchannel(journey).told, methods=["POST"]),
        route("/auth/account", account.show),
        route("/auth/account/grant", account.end_grant, methods=["POST"]),
        route("/auth/account/session", account.end_session, methods=["POST"]),
        route("/auth/account/everything", account.ask_everything),
        route("/auth/account/everything", account.everything, methods=["POST"]),
        route("/auth/logout", logout.start, methods=["GET", "POST"]),
        route("/auth/logout/confirm", logout.confirm, methods=["POST"]),
    ]
