"""Whose certificate it is: people behind proxies, and everything that only looks like it (RFC 3820, RFC 5280)."""

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.registry.clock import SYSTEM
from gatehouse.registry.errors import ConfigurationError
from gatehouse.tokenmanager import signing_policy
from gatehouse.tokenmanager.authorities import Authorities
from gatehouse.tokenmanager.badcertificate import BadCertificate
from gatehouse.tokenmanager.certificates import Certificates, Presented, Shown
from tests import grid
from tests.grid import Authority, Holder

ADA = "/DC=org/DC=grid/CN=Ada Lovelace"
CA = Authority()
PERSON = CA.person()
FULL = PERSON.proxy()
LIMITED = PERSON.proxy(grid.LIMITED)
SAN = x509.SubjectAlternativeName([x509.DNSName("else.example.org")])
SERVER_ONLY = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
NO_SIGNING = x509.KeyUsage(False, False, True, False, False, False, False, False, False)


def judge(folder: Path, *, lists_required: bool = False) -> Certificates:
    return Certificates(Authorities(folder, lists_required=lists_required), SYSTEM)


@pytest.fixture(scope="module")
def court(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return judge(CA.install(tmp_path_factory.mktemp("trust")))


def taken(found: Presented | BadCertificate) -> Presented:
    assert isinstance(found, Presented), found
    return found


def refused(found: Presented | BadCertificate) -> str:
    assert isinstance(found, BadCertificate), found
    assert found.sentence.endswith(".")
    return found.reason


@pytest.mark.parametrize(
    ("holder", "depth", "limited"),
    [
        (PERSON, 0, False),
        (FULL, 1, False),
        (FULL.proxy(), 2, False),
        (PERSON.proxy(grid.INHERIT, 1).proxy(), 2, False),
        (PERSON.proxy(grid.INHERIT, 0), 1, False),
        (LIMITED, 1, True),
        (FULL.proxy(grid.LIMITED), 2, True),
        (LIMITED.proxy(grid.LIMITED), 2, True),
    ],
)
def test_a_proxy_stands_for_the_person_who_made_it(
    court: Certificates, holder: Holder, depth: int, limited: bool
) -> None:
    found = taken(court.read(holder.chain))
    assert (found.identity, found.proxy_depth, found.limited) == (ADA, depth, limited)
    assert found.subject.startswith(ADA)
    assert found.subject.count("/CN=") == depth + 1
    assert found.issuer == "/DC=org/DC=grid/CN=Grid CA"
    assert found.not_after == int(holder.certificate.not_valid_after_utc.timestamp())
    assert found.fingerprint == Shown(tuple(holder.chain)).fingerprint
    assert found.sans == (("email", "ada@example.org"),)
    assert bool(found.no_login()) == limited


OTHER = Authority("Other CA").person()
FAR = grid.now() + timedelta(hours=2)
PAST = grid.now() - timedelta(days=3)
FOREIGN = grid.person("Grace Hopper")


@pytest.mark.parametrize(
    ("reason", "holder"),
    [
        ("full_from_limited", LIMITED.proxy()),
        ("full_from_limited", LIMITED.proxy(grid.LIMITED).proxy()),
        ("path_length", PERSON.proxy(grid.INHERIT, 0).proxy()),
        ("path_length", PERSON.proxy(grid.INHERIT, 1).proxy().proxy()),
        ("path_length", PERSON.proxy(grid.INHERIT, 1).proxy(grid.INHERIT, 5).proxy()),
        ("policy", PERSON.proxy(grid.INDEPENDENT)),
        ("policy", PERSON.proxy(grid.ANY)),
        ("policy", PERSON.proxy(grid.INHERIT + b"\x04\x01x")),
        ("proxy_info", PERSON.proxy(b"\x04\x01x")),
        ("expired", PERSON.proxy(begins=PAST)),
        ("early", PERSON.proxy(begins=FAR)),
        ("expired", CA.person(begins=PAST)),
        ("expired", CA.person(begins=PAST).proxy()),
        ("proxy", PERSON.proxy(subject=FOREIGN)),
        ("proxy", PERSON.proxy(subject=PERSON.certificate.subject)),
        ("proxy", PERSON.proxy(critical=False)),
        ("proxy", PERSON.proxy(extensions=[(SAN, False)])),
        ("proxy", PERSON.proxy(extensions=[(x509.BasicConstraints(True, None), True)])),
        ("proxy", PERSON.proxy(extensions=[(NO_SIGNING, True)])),
        ("proxy", PERSON.proxy(extensions=[(SERVER_ONLY, False)])),
        ("proxy", PERSON.proxy(extensions=[(x509.InhibitAnyPolicy(0), True)])),
        ("proxy", CA.top.proxy()),
        ("untrusted", grid.self_signed(grid.person("Ada Lovelace"))),
        ("untrusted", OTHER),
        ("untrusted", OTHER.proxy()),
        ("usage", CA.top),
        ("usage", CA.top.issue(grid.person("Ada Lovelace"), [(SERVER_ONLY, False)])),
        ("usage", CA.top.issue(grid.person("Ada Lovelace"), [(NO_SIGNING, True)])),
        ("untrusted", PERSON.issue(grid.person("Ada Lovelace"))),
        ("cut", Holder(FULL.certificate, FULL.key)),
        ("cut", Holder(FULL.certificate, FULL.key, (CA.person().certificate,))),
        ("size", Holder(FULL.certificate, FULL.key, (PERSON.certificate,) * 20)),
    ],
)
def test_what_only_looks_like_somebody(court: Certificates, reason: str, holder: Holder) -> None:
    assert refused(court.read(holder.chain)) == reason


def test_ten_proxies_are_enough(court: Certificates) -> None:
    deep = PERSON
    for _ in range(10):
        deep = deep.proxy()
    assert taken(court.read(deep.chain)).proxy_depth == 10
    assert refused(court.read(deep.proxy().chain)) == "path_length"


def test_the_order_of_what_came_along_does_not_matter(court: Certificates) -> None:
    own, *above = FULL.proxy().chain
    assert taken(court.read([own, *reversed(above), own])).identity == ADA


def test_a_host_is_nobody_who_logs_in(court: Certificates) -> None:
    found = taken(court.read(CA.host().chain))
    assert found.host
    assert "host" in found.no_login()
    named = CA.top.issue(grid.person("ce01.example.org"), travels=False)
    assert taken(court.read(named.chain)).host
    assert taken(court.read(CA.host().proxy().chain)).host
    assert not taken(court.read(CA.person("Robot: ada.lovelace").chain)).host


def test_a_name_that_would_read_as_another_is_refused(court: Certificates) -> None:
    tricky = CA.top.issue(grid.name((NameOID.ORGANIZATION_NAME, "Lab/CN=Ada Lovelace")), travels=False)
    assert refused(court.read(tricky.chain)) == "name"


def test_the_group_that_a_proxy_asks_for(court: Certificates) -> None:
    def asking(holder: Holder, value: bytes) -> Holder:
        oid = x509.ObjectIdentifier("1.2.42.42")
        return holder.proxy(extensions=[(x509.UnrecognizedExtension(oid, value), False)])

    wanted = asking(PERSON, b"\x16\x0dtraining_user")
    assert taken(court.read(wanted.chain)).group == "training_user"
    assert taken(court.read(wanted.proxy().chain)).group == "training_user"
    assert taken(court.read(asking(PERSON, b"\x0c\x05a b<c").chain)).group == ""
    assert taken(court.read(FULL.chain)).group == ""
    assert refused(court.read(asking(PERSON, b"\x16\x40cut").chain)) == "unreadable"


def test_revocation_also_behind_a_proxy(tmp_path: Path) -> None:
    other = CA.person()
    court = judge(CA.install(tmp_path, CA.revocations(PERSON)))
    assert refused(court.read(PERSON.chain)) == "revoked"
    assert refused(court.read(FULL.chain)) == "revoked"
    assert taken(court.read(other.proxy().chain)).identity == ADA
    CA.install(tmp_path, CA.revocations(PERSON, other))
    court.authorities.reload()
    assert refused(court.read(other.chain)) == "revoked"


@pytest.mark.parametrize(
    "revocations",
    [
        CA.revocations(begins=PAST),
        CA.revocations(begins=FAR),
        Authority().revocations(),  # the same name, another key
        CA.revocations()[:-60],
        b"nothing",
    ],
)
def test_a_list_that_cannot_be_used_lets_nobody_in(tmp_path: Path, revocations: bytes) -> None:
    assert refused(judge(CA.install(tmp_path, revocations)).read(PERSON.chain)) == "no_list"


def test_an_old_list_still_says_who_was_revoked(tmp_path: Path) -> None:
    court = judge(CA.install(tmp_path, CA.revocations(PERSON, begins=PAST)))
    assert refused(court.read(PERSON.chain)) == "revoked"


def test_lists_may_be_required(tmp_path: Path) -> None:
    assert taken(judge(CA.install(tmp_path)).read(PERSON.chain)).identity == ADA
    assert refused(judge(tmp_path, lists_required=True).read(PERSON.chain)) == "no_list"
    CA.install(tmp_path, CA.revocations())
    assert taken(judge(tmp_path, lists_required=True).read(PERSON.chain)).identity == ADA


def test_an_authority_between(tmp_path: Path) -> None:
    """It comes along, or is in the directory; a root's list can revoke it."""
    signs: grid.Extensions = [(x509.BasicConstraints(True, 0), True), (grid.CERTIFY, True)]
    between = CA.top.issue(grid.person("Between"), signs, travels=False)
    ada = between.issue(grid.person("Ada Lovelace"))
    court = judge(CA.install(tmp_path))
    assert taken(court.read(ada.chain)).issuer == "/DC=org/DC=grid/CN=Between"
    assert refused(court.read(Holder(ada.certificate, ada.key).chain)) == "untrusted"
    (tmp_path / "00000000.0").write_text(between.pem)
    CA.install(tmp_path, CA.revocations(between))
    court.authorities.reload()
    assert refused(court.read(Holder(ada.certificate, ada.key).chain)) == "revoked"


POLICY = """\
# what Globus calls an EACL
access_id_CA      X509         '/DC=org/DC=grid/CN=Grid CA'
pos_rights        globus        CA:sign
cond_subjects     globus     '"{}" "/DC=org/DC=grid/OU=x/*"'
"""


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        (POLICY.format("/DC=org/DC=grid/*"), ""),
        (POLICY.format("/DC=org/DC=elsewhere/*"), "namespace"),
        (POLICY.format("/DC=org/DC=grid/*").replace("Grid CA", "Another"), "namespace"),
        (POLICY.format("/DC=org/DC=grid/*").replace("pos_", "some_"), "namespace"),
        ("'", "namespace"),
    ],
)
def test_an_authority_certifies_only_its_own_names(tmp_path: Path, policy: str, reason: str) -> None:
    found = judge(CA.install(tmp_path, policy=policy)).read(FULL.chain)
    assert (refused(found) if reason else taken(found).identity) == (reason or ADA)


