"""A released workspace in a running Dagster, and a headless Chromium to look at it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from orchestration.demo.lead_to_cash import write_lead_to_cash
from tests.e2e.conftest import Casetrail, casetrail

__all__ = ["casetrail"]

CHROMIUM = Path("/usr/bin/chromium")
SLUG = "acme"
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
    """The address of the Dagster UI, with one workspace released: 3,000 cases over six months."""
    log = tmp_path_factory.mktemp("log") / "lead_to_cash.csv"
    write_lead_to_cash(log, cases=3_000, months=6)
    casetrail.json("workspace", "create", "Acme", "--slug", SLUG, "--owner", "ada@acme.example")
    casetrail.json("upload", SLUG, str(log), "--wait")
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
    """A page that fails the test when it asks another host for anything."""
    opened = browser.new_page(viewport={"width": 1500, "height": 950})
    strangers: list[str] = []
    opened.on("request", lambda request: None if _is_ours(request.url, ui) else strangers.append(request.url))
    yield opened
    opened.close()
    assert strangers == []


def _is_ours(url: str, ui: str) -> bool:
    return url.startswith((ui, ui.replace("http", "ws"), "data:", "blob:"))
