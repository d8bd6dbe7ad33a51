"""A strict reader of the part of mermaid's flowcharts that diagrams are written in; anything else is refused.

It follows mermaid's grammar (``flow.jison`` of 11.17) where that is strictest: ids are words, labels are quoted, and no
character stands in a label that mermaid, markdown or HTML could take for something else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

ID = r"[a-z][A-Za-z0-9]*"
LABEL = r'"((?:[^"\n])+)"'
SHAPES = {
    "rectangle": rf"\[{LABEL}\]", "rounded": rf"\({LABEL}\)", "diamond": rf"\{{{LABEL}\}}",
    "circle": rf"\(\({LABEL}\)\)", "stadium": rf"\(\[{LABEL}\]\)",
    "slanted": rf"\[/{LABEL}/\]",
}  # fmt: skip
CHARACTER = re.compile(r"#\d+;|[^\W_]|(?<=[^\W_])[_-](?=[^\W_])|(?<=\d)\.(?=\d)|(?<=\S) (?=\S)|[^\x00-\x7f°¶]|[\[\],|]")
RESERVED = {"end", "subgraph", "graph", "flowchart", "click", "style", "class", "default", "direction", "o", "x"}


@dataclass
class Box:
    """A box, or a frame: its shape, the lines of its label, the id of the frame that it is in, its style."""

    shape: str
    label: list[str]
    frame: str | None
    style: str | None = None


@dataclass
class Chart:
    """A flowchart: its boxes and frames by id, and its arrows: from, to, label, whether it is dotted."""

    boxes: dict[str, Box] = field(default_factory=dict)
    arrows: list[tuple[str, str, list[str], bool]] = field(default_factory=list)

    def id(self, name: str) -> str:
        """The id of the one box or frame whose label begins with a line."""
        [found] = [id for id, box in self.boxes.items() if box.label[0] == name]
        return found

    def of(self, name: str) -> Box:
        """The one box or frame whose label begins with a line."""
        return self.boxes[self.id(name)]

    def frames(self, id: str) -> list[str]:
        """The names of the frames that a box is in, from the outermost inwards."""
        frame = self.boxes[id].frame
        return [] if frame is None else [*self.frames(frame), self.boxes[frame].label[0]]

    def named(self) -> list[tuple[str, str, list[str]]]:
        """The arrows, with names instead of ids, those that are dotted as ``-.->``."""
        name = {id: box.label[0] for id, box in self.boxes.items()}
        return [(f"{name[a]} {'-.->' if dotted else '-->'} {name[b]}", *label) for a, b, label, dotted in self.arrows]


def read(text: str) -> Chart:
    """Reads a flowchart, and checks that everything in it is well formed, declared once, and in its place."""
    head, *lines = text.splitlines()
    assert head == "flowchart TD"
    chart, open_frames, styles = Chart(), [None], set()
    for line in lines:
        _read_line(line.strip(), chart, open_frames, styles)
    assert open_frames == [None], "a subgraph has no end"
    ids = set(chart.boxes)
    assert all({start, end} <= ids for start, end, _, _ in chart.arrows)
    for start, end, _, _ in chart.arrows:
        assert start not in _around(chart, end) and end not in _around(chart, start), "an arrow from a frame into it"
    return chart


def _read_line(line: str, chart: Chart, open_frames: list[str | None], styles: set[str]) -> None:
    if found := re.fullmatch(rf"subgraph ({ID})\[{LABEL}\]", line):
        _declare(chart, found[1], "frame", found[2], open_frames[-1])
        open_frames.append(found[1])
    elif line == "end":
        assert open_frames.pop() is not None, "an end without a subgraph"
    elif found := re.fullmatch(rf"({ID}) (-->|-\.->)\|{LABEL}\| ({ID})", line):
        assert open_frames == [None], "arrows stand outside of frames: they would draw boxes into them"
        chart.arrows.append((found[1], found[4], _label(found[3]), found[2] == "-.->"))
    elif found := re.fullmatch(rf"classDef ({ID}) (?:[a-z]+:[#a-z0-9]+,?)+", line):
        assert found[1] not in styles
        styles.add(found[1])
    elif found := re.fullmatch(rf"class ({ID}(?:,{ID})*) ({ID})", line):
        assert found[2] in styles
        for id in found[1].split(","):
            assert chart.boxes[id].style is None
            chart.boxes[id].style = found[2]
    else:
        [(shape, found)] = [
            (shape, found) for shape, form in SHAPES.items() if (found := re.fullmatch(rf"({ID}){form}", line))
        ]
        _declare(chart, found[1], shape, found[2], open_frames[-1])


def _declare(chart: Chart, id: str, shape: str, label: str, frame: str | None) -> None:
    assert id not in chart.boxes and id not in RESERVED
    chart.boxes[id] = Box(shape, _label(label), frame)


def _label(written: str) -> list[str]:
    lines = written.split("<br/>")
    for line in lines:
        assert line and CHARACTER.sub("", line) == "", f"{line!r} is not safe"
    return [re.sub(r"#(\d+);", lambda code: chr(int(code[1])), line) for line in lines]


def _around(chart: Chart, id: str) -> set[str]:
    frame = chart.boxes[id].frame
    return set() if frame is None else {frame, *_around(chart, frame)}
