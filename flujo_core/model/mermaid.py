"""Mermaid's flowcharts as text.

All labels are quoted, and what means something to mermaid, to markdown or to HTML is written in them as ``#34;``; ids
are made up, so a name can be any text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from flujo_core.model.caption import printable
from flujo_core.model.slotted import NamedTuple

COLOURS = {
    "completed": ("#d7f0dc", "#1b7a34"),
    "fallback": ("#fdf0c4", "#97720b"),
    "cached": ("#d8ecf5", "#1f6a8c"),
    "skipped": ("#d8ecf5", "#1f6a8c"),
    "failed": ("#f9d6d5", "#b3261e"),
    "cancelled": ("#fbe3cd", "#a8570b"),
    "running": ("#dbe2fb", "#3446a8"),
    "paused": ("#ece0f6", "#6c3a9c"),
    "idle": ("#f2f2f2", "#a0a0a0"),
}
"""What boxes are filled and drawn with, by what became of the node."""

MEANINGFUL = re.compile(
    r"[!\"#$%&'()*+/:;<=>?@\\^`{}~°¶]"  # ° and ¶ are mermaid's own marks for what was written as '#34;'
    r"|(?<![^\W_])[_-]|[_-](?![^\W_])"  # emphasis, lists, rules
    r"|(?<!\d)\.|\.(?!\d)"  # lists, links
    r"|(?<!\S) | (?!\S)"  # what would be trimmed, and blocks of code
)
INK = "#1a1a1a"
FRAME = "Frame"
"""What the style of a frame has after the name of a box's."""

BREAK = "<br/>"
RECTANGLE, ROUNDED, DIAMOND, CIRCLE, STADIUM = '["{}"]', '("{}")', '{{"{}"}}', '(("{}"))', '(["{}"])'
SLANTED = '[/"{}"/]'


class Feed(NamedTuple):
    """An arrow that has begun, and goes to what comes next.

    Attributes:
        id: Where it begins.
        label: What stands at it, line by line.
        dotted: Whether it is dotted.
    """

    id: str
    label: Sequence[str]
    dotted: bool = False


def escaped(text: str) -> str:
    """A text as it stands in a quoted label."""
    return MEANINGFUL.sub(lambda found: f"#{ord(found[0])};", printable(text))


class Sheet:
    """A flowchart, while it is drawn."""

    def __init__(self) -> None:
        self._boxes: list[str] = []
        self._arrows: list[str] = []
        self._styled: dict[str, list[str]] = {}
        self._depth = 1
        self._count = 0

    def __str__(self) -> str:
        return "\n".join(["flowchart TD", *self._boxes, *self._arrows, *self._styles()])

    def id(self) -> str:
        """An id that nothing has yet."""
        self._count += 1
        return f"n{self._count}"

    def box(self, id: str, shape: str, label: Sequence[str], style: str = "") -> None:
        """Draws a box in the frame that is open.

        Args:
            id: Its id.
            shape: Its shape.
            label: What stands in it, line by line.
            style: A key of ``COLOURS``, or nothing.
        """
        self._line(id + shape.format(_label(label)))
        self._style(id, style)

    def open(self, id: str, label: Sequence[str], style: str = "") -> None:
        """Begins a frame around what is drawn until it is closed."""
        self._line(f'subgraph {id}["{_label(label)}"]')
        self._depth += 1
        self._style(id, style and style + FRAME)

    def close(self) -> None:
        """Ends the frame that was opened last."""
        self._depth -= 1
        self._line("end")

    def connect(self, feeds: Sequence[Feed], id: str) -> None:
        """Draws arrows to a box."""
        for feed in feeds:
            line = "-.->" if feed.dotted else "-->"
            self._arrows.append(f'    {feed.id} {line}|"{_label(feed.label)}"| {id}')

    def _line(self, line: str) -> None:
        self._boxes.append("    " * self._depth + line)

    def _style(self, id: str, style: str) -> None:
        if style:
            self._styled.setdefault(style, []).append(id)

    def _styles(self) -> list[str]:
        """The lines that say how boxes look."""
        lines = []
        for style, ids in sorted(self._styled.items()):
            fill, stroke = COLOURS[style.removesuffix(FRAME)]
            filled = "fill:none" if style.endswith(FRAME) else f"fill:{fill},color:{INK}"
            lines += [f"    classDef {style} {filled},stroke:{stroke}", f"    class {','.join(ids)} {style}"]
        return lines


def _label(lines: Sequence[str]) -> str:
    return BREAK.join(map(escaped, lines))
