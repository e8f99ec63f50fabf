"""The mapping engine: our own claim sets case by case, the reasons it gives, and that no claims break it."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.registry.documents import Certificate, Documents, Evidence, Flow
from gatehouse.registry.entitlements import MAX_VALUES, Membership, Refused
from gatehouse.registry.mapping import map_claims
from gatehouse.registry.outcome import Outcome
from gatehouse.registry.reasons import REASONS, sentence
from gatehouse.registry.rules import Issuer, OverlayRow, Row, Rules, ServiceClient
from gatehouse.registry.rulesfile import RulesError, parse_epoch, parse_overlay, parse_rules

FILES = sorted((Path(__file__).parent / "claimsets").glob("*.json"))
SETS: list[dict[str, Any]] = [json.loads(path.read_text(encoding="utf-8")) for path in FILES]
CASES = [(data["rules"], case) for data in SETS for case in data["cases"]]
NOW = 1_800_000_000


def run(rules: object, case: dict[str, Any]) -> Outcome:
    """The outcome of one case of a file."""
    return map_claims(
        parse_rules(rules),
        Documents.of(case["input"]),
        flow=case["flow"],
        now=parse_epoch(rules),
        previous_groups=case.get("previous_groups"),
        overlay=parse_overlay(case.get("registry_overlay")),
    )


@pytest.mark.parametrize(("rules", "case"), CASES, ids=[f"{c['id']} {c['title']}" for _, c in CASES])
def test_the_outcome_is_as_written(rules: object, case: dict[str, Any]) -> None:
    assert run(rules, case).json() == case["expected"]


def test_every_rule_has_a_case() -> None:
    named = {
        word for _, case in CASES for word in case["title"].split() if word[:1] == "R" and word[1:].isdigit()
    }
    assert named == {f"R{number:02d}" for number in range(1, 19)}


@pytest.mark.parametrize(("rules", "case"), CASES, ids=[f"{c['id']} {c['title']}" for _, c in CASES])
def test_every_value_is_accounted_for(rules: object, case: dict[str, Any]) -> None:
    outcome = run(rules, case)
    assert {grant.group for grant in outcome.grants} == set(outcome.groups)
    assert all(grant.evidence for grant in outcome.grants)
    because = {item for grant in outcome.grants for item in grant.evidence}
    because |= {silent.evidence for silent in outcome.silent}
    claims = [item for item in because if item.claim not in ("client_id", "subject_dn")]
    said = {value.value for value in outcome.rejected if isinstance(value, Refused)}
    assert said <= {item.value for item in claims}
    assert all(silent.reason in REASONS for silent in outcome.silent)
    assert all(
        item.value in json.dumps(case["input"], ensure_ascii=False) or "\n" in item.value for item in claims
    )


RULES = Rules(
    issuers={
        "https://iam.test/": Issuer(url="https://iam.test/", kind="wlcg", client_id="gate", vos=("vo",)),
        "https://aai.test": Issuer(
            url="https://aai.test",
            kind="aarc",
            client_id="gate",
            namespaces=("urn:x:t",),
            authority_optional=True,
        ),
        "lodge": Issuer(url="lodge", kind="registry"),
    },
    table=(
        Row("https://iam.test/", Membership(("vo",)), "vo_user"),
        Row("https://iam.test/", Membership(("vo",)), "vo_reader"),
        Row("https://aai.test", Membership(("vo",)), "aai_user"),
    ),
    service_clients=(ServiceClient("https://iam.test/", "robot", ("vo_robot",)),),
)


def login(issuer: str, claims: dict[str, object], overlay: tuple[OverlayRow, ...] = ()) -> Outcome:
    """A login by ID token alone."""
    token = {"iss": issuer, "sub": "ada", "aud": "gate", "exp": NOW + 60, **claims}
    return map_claims(RULES, Documents(id_token=token), flow="login", now=NOW, overlay=overlay)


def test_rules_built_in_code_explain_each_group() -> None:
    outcome = login("https://iam.test/", {"wlcg.groups": ["/vo", "/vo/x", "nonsense"]})
    assert outcome.groups == ("vo_user", "vo_reader")
    assert [(grant.group, grant.evidence, grant.rule) for grant in outcome.grants] == [
        ("vo_user", (Evidence("id_token", "wlcg.groups", "/vo"),), RULES.table[0]),
        ("vo_reader", (Evidence("id_token", "wlcg.groups", "/vo"),), RULES.table[1]),
    ]
    assert [(silent.evidence.value, silent.reason) for silent in outcome.silent] == [
        ("nonsense", "group_syntax"),
        ("/vo/x", "no_row"),
    ]
    assert sentence("no_row").endswith(".")


def test_all_values_that_say_the_same_are_evidence() -> None:
    values = ["urn:x:t:group:vo", "URN:X:T:group:vo:role=member"]
    outcome = login("https://aai.test", {"entitlements": values})
    assert [[item.value for item in grant.evidence] for grant in outcome.grants] == [values]


def test_an_overlay_row_speaks_only_of_its_subject_and_issuer() -> None:
    def groups(**narrow: str) -> tuple[str, ...]:
        row = OverlayRow(("vo",), "any", "SUSPENDED", **narrow)  # type: ignore[arg-type]  # names of str fields
        return login("https://aai.test", {"entitlements": "urn:x:t:group:vo"}, (row,)).groups

    assert groups() == groups(subject="ada") == groups(issuer="https://aai.test") == ()
    assert groups(subject="bob") == groups(issuer="https://iam.test/") == ("aai_user",)


def test_the_table_of_one_issuer_is_closed_to_another() -> None:
    assert login("https://aai.test", {"wlcg.groups": ["/vo"], "groups": ["vo"]}).groups == ()


def test_values_are_counted() -> None:
    outcome = login("https://iam.test/", {"wlcg.groups": [f"/vo/g{n}" for n in range(MAX_VALUES)] + ["/vo"]})
    assert outcome.groups == ()
    assert len(outcome.memberships) == MAX_VALUES
    assert outcome.rejected == (Refused("/vo", "too_many_values"),)


def test_values_that_are_no_text_are_reported() -> None:
    outcome = login("https://iam.test/", {"wlcg.groups": [1, None, {"a": ["/vo"]}, "/vo"]})
    assert [value.json() for value in outcome.rejected] == [
        {"value": "1", "reason": "not_a_string"},
        {"value": "null", "reason": "not_a_string"},
        {"value": '{"a": ["/vo"]}', "reason": "not_a_string"},
    ]
    assert outcome.groups == ("vo_user", "vo_reader")


TOKEN = {"iss": "https://iam.test/", "sub": "ada", "aud": "gate", "exp": NOW + 60, "wlcg.groups": ["/vo"]}


@pytest.mark.parametrize(
    ("documents", "reason"),
    [
        (Documents(), "issuer_unknown"),
        (Documents(access_token=TOKEN), "issuer_unknown"),
        (Documents(id_token={**TOKEN, "iss": ["https://iam.test/"]}), "issuer_unknown"),
        (Documents(id_token={**TOKEN, "sub": 7}), "subject_invalid"),
        (Documents(id_token={**TOKEN, "sub": ""}), "subject_invalid"),
        (Documents(id_token={**TOKEN, "sub": "a\nb"}), "subject_invalid"),
        (Documents(id_token={**TOKEN, "exp": True}), "token_expired"),
        (Documents(id_token={**TOKEN, "exp": float("nan")}), "token_expired"),
        (Documents(id_token={**TOKEN, "exp": float("inf")}), "token_expired"),
        (Documents(id_token={**TOKEN, "nbf": None}), "token_not_yet_valid"),
        (Documents(id_token={**TOKEN, "aud": {"gate": 1}}), "audience_mismatch"),
        (Documents(id_token={**TOKEN, "aud": "gates"}), "audience_mismatch"),
        (Documents(id_token=TOKEN, userinfo={}), "userinfo_sub_mismatch"),
        (Documents(id_token=TOKEN, userinfo={"sub": "ada", "iss": "https://aai.test"}), "issuer_unknown"),
        (Documents(id_token=TOKEN, access_token={"sub": "eve"}), "userinfo_sub_mismatch"),
        (Documents(id_token=TOKEN, access_token={"scope": ["storage.read"]}), "malformed_storage_scope"),
        (Documents(x509=Certificate(7)), "dn_syntax"),
        (Documents(x509=Certificate("CN=a+CN=b")), "multi_valued_rdn"),
    ],
)
def test_documents_that_do_not_hold(documents: Documents, reason: str) -> None:
    outcome = map_claims(RULES, documents, flow="login", now=NOW, previous_groups=["vo_user"])
    assert (outcome.decision, outcome.reason, outcome.groups) == ("reject", reason, ())
    assert outcome.revoked_groups == ()  # a refused request says nothing about memberships
    assert reason in REASONS


def test_a_document_of_the_wrong_type_does_not_vanish() -> None:
    documents = Documents.of({"id_token": TOKEN, "userinfo": "none of your business"})
    assert map_claims(RULES, documents, flow="login", now=NOW).reason == "userinfo_sub_mismatch"
    assert Documents.of({"id_token": TOKEN, "userinfo": None}) == Documents(id_token=TOKEN)


def test_the_same_documents_need_a_registry_to_be_a_certificate_login() -> None:
    certificate = Documents(x509=Certificate("/CN=ada", ("/vo", 7)))
    without = Rules(issuers={})
    assert map_claims(without, certificate, flow="login", now=NOW).reason == "issuer_unknown"
    assert map_claims(RULES, certificate, flow="bearer", now=NOW).reason == "issuer_unknown"
    assert map_claims(RULES, certificate, flow="login", now=NOW).reason == "no_group"


def test_the_fresher_scopes_of_introspection_count() -> None:
    token = {**TOKEN, "scope": "compute.create compute.read"}
    fresh = {"active": True, "sub": "ada", "scope": "compute.read"}
    documents = Documents(access_token=token, introspection=fresh)
    outcome = map_claims(RULES, documents, flow="bearer", now=NOW)
    assert [capability.name for capability in outcome.capabilities] == ["compute.read"]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["ada", "/vo", "gate"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = """iss sub aud exp nbf scope active wlcg.groups groups entitlements client_id azp grant
