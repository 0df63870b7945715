"""Connected components: union-find over whole arrays at a time."""

import numpy as np

from orchestration.identity.links import Codes


def components(count: int, left: Codes, right: Codes) -> Codes:
    """The smallest node of each node's component.

    In a round every root takes the smallest root that an edge leads it to, then all paths to roots are halved until
    they are gone, and edges within a component are dropped.

    Args:
        count: The nodes are 0 to ``count - 1``.
        left: One end of each edge.
        right: The other end.
    """
    root = np.arange(count, dtype=np.int64)
    while left.size:
        low, high = np.minimum(left, right), np.maximum(left, right)
        np.minimum.at(root, high, low)
        while not np.array_equal(further := root[root], root):
            root = further
        left, right = root[low], root[high]
        apart = left != right
        left, right = left[apart], right[apart]
    return root
