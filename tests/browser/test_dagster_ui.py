"""What a data engineer sees in the Dagster UI, in headless Chromium: the graph, a materialisation, its checks, its run.

With ``DOCS_SCREENSHOTS=docs/images`` the screenshots of the documents are taken anew.
"""

import os
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import SLUG

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ASSETS = ("raw_csv_upload", "events", "cases", "variants", "process_map", "explainability", "provenance")
MONTH = "2024-02"
WAIT = 60_000


def shoot(page: Page, name: str, tmp_path: Path) -> None:
    folder = Path(os.environ.get("DOCS_SCREENSHOTS", tmp_path))
    page.screenshot(path=folder / f"{name}.png")
    assert (folder / f"{name}.png").stat().st_size > 20_000, "the picture is all but empty"


def open_partition(page: Page, ui: str, asset: str) -> None:
    """The partitions tab of an asset, with the month of the workspace chosen."""
    page.goto(f"{ui}/assets/{asset}?view=partitions&partition={quote(f'{MONTH}|{SLUG}')}")


def test_the_asset_graph_shows_the_path_of_the_data(page: Page, ui: str, tmp_path: Path) -> None:
    page.set_viewport_size({"width": 2000, "height": 700})
    page.goto(f"{ui}/asset-groups")
    for asset in ASSETS:
        expect(page.get_by_text(asset, exact=True).first).to_be_visible(timeout=WAIT)
    page.wait_for_timeout(3000)  # the graph is laid out and zoomed in steps
    shoot(page, "asset-graph", tmp_path)


def test_a_materialisation_of_events_tells_what_it_is(page: Page, ui: str, tmp_path: Path) -> None:
    open_partition(page, ui, "events")
    for text in ("content_sha256", "dagster/row_count", "audits", "inputs", "made in this run"):
        expect(page.get_by_text(text).first).to_be_visible(timeout=WAIT)
    picture = page.locator("img[src^='data:image/svg+xml']").first
    expect(picture).to_be_visible(timeout=WAIT)
    assert picture.evaluate("image => image.naturalWidth") > 0
    shoot(page, "events-materialisation", tmp_path)


def test_the_explanation_of_a_month_can_be_read(page: Page, ui: str, tmp_path: Path) -> None:
    open_partition(page, ui, "explainability")
    for text in ("narrative", "completed cases started in", "completed_cases"):
        expect(page.get_by_text(text).first).to_be_visible(timeout=WAIT)
    shoot(page, "explainability", tmp_path)


def test_the_release_names_its_provenance_record(page: Page, ui: str, tmp_path: Path) -> None:
    open_partition(page, ui, "provenance")
    expect(page.get_by_text("released as").first).to_be_visible(timeout=WAIT)
    shoot(page, "provenance", tmp_path)


def test_the_checks_of_events_have_passed(page: Page, ui: str, tmp_path: Path) -> None:
    page.goto(f"{ui}/assets/events?view=checks")
    for check in ("conservation", "contract", "isolation", "total_order"):
        expect(page.get_by_text(check, exact=True).first).to_be_visible(timeout=WAIT)
    expect(page.get_by_text("Failed", exact=True)).to_have_count(0)
    shoot(page, "checks", tmp_path)


def test_the_refresh_run_has_succeeded(page: Page, ui: str, tmp_path: Path) -> None:
    page.goto(f"{ui}/runs")
    expect(page.get_by_text("refresh_job").first).to_be_visible(timeout=WAIT)
    expect(page.get_by_text("Success").first).to_be_visible(timeout=WAIT)
    shoot(page, "runs", tmp_path)
