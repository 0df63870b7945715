"""Released workspaces in a running Dagster, and a headless Chromium to look at them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from orchestration.demo.lead_to_cash import write_lead_to_cash
from tests.e2e.conftest import Casetrail, casetrail

__all__ = ["casetrail"]

CHROMIUM = Path("/usr/bin/chromium")
PATIENCE = 120_000
"""Milliseconds: another test runs beside this one, and a page that comes late is no wrong page."""
SLUG, HOSTILE_SLUG = "acme", "mallory"
STRANGER = "http://stranger.example/seen.png"
HOSTILE_LOG = f"""case,activity,time,region
a,order,2024-02-01T10:00:00Z,north
a,![x]({STRANGER}) <img src='{STRANGER}'>,2024-02-02T10:00:00Z,north
a,pay,2024-02-05T10:00:00Z,north
b,order,2024-02-01T00:00:00Z,south
b,![x]({STRANGER}) <img src='{STRANGER}'>,2024-02-04T00:00:00Z,south
"""
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def ui(casetrail: Casetrail, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of the Dagster UI, with two workspaces released: 3,000 cases over six months, and a hostile log."""
    folder = tmp_path_factory.mktemp("logs")
    acme, hostile = folder / "lead_to_cash.csv", folder / "hostile.csv"
    write_lead_to_cash(acme, cases=3_000, months=6)
    hostile.write_text(HOSTILE_LOG)
    # The smaller one first, so that what the UI calls the latest is the other.
    for slug, log in ((HOSTILE_SLUG, hostile), (SLUG, acme)):
        casetrail.json("workspace", "create", slug, "--slug", slug, "--owner", f"ada@{slug}.example")
        casetrail.json("upload", slug, str(log), "--wait")
    settings = casetrail.settings()
    return f"http://{settings.webserver_host}:{settings.webserver_port}"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, headless."""
    assert CHROMIUM.exists(), "Chromium is not installed: run scripts/install-chromium"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser, ui: str) -> Iterator[Page]:
    """A page that fails the test when it asks another host for anything, or reports an error."""
    opened = browser.new_page(viewport={"width": 1500, "height": 1100})
    opened.set_default_timeout(PATIENCE)
    strangers: list[str] = []
    errors: list[str] = []
    opened.on("request", lambda request: None if _is_ours(request.url, ui) else strangers.append(request.url))
    opened.on("console", lambda told: errors.append(told.text) if told.type == "error" else None)
    opened.on("pageerror", lambda error: errors.append(str(error)))
    yield opened
    opened.close()
    assert strangers == []
    assert errors == []


def _is_ours(url: str, ui: str) -> bool:
    return url.startswith((ui, ui.replace("http", "ws"), "data:", "blob:"))
