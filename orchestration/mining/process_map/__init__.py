"""The process map as a picture: folded to a size that a person can read, laid out by Graphviz."""

from orchestration.mining.process_map.draw import Drawer, NotDrawn
from orchestration.mining.process_map.fold import Edge, FoldedMap, Marker, fold
from orchestration.mining.process_map.graph import caption, dot_of

__all__ = ["Drawer", "Edge", "FoldedMap", "Marker", "NotDrawn", "caption", "dot_of", "fold"]
