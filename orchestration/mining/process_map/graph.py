"""A folded process map in Graphviz's language. Labels come from a log: they are quoted, cut, and never markup."""

from orchestration.mining.process_map.fold import Edge, FoldedMap, Marker

_LONGEST_LABEL = 40

# Graphviz knows how wide Arial's letters are, and every browser has a font like it. The dialog of Dagster's UI cuts off
# what is wider than 12 inches, so a wide map is drawn smaller.
_HEAD = """digraph {
graph [rankdir=TB, nodesep=0.3, ranksep=0.45, bgcolor=white, size="12,400"]
node [shape=box, style="rounded,filled", fillcolor="#eaf2f8", color="#5d8aa8", fontname="Arial", fontsize=11]
edge [color="#888888", fontname="Arial", fontsize=9, arrowsize=0.6]
start [shape=circle, label="", width=0.25, fillcolor="#7fb77e", color="#4f7f4e"]
end [shape=doublecircle, label="", width=0.2, fillcolor="#d98880", color="#a04a42"]
"""


def dot_of(folded: FoldedMap) -> str:
    """The picture's description: nodes with their events, edges with passages and mean time."""
    numbers = {name: f"n{place}" for place, name in enumerate(folded.events)}
    most_events = max(folded.events.values(), default=1)
    most_passages = max((edge.frequency for edge in folded.edges), default=1)
    lines = [
        f"{numbers[name]} [label={quoted(cut(name), f'{count:,}')}, fillcolor={_shade(count / most_events)}]"
        for name, count in folded.events.items()
    ]
    if folded.folded:
        label = quoted(f"{folded.folded:,} other activities", f"{folded.folded_events:,}")
        lines.append(f'{Marker.FOLDED.value} [label={label}, style="rounded,dashed"]')
    for edge in folded.edges:
        ends = (end.value if isinstance(end, Marker) else numbers[end] for end in (edge.source, edge.target))
        width = 0.6 + 3.4 * edge.frequency / most_passages
        lines.append(f"{' -> '.join(ends)} [label={quoted(*_passages(edge))}, penwidth={width:.2f}]")
    return _HEAD + "\n".join(lines) + "\n}\n"


def caption(folded: FoldedMap) -> str:
    """What a reader must know of the picture."""
    told = "Events per activity; passages and their mean time per arrow."
    if folded.folded:
        told += f" {folded.folded:,} rare activities are folded into one."
    if folded.hidden_edges:
        told += f" {folded.hidden_edges:,} rare arrows ({folded.hidden_passages:,} passages) are not drawn."
    return told


def _passages(edge: Edge) -> tuple[str, ...]:
    if edge.source is Marker.START or edge.target is Marker.END:
        return (f"{edge.frequency:,}",)
    return f"{edge.frequency:,}", duration(edge.total_us / edge.frequency / 1e6)


def duration(seconds: float) -> str:
    """Two digits or so of a time in seconds."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if abs(seconds) >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def quoted(*lines: str) -> str:
    """A label of these lines."""
    escaped = (line.replace("\\", "\\\\").replace('"', '\\"') for line in lines)
    return '"' + "\\n".join(escaped) + '"'


def cut(label: str) -> str:
    """The label on one line, printable and short."""
    printable = "".join(sign if sign.isprintable() else " " for sign in label)
    return printable if len(printable) <= _LONGEST_LABEL else printable[: _LONGEST_LABEL - 1] + "…"


def _shade(share: float) -> str:
    """From nearly white to blue."""
    low, high = (0xF4, 0xF8, 0xFB), (0x8F, 0xBC, 0xDB)
    mixed = (round(a + (b - a) * share) for a, b in zip(low, high, strict=True))
    return '"#' + "".join(f"{part:02x}" for part in mixed) + '"'
