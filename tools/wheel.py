"""Check what a wheel would put into somebody's site-packages: the five rooms, and nothing beside them."""

import re
import sys
import zipfile

ROOMS = ("registry", "tokenmanager", "auth", "wms", "cli")


def strangers(names: list[str]) -> list[str]:
    """Files outside the rooms and the wheel's own metadata, and rooms without code or type marker."""
    ours = re.compile(rf"^gatehouse/({'|'.join(ROOMS)})/|^gatehouse-[^/]+\.dist-info/")
    beside = [f"does not belong there: {name}" for name in names if not ours.match(name)]
    needed = [f"gatehouse/{room}/{file}" for room in ROOMS for file in ("__init__.py", "py.typed")]
    return beside + [f"is missing: {name}" for name in needed if name not in names]


def main(path: str) -> int:
    """Print what is wrong; exit code 1 if anything is."""
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
    wrong = strangers(names)
    print("\n".join(wrong) or f"{len(names)} files, all in their rooms")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