def test_other_spellings_of_a_policy() -> None:
    text = (
        "access_id_CA X509 '/C=IT/E=ca@x'\npos_rights globus CA:sign\ncond_subjects globus '/C=IT/O=x?/*'\n"
    )
    patterns = signing_policy.read(text)["/C=IT/emailAddress=ca@x"]
    assert signing_policy.allows(patterns, "/C=IT/O=xy/CN=z")
    assert not signing_policy.allows(patterns, "/C=IT/O=x/CN=z")


def test_authorities_are_there_or_the_service_does_not_start(tmp_path: Path) -> None:
    for path, words in (
        (tmp_path / "none", "none cannot be read: No such file"),
        (tmp_path, "no certificate of an authority"),
    ):
        with pytest.raises(ConfigurationError, match=f"server.client_ca: .*{words}"):
            Authorities(path)
    one = tmp_path / "one.pem"
    one.write_text(CA.top.pem + CA.revocations(PERSON).decode())
    assert refused(judge(one).read(PERSON.chain)) == "revoked"


def test_what_is_removed_from_the_directory_is_no_longer_believed(tmp_path: Path) -> None:
    court = judge(CA.install(tmp_path))
    Authority("Other CA").install(tmp_path)
    (tmp_path / f"{CA.hash(tmp_path)}.0").unlink()
    court.authorities.reload()
    assert refused(court.read(PERSON.chain)) == "untrusted"
    for path in tmp_path.iterdir():
        path.unlink()
    with pytest.raises(ConfigurationError):
        court.authorities.reload()
    assert refused(court.read(OTHER.chain)) == "untrusted"


DEEP = FULL.proxy(grid.LIMITED).chain


@given(st.data())
def test_nothing_makes_the_judge_stumble(court: Certificates, data: st.DataObject) -> None:
    chain = [bytearray(one) for one in DEEP]
    for _ in range(data.draw(st.integers(1, 4))):
        one = data.draw(st.sampled_from(chain))
        at = data.draw(st.integers(0, len(one) - 1))
        if data.draw(st.booleans()):
            one[at] = data.draw(st.integers(0, 255))
        else:
            del one[at : at + data.draw(st.integers(1, 8))]
        if not one:
            break
    found = court.read([bytes(one) for one in chain])
    if isinstance(found, Presented):
        assert (found.identity, found.limited) == (ADA, True)


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_noise_is_nobody(court: Certificates, chain: list[bytes]) -> None:
    assert isinstance(court.read(chain), BadCertificate)
