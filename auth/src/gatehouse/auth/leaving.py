"""How a login in a browser ends, whoever asks for it: the person, a client, or the provider that vouched.

With the session end the grants that clients were given in it, but for those that are meant to outlive it: grants for
`offline_access`, and logins of devices, which only borrowed the browser. Clients with an address for it are told.
"""

from collections.abc import Callable

from gatehouse.auth import notices, pending, sessions
from gatehouse.auth.clients import Clients
from gatehouse.auth.sessions import Session
from gatehouse.registry import audit
from gatehouse.registry.database import Tx
from gatehouse.tokenmanager import refresh


def leave(tx: Tx, clients: Clients, session: Session, why: str, *, actor: str) -> bool:
    """End a session and what ends with it, in one transaction: true for exactly one caller."""
    if not sessions.end(tx, session.sid):
        return False
    # the session is gone, so no grant is added to it any more
    ended = refresh.end_of_session(tx, session.sid, why, actor=actor)
    told = [name for name in refresh.clients_of_session(tx, session.sid) if _wants_to_know(tx, clients, name)]
    for name in told:
        notices.add(tx, session.sid, name, session.user_id)
    audit.record(
        tx,
        "session.ended",
        actor=actor,
        subject=session.user_id,
        session=session.sid,
        why=why,
        grants=ended,
        told=told[:50],
    )
    return True


def follow(tx: Tx, clients: Clients, old: Session | None, user_id: str) -> str:
    """End the session that a new login in its browser replaces; returns the `sid` for the new one, or nothing.

    Whoever logs in anew stays in the session that their clients know. Somebody else logs the person before out.
    """
    if old is None:
        return ""
    if old.user_id == user_id:
        return old.sid if sessions.end(tx, old.sid) else ""
    leave(tx, clients, old, "somebody else logged in in this browser", actor="gatehouse")
    return ""


def everything(tx: Tx, clients: Clients, user_id: str, why: str, *, actor: str) -> None:
    """End every session and every grant of a person, those of devices too, also those not redeemed yet."""
    if given_up := pending.withdraw(tx, user_id, f"This login is over: {why}."):
        audit.record(tx, "login.denied", actor=actor, subject=user_id, why=why, requests=given_up)
    leave_all(tx, clients, lambda: sessions.all_of(tx, user_id), why, actor=actor)
    refresh.end_of_person(tx, user_id, why, actor=actor)


def leave_all(tx: Tx, clients: Clients, living: Callable[[], list[Session]], why: str, *, actor: str) -> int:
    """End the sessions that `living` finds, until it finds none; how many."""
    ended = 0
    while found := living():
        ended += sum(leave(tx, clients, session, why, actor=actor) for session in found)
    return ended


def _wants_to_know(tx: Tx, clients: Clients, client_id: str) -> bool:
    client = clients.find(tx, client_id)
    return client is not None and bool(client.backchannel_logout_uri)
