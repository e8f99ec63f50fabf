"""Why a value or a request was refused: each code of the mapping rules with one plain sentence for people."""

from collections.abc import Mapping
from types import MappingProxyType

REASONS: Mapping[str, str] = MappingProxyType(
    {
        # the whole request
        "issuer_unknown": "The token comes from an issuer that is not configured here, letter by letter.",
        "token_expired": "The token has expired, or does not say when it will.",
        "token_not_yet_valid": "The token is not valid yet; the clocks may differ.",
        "audience_mismatch": "The token was issued for another service.",
        "userinfo_sub_mismatch": "The documents of this login speak about different subjects.",
        "token_inactive": "The issuer says that this token is no longer active.",
        "malformed_storage_scope": "A storage scope without an absolute, normalised path spoils the token.",
        "subject_invalid": "The token names no usable subject.",
        "no_group": "No group of this site belongs to what the identity provider says about you.",
        # one value
        "too_long": "The value is longer than 1024 bytes.",
        "too_many_values": "The provider sent more values than are read; this one and the rest were left out.",
        "not_ascii": "An entitlement is plain ASCII; other letters are percent-encoded.",
        "not_a_string": "The value is not a text.",
        "multiple_authority": "The entitlement has more than one '#'.",
        "namespace_not_allowed": "This issuer may not speak for the namespace of the entitlement.",
        "unsupported_type": "The entitlement is neither a group nor a resource of its namespace.",
        "authority_not_allowed": "The authority after '#' is not one this issuer may name.",
        "authority_missing": "The entitlement names no authority, and this issuer must name one.",
        "empty_component": "A part between two colons is empty.",
        "multiple_roles": "The value names more than one role.",
        "role_not_last": "The role is not the last part.",
        "empty_role": "The role has no name.",
        "bad_percent_encoding": "A percent-encoded sequence is broken or is not UTF-8.",
        "control_character": "The value hides a control character.",
        "resource_syntax": "What follows the actions of the resource is not understood.",
        "group_syntax": "The value is not a group name as this provider writes them.",
        "vo_not_bound_to_issuer": "This issuer may not speak for that virtual organisation.",
        "dn_syntax": "The certificate subject cannot be read as a distinguished name.",
        "ambiguous_dn": "The certificate subject would read like the name of somebody else.",
        "multi_valued_rdn": "A part of the certificate subject has several values, which is not supported.",
        # one membership
        "no_row": "No mapping rule gives a group for this membership.",
        "membership_suspended": "This membership is suspended here.",
        "membership_expired": "This membership has expired here.",
        "capabilities_first": "The token carries capability scopes, so its groups are not used.",
    }
)


def sentence(code: str) -> str:
    """The sentence of a reason code; the code itself when it is not one of ours."""
    return REASONS.get(code, code)
