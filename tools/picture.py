"""Make the pictures of docs/pictures: run the demo, draw what its terminal showed, photograph the confirm page.

`.venv/bin/python -m tools.picture` (the page needs chromium). Nothing is retouched but the name of the demo's
temporary folder, which would only be noise.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html import escape
from itertools import accumulate
from pathlib import Path

from playwright.sync_api import sync_playwright
from rich.console import Console
from rich.style import Style
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
COLUMNS = 86
CELL, LINE, SIZE = 8.43, 20, 14  # px: advance of a character at this size, line height, font size
PAD, BAR = 20, 34
FONT = "ui-monospace, 'DejaVu Sans Mono', 'Liberation Mono', Menlo, Consolas, monospace"
INK, PAPER, FRAME = "#d7dde6", "#161b22", "#2b323c"
# The sixteen colours of a terminal, chosen to be read on PAPER.
PALETTE = (
    *("#5b6470", "#f47067", "#57ab5a", "#c69026", "#6cb6ff", "#b083f0", "#56d4dd", "#c5cdd8"),
    *("#8b949e", "#ff938a", "#7ee787", "#e3b341", "#96d0ff", "#d2a8ff", "#86e8ef", "#ffffff"),
)
DIM = "#8b949e"
NBSP = "\u00a0"  # or SVG would fold the blanks that keep columns apart
GAP = 10  # px before each part


def record() -> list[Text]:
    """The lines that `make demo ONCE=1` writes to a terminal of COLUMNS columns."""
    environ = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "MAKEFLAGS")}
    environ |= {
        "COLUMNS": str(COLUMNS),
        "FORCE_COLOR": "1",
        "TERM": "xterm-256color",
        "PYTHONUNBUFFERED": "1",
    }
    done = subprocess.run(
        [shutil.which("make") or "make", "--no-print-directory", "demo", "ONCE=1"],
        cwd=ROOT, env=environ, capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    said = re.sub(r"\n?[^\s(]*/gatehouse-demo-\w+/", "…/", done.stdout)
    lines = [Text.from_ansi("$ make demo ONCE=1"), *(Text.from_ansi(line) for line in said.splitlines())]
    return [line for line in lines if line.plain.strip()]


def colour(style: Style) -> str:
    """The colour of some text."""
    number = style.color.number if style.color else None
    if number is not None and number < 16:
        return PALETTE[number]
    if style.color and style.color.triplet:
        return style.color.triplet.hex
    return DIM if style.dim else INK


def spans(line: Text, console: Console) -> Iterator[tuple[int, str, Style]]:
    """Pieces of equal style: column, text, style."""
    column = 0
    for segment in line.render(console):
        if segment.text.strip():
            lead = len(segment.text) - len(segment.text.lstrip())
            yield column + lead, segment.text.strip(), segment.style or Style()
        column += len(segment.text)


def drawn(lines: list[Text]) -> str:
    """A window with these lines, as an SVG that needs nothing from anywhere."""
    tops = list(accumulate(LINE + GAP * line.plain.startswith("─") for line in lines))
    width, height = round(COLUMNS * CELL + 2 * PAD), BAR + tops[-1] + PAD
    console = Console(width=COLUMNS, color_system="256")
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'role="img" aria-labelledby="title what">',
        '<title id="title">A terminal: make demo ONCE=1</title>',
        '<desc id="what">The service starts; dirac-login prints a link and, once approved, six lines about the '
        "token; a job goes from Waiting to Done; its output is Hello world.</desc>",
        f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="9" fill="{PAPER}" stroke="{FRAME}"/>',
        *(
            f'<circle cx="{PAD + 18 * n}" cy="{BAR / 2 + 2:g}" r="5" fill="{fill}"/>'
            for n, fill in enumerate(("#f47067", "#e3b341", "#57ab5a"))
        ),
        f'<g font-family="{FONT}" font-size="{SIZE}" fill="{INK}">',
    ]
    for top, line in zip(tops, lines, strict=True):
        y = BAR + top
        for column, text, style in spans(line, console):
            if set(text) == {"─"}:  # a rule: drawn as one, since fonts disagree about its characters
                ends = f'x1="{PAD + column * CELL:.1f}" x2="{PAD + (column + len(text)) * CELL:.1f}"'
                out.append(f'<line {ends} y1="{y - 5}" y2="{y - 5}" stroke="{colour(style)}" opacity="0.6"/>')
                continue
            bold = ' font-weight="bold"' if style.bold or text.startswith("$ ") else ""
            at = f'x="{PAD + column * CELL:.1f}" y="{y}" textLength="{len(text) * CELL:.1f}"'
            out.append(f'<text {at} fill="{colour(style)}"{bold}>{escape(text).replace(" ", NBSP)}</text>')
    return "\n".join([*out, "</g>", "</svg>"]) + "\n"


def photograph(target: Path) -> None:
    """The confirm page of a fresh demo, as a phone shows it."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("chromium is missing: apt-get install chromium")
    demo = subprocess.Popen(
        [sys.executable, "-m", "gatehouse.cli", "demo"],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "200"},
    )  # fmt: skip
    try:
        link = next(line.strip() for line in demo.stdout or () if "user_code=" in line)
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path=chromium)
            page = browser.new_page(viewport={"width": 400, "height": 300}, device_scale_factor=0.75)
            page.goto(link)
            page.screenshot(path=target, full_page=True)
            browser.close()
    finally:
        demo.terminate()
        demo.wait(20)


if __name__ == "__main__":
    PICTURES.mkdir(parents=True, exist_ok=True)
    (PICTURES / "road.svg").write_text(drawn(record()))
    photograph(PICTURES / "confirm.png")
