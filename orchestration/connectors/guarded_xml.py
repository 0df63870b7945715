"""Foreign XML as a stream of elements: nothing is fetched or expanded, and what was read can be let go."""

from collections.abc import Callable, Collection, Iterator
from typing import Any

from lxml import etree

from orchestration.connectors.archive import ByteStream


def guarded_elements(
    stream: ByteStream, roots: Collection[str], tags: Collection[str], check_root: Callable[[Any], None]
) -> Iterator[Any]:
    """The elements below the root that have one of the tags, each as it ends; whatever their namespaces.

    ``check_root`` gets the first of those elements or roots before any of its content is parsed, None if there is none:
    it refuses what the caller does not read.

    Raises:
        lxml.etree.XMLSyntaxError: The document is not well-formed.
        Exception: Whatever ``check_root`` raises.
    """
    root: Any = None
    for action, element in etree.iterparse(
        stream,
        events=("start", "end"),
        tag=[f"{{*}}{tag}" for tag in (*roots, *tags)],
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    ):
        if root is None:
            root = element
            check_root(root)
        elif action == "end" and element is not root:
            yield element
    if root is None:
        check_root(None)


def has_doctype(root: Any) -> bool:
    """Whether the document has a DOCTYPE, which can carry attacks."""
    document = root.getroottree().docinfo
    return bool(document.doctype) or document.internalDTD is not None


def let_go(element: Any) -> None:
    """Free an element and what came before it; lxml keeps both otherwise."""
    element.clear()
    while element.getprevious() is not None:
        del element.getparent()[0]
