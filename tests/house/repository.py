"""What the tests of the house read: the project's folder and its committed text files."""

import subprocess
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


def committed_texts() -> dict[str, str]:
    """Text of every file that git tracks or would add, by its path in the project."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    texts = {}
    for name in filter(None, listing.split("\0")):
        path = PROJECT / name
        try:
            texts[name] = path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue  # a picture, or a file that was just deleted
    return texts


def documents() -> dict[str, str]:
    """The Markdown pages among them."""
    return {name: text for name, text in committed_texts().items() if name.endswith(".md")}
