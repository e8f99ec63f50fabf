"""Which names an authority may certify: the `.signing_policy` files of the grid's trust directories (Globus EACL).

Without them any of a hundred authorities could certify anybody of any other.
"""

import re
import shlex
from collections.abc import Mapping

from gatehouse.registry.distinguished import normalise_dn
from gatehouse.registry.entitlements import Refused

Patterns = tuple[re.Pattern[str], ...]


def read(text: str) -> Mapping[str, Patterns]:
    """Authority's DN in slash form -> patterns of the subjects that it may certify.

    Raises ValueError for a line that is not of the grammar: half a policy is none.
    """
    found: dict[str, Patterns] = {}
    authority = ""
    signs = False
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        match words:
            case []:
                continue
            case ["access_id_CA", _, name]:
                authority, signs = _spelled(name), False
            case ["pos_rights", "globus", "CA:sign"]:
                signs = True
            case ["cond_subjects", "globus", subjects] if authority and signs:
                found[authority] = (*found.get(authority, ()), *map(_pattern, _names(subjects)))
            case ["pos_rights" | "neg_rights" | "cond_subjects", *_]:
                raise ValueError("a right that is not `globus CA:sign`")
            case _:
                raise ValueError("not a line of a signing policy")
    return found


def allows(patterns: Patterns, subject: str) -> bool:
    """Whether a name in slash form is one of these."""
    return any(one.fullmatch(subject) for one in patterns)


def _names(subjects: str) -> list[str]:
    return shlex.split(subjects) if '"' in subjects else [subjects.strip()]


def _spelled(name: str) -> str:
    spelled = normalise_dn(name)
    return name if isinstance(spelled, Refused) else spelled


def _pattern(subject: str) -> re.Pattern[str]:
    return re.compile(re.escape(_spelled(subject)).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL)
