"""A process map becomes a picture of bounded size that says what it leaves out."""

import random
import re
from collections import Counter
from collections.abc import Iterator
from xml.etree import ElementTree

import pytest

from orchestration.mining.process_map import Drawer, Edge, Marker, NotDrawn, caption, dot_of, fold

SVG = "{http://www.w3.org/2000/svg}"
WIDEST_POINTS = 12 * 72 + 10
"""What the dialog of the UI shows whole, and Graphviz's own margin."""


@pytest.fixture(scope="module")
def drawer() -> Iterator[Drawer]:
    with Drawer(seconds=20) as opened:
        yield opened


def random_map(activities: int, edges: int, seed: int = 3) -> tuple[dict[str, int], list[Edge]]:
    draw = random.Random(seed)
    names = [f"activity {number}" for number in range(activities)]
    pairs = [(a, b) for a in names for b in names]
    chosen = draw.sample(pairs, min(edges, len(pairs)))
    found = [Edge(a, b, draw.randrange(1, 1000), draw.randrange(10**12)) for a, b in chosen]
    outer = [Edge(Marker.START, names[0], 7, 0), Edge(names[-1], Marker.END, 7, 0)]
    return {name: draw.randrange(1, 5000) for name in names}, [*found, *outer]


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def nodes_and_edges(svg: str) -> Counter[str | None]:
    return Counter(group.get("class") for group in ElementTree.fromstring(svg).iter(f"{SVG}g"))


@pytest.mark.parametrize(("activities", "edges"), [(1, 1), (16, 60), (400, 40_000)])
def test_a_map_of_any_size_is_drawn_within_its_bounds(drawer: Drawer, activities: int, edges: int) -> None:
    folded = fold(*random_map(activities, edges))
    svg = drawer.svg(dot_of(folded))
    drawn = nodes_and_edges(svg)
    assert drawn["node"] == min(activities, 40) + 2, "and start and end"
    assert 0 < drawn["edge"] <= 150
    width = re.match(r"([\d.]+)pt", ElementTree.fromstring(svg).attrib["width"])
    assert width
    assert float(width[1]) <= WIDEST_POINTS
    told = caption(folded)
    assert ("361 rare activities are folded into one" in told) == (activities == 400)
    assert ("are not drawn" in told) == (activities == 400)


def test_folding_loses_no_event_and_no_passage() -> None:
    events, edges = random_map(100, 900)
    folded = fold(events, edges)
    assert sum(folded.events.values()) + folded.folded_events == sum(events.values())
    passages = sum(edge.frequency for edge in folded.edges)
    assert passages + folded.hidden_passages == sum(edge.frequency for edge in edges)


def test_no_activity_stands_alone_that_does_not_in_the_log() -> None:
    events, edges = random_map(39, 1400)
    folded = fold(events, edges)
    touched = {
        end for edge in folded.edges if edge.source != edge.target for end in (edge.source, edge.target)
    }
    assert touched == {*events, Marker.START, Marker.END}


def test_the_same_map_in_any_order_is_the_same_picture(drawer: Drawer) -> None:
    events, edges = random_map(60, 500)
    again = fold(dict(reversed(events.items())), list(reversed(edges)))
    assert dot_of(again) == dot_of(fold(events, edges))
    assert drawer.svg(dot_of(again)) == drawer.svg(dot_of(again))


def test_labels_of_a_log_are_text(drawer: Drawer) -> None:
    hostile = '"] evil [label="<b>\\N</b> <script>'
    svg = drawer.svg(dot_of(fold({hostile: 3, "tab\tand\nline": 1}, [Edge(hostile, hostile, 2, 10**6)])))
    assert hostile in texts(svg)
    assert "tab and line" in texts(svg)
    assert nodes_and_edges(svg)["node"] == 4


def test_a_layout_that_takes_too_long_is_given_up_and_the_next_one_is_drawn() -> None:
    huge = fold(*random_map(100, 6000), most_activities=100, most_edges=6000)
    with Drawer(seconds=3) as drawer:
        with pytest.raises(NotDrawn, match="within 3 s"):
            drawer.svg(dot_of(huge))
        assert drawer.svg("digraph { a -> b }").startswith("<svg")


def test_what_graphviz_refuses_is_told(drawer: Drawer) -> None:
    with pytest.raises(NotDrawn, match="Graphviz"):
        drawer.svg("digraph { a -> ")