subject_dn voms_fqans"""
claim_names = st.sampled_from(NAMES.split())
hostile = st.dictionaries(claim_names, json_values, max_size=6)
documents_of = st.dictionaries(
    st.sampled_from(["id_token", "userinfo", "access_token", "introspection", "x509"]),
    hostile | hostile.map(lambda claims: {**TOKEN, **claims}) | json_values,
)


@given(documents_of, st.sampled_from(["login", "bearer"]))
def test_no_claims_break_the_engine(data: dict[str, object], flow: Flow) -> None:
    outcome = map_claims(RULES, Documents.of(data), flow=flow, now=NOW, previous_groups=["vo_user"])
    assert json.dumps(outcome.json())
    assert (outcome.decision == "reject") == (outcome.identity is None)
    assert outcome.reason is None or outcome.reason in REASONS
    assert set(outcome.groups) <= {"vo_user", "vo_reader", "aai_user", "vo_robot"}


GOOD: dict[str, Any] = SETS[0]["rules"]


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"issuers": None}, "rules.issuers"),
        ({"issuers": {"x": {"kind": "ldap"}}}, "rules.issuers[x].kind"),
        ({"issuers": {"x": {"kind": "aarc", "namespaces": [""]}}}, "rules.issuers[x].namespaces"),
        ({"issuers": {"x": {"kind": "aarc", "aud_required": "no"}}}, "rules.issuers[x].aud_required"),
        ({"table": [{"issuer": "x", "path": [], "group": "g"}]}, "rules.table[0].path"),
        ({"table": [{"issuer": "x", "path": ["a"], "role": 1, "group": "g"}]}, "rules.table[0].role"),
        ({"registry": [{"dn": "ada", "user": "u", "groups": []}]}, "rules.registry[0].dn"),
        ({"registry": GOOD["registry"] * 2}, "rules.registry[1].dn"),
        ({"evaluation_time": {"leeway_s": 1e999}}, "rules.evaluation_time.leeway_s"),
        ({"evaluation_time": []}, "rules.evaluation_time"),
    ],
)
def test_rules_that_cannot_be_meant_name_the_spot(change: dict[str, object], where: str) -> None:
    with pytest.raises(RulesError) as caught:
        parse_rules({**GOOD, **change})
    assert caught.value.where == where


def test_overlay_times_may_be_iso() -> None:
    rows = parse_overlay(
        [{"path": ["a"], "valid_until": "2027-01-15T08:00:00Z"}, {"path": ["a"], "valid_until": 5}]
    )
    assert [row.valid_until for row in rows] == [NOW, 5]
    with pytest.raises(RulesError):
        parse_overlay([{"path": ["a"], "valid_until": "soon"}])
