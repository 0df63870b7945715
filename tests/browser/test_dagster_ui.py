"""What a data engineer sees in the Dagster UI, in headless Chromium: the graph, a materialisation, its checks, its run.

With ``DOCS_SCREENSHOTS=docs/images`` the screenshots of the documents are taken anew.
"""

import base64
import json
import os
import random
import re
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import FloatRect, Locator, Page, expect

from orchestration.control_plane import database
from orchestration.control_plane.releases import explanations
from orchestration.mining.process_map.fold import MOST_ACTIVITIES, MOST_EDGES
from tests.browser.conftest import HOSTILE_SLUG, SLUG, STRANGER
from tests.e2e.conftest import Casetrail

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ASSETS = ("raw_records", "events", "cases", "variants", "process_map", "explainability", "provenance")
# raw > events > cases > variants, process_map; explainability < cases, events; provenance < the last four;
# releases_are_current < provenance; and an analysis on demand begins at provenance
EDGES = 12
LOCATION = "__repository__@orchestration.definitions"
MONTH = "2024-02"
WAIT = 60_000
PICTURE = "img[src^='data:image/svg+xml']"


def shoot(page: Page, name: str, tmp_path: Path, clip: FloatRect | None = None) -> None:
    path = Path(os.environ.get("DOCS_SCREENSHOTS", tmp_path)) / f"{name}.png"
    page.screenshot(path=path, clip=clip)
    assert path.stat().st_size > 20_000, "the picture is all but empty"


def around(parts: Locator) -> FloatRect:
    """The part of the page that holds all of these, with a margin."""
    boxes = [box for box in (part.bounding_box() for part in parts.all()) if box]
    left = min(box["x"] for box in boxes) - 25
    top = min(box["y"] for box in boxes) - 25
    right = max(box["x"] + box["width"] for box in boxes) + 25
    bottom = max(box["y"] + box["height"] for box in boxes) + 25
    return {"x": left, "y": top, "width": right - left, "height": bottom - top}


def open_partition(page: Page, ui: str, asset: str, slug: str = SLUG, of: str = MONTH) -> None:
    """The partitions tab of an asset, with a month of a workspace chosen, or an analysis on demand."""
    page.goto(f"{ui}/assets/{asset}?view=partitions&partition={quote(f'{of}|{slug}')}")
    expect(page.get_by_text("Latest materialization")).to_be_visible(timeout=WAIT)
    page.get_by_text("Hide navigation").click()


def metadata(page: Page, name: str) -> str:
    """The value that the materialisation shows beside a name."""
    row = page.get_by_role("row").filter(has=page.get_by_role("cell", name=name, exact=True)).first
    value = row.get_by_role("cell").nth(1)
    # Markdown is drawn by a part of the UI that loads later.
    expect(value).to_contain_text(re.compile(r"\S"), timeout=WAIT)
    return value.inner_text(timeout=WAIT).strip()


def shown_table(page: Page, name: str) -> Locator:
    """The row of the metadata whose value is this table, moved into sight."""
    row = page.get_by_role("row").filter(has=page.get_by_role("cell", name=name, exact=True)).first
    table = row.get_by_role("table").first
    expect(table).to_be_visible(timeout=WAIT)
    table.scroll_into_view_if_needed()
    return table


def cells(table: Locator) -> list[list[str]]:
    """The texts of a table, row by row, without its head."""
    rows = [row.get_by_role("cell").all_inner_texts() for row in table.get_by_role("row").all()]
    return [row for row in rows if row]


def picture_is_drawn(page: Page) -> bool:
    picture = page.locator(PICTURE).first
    expect(picture).to_be_visible(timeout=WAIT)
    return bool(picture.evaluate("image => image.complete && image.naturalWidth > 0"))


def test_the_asset_graph_shows_the_path_of_the_data(page: Page, ui: str, tmp_path: Path) -> None:
    page.set_viewport_size({"width": 2000, "height": 800})
    page.goto(f"{ui}/locations/{LOCATION}/asset-groups/standing_analysis/lineage")
    for asset in ASSETS:
        expect(page.get_by_text(asset, exact=True).first).to_be_visible(timeout=WAIT)
    graph = page.locator("svg").filter(has=page.locator("marker[id^='arrow']"))
    expect(graph.locator("path[d*='C']")).to_have_count(EDGES, timeout=WAIT)
    expect(page.get_by_text("3 / 3 Passed")).to_be_visible(timeout=WAIT)
    page.wait_for_timeout(3000)  # the graph is laid out and zoomed in steps
    shoot(page, "asset-graph", tmp_path, clip=around(graph.locator("foreignObject")))


def test_the_page_of_an_asset_tells_its_group_and_columns(page: Page, ui: str) -> None:
    page.goto(f"{ui}/assets/events")
    for text in ("standing_analysis", "The canonical event log", "tie_order", "native_case_id"):
        expect(page.get_by_text(text).first).to_be_visible(timeout=WAIT)
    page.goto(f"{ui}/assets/cases")
    expect(page.get_by_text("From the first to the last event, in seconds").first).to_be_visible(timeout=WAIT)


def test_a_materialisation_of_events_tells_what_it_is(
    casetrail: Casetrail, page: Page, ui: str, tmp_path: Path
) -> None:
    (truth,) = casetrail.query(
        SLUG,
        f"select count(*) as events, count(distinct global_case_id) as cases"
        f" from events where strftime(timestamp, '%Y-%m') = '{MONTH}'",
    )
    open_partition(page, ui, "events")
    assert metadata(page, "dagster/row_count") == str(truth["events"])
    assert metadata(page, "cases") == str(truth["cases"])
    assert metadata(page, "text") == f"{truth['events']:,} events in {MONTH}, made in this run."
    assert metadata(page, "content_sha256")[:16] in metadata(page, "object")
    assert len(metadata(page, "content_sha256")) == 64
    audits = metadata(page, "audits")
    assert "failed" not in audits
    for audit in ("conservation", "contract", "isolation", "total_order"):
        assert f"passed: {audit}" in audits
    assert '"arrival_id"' in metadata(page, "inputs")
    assert picture_is_drawn(page)
    shoot(page, "events-materialisation", tmp_path)


def test_a_materialisation_of_cases_tells_their_cycle_time(
    casetrail: Casetrail, page: Page, ui: str, tmp_path: Path
) -> None:
    (truth,) = casetrail.query(
        SLUG,
        f"select count(*) as cases, round(avg(cycle_time_seconds) / 86400, 3) as days"
        f" from cases where strftime(start_ts, '%Y-%m') = '{MONTH}'",
    )
    open_partition(page, ui, "cases")
    assert metadata(page, "dagster/row_count") == str(truth["cases"])
    assert float(metadata(page, "mean_cycle_time_days")) == pytest.approx(truth["days"], abs=1e-3)
    assert "passed: unique_cases_global_case_id" in metadata(page, "audits")
    assert picture_is_drawn(page)
    shoot(page, "cases-materialisation", tmp_path)


def test_a_materialisation_of_the_process_map_shows_it(page: Page, ui: str, tmp_path: Path) -> None:
    open_partition(page, ui, "process_map")
    row = page.get_by_role("row").filter(has=page.get_by_role("cell", name="process_map", exact=True)).first
    row.get_by_text("Show Markdown").click()
    picture = page.get_by_role("dialog").locator(PICTURE)
    expect(picture).to_be_visible(timeout=WAIT)
    assert picture.evaluate("image => image.naturalHeight") > 300
    shoot(page, "process-map", tmp_path)


def test_a_materialisation_of_variants_lists_the_most_frequent(page: Page, ui: str) -> None:
    open_partition(page, ui, "variants")
    row = page.get_by_role("row").filter(has=page.get_by_role("cell", name="most_frequent", exact=True)).first
    expect(row.get_by_text("→").first).to_be_visible(timeout=WAIT)


def test_the_explanation_of_a_month_can_be_read_as_it_was_released(
    casetrail: Casetrail, page: Page, ui: str, tmp_path: Path
) -> None:
    job = casetrail.json("analysis", "show", SLUG)
    with database.as_system(casetrail.settings().system_dsn, job["workspace_id"]) as connection:
        rows = explanations(connection, job["workspace_id"], job["provenance_id"], MONTH)
    told = [row["summary"] for row in rows if row["scope"] == "global"]
    bottlenecks = [row["summary"] for row in rows if row["scope"] == "bottleneck"]
    open_partition(page, ui, "explainability")
    assert [metadata(page, "narrative")] == told
    assert "is associated with" in metadata(page, "narrative")
    assert "is bottleneck 1" in metadata(page, "bottleneck 1")
    assert int(metadata(page, "completed_cases")) > 500
    shown = [metadata(page, f"bottleneck {place}") for place in range(1, len(bottlenecks) + 1)]
    assert sorted(shown) == sorted(bottlenecks) != []
    shoot(page, "explainability", tmp_path)


def test_the_bottlenecks_of_a_month_are_a_table(page: Page, ui: str, tmp_path: Path) -> None:
    page.set_viewport_size({"width": 1800, "height": 1300})
    open_partition(page, ui, "explainability")
    table = shown_table(page, "bottlenecks")
    shown = cells(table)
    assert [row[0] for row in shown] == ["1", "2", "3", "4", "5"]
    first = metadata(page, "bottleneck 1")
    assert first.startswith(f"{shown[0][1]} → {shown[0][2]} is bottleneck 1: it takes ")
    assert f" {round(float(shown[0][4]))}% of all elapsed time" in first
    shoot(page, "bottlenecks", tmp_path, clip=around(table))


def test_the_refresh_runs_have_succeeded(page: Page, ui: str, tmp_path: Path) -> None:
    page.goto(f"{ui}/runs")
    for slug in (SLUG, HOSTILE_SLUG):
        expect(page.get_by_text(f"casetrail/workspace: {slug}")).to_have_count(1, timeout=WAIT)
    for text in ("refresh_job", "Success"):
        expect(page.get_by_text(text, exact=True)).to_have_count(2, timeout=WAIT)
    shoot(page, "runs", tmp_path)


def test_what_a_comparison_found_is_a_table_under_its_words(
    casetrail: Casetrail, page: Page, ui: str, tmp_path: Path
) -> None:
    reminded = {"kind": "activities", "mode": "with", "activities": ["Remind customer"]}
    sides = {
        "reference": {"name": "not reminded", "filters": [{"kind": "not", "of": reminded}]},
        "compared": {"name": "reminded", "filters": [reminded]},
    }
    question = tmp_path / "question.json"
    question.write_text(json.dumps({"filters": [{"kind": "variants", "top": 4}], "comparison": sides}))
    job = casetrail.json("analysis", "run", SLUG, "--parameters", str(question), "--wait")
    shown = casetrail.json("analysis", "show", SLUG, job["id"])
    told = [row for row in shown["explanations"] if row["scope"] == "comparison"]
    page.set_viewport_size({"width": 1500, "height": 2200})
    open_partition(page, ui, "analysis_explanations", of=job["id"])
    assert metadata(page, "comparison") == told[0]["summary"]
    table = shown_table(page, "changes")
    found = cells(table)
    assert found[0][:2] == ["mean", "cycle_time"]
    assert float(found[0][4]) == pytest.approx(told[0]["features"]["difference_seconds"] / 86_400, abs=1e-3)
    assert ["activity", "Remind customer", "0", "100", "100"] in [row[:5] for row in found]
    assert [row[0] for row in found].count("path") == 4
    caption = (
        page.get_by_role("row").filter(has=page.get_by_role("cell", name="comparison", exact=True)).first
    )
    clip = around(caption.get_by_role("cell").nth(1).or_(table))
    shoot(page, "comparison", tmp_path, clip={**clip, "height": min(clip["height"], 900)})


def test_the_release_names_its_provenance_record(
    casetrail: Casetrail, page: Page, ui: str, tmp_path: Path
) -> None:
    released = casetrail.json("analysis", "show", SLUG)["provenance_id"]
    open_partition(page, ui, "provenance")
    assert metadata(page, "text").endswith(f"released as {released}.")
    assert "passed: cases_conserved" in metadata(page, "audits")
    shoot(page, "provenance", tmp_path)


def test_the_checks_of_events_have_passed(page: Page, ui: str, tmp_path: Path) -> None:
    page.goto(f"{ui}/assets/events?view=checks")
    for check in ("conservation", "contract", "isolation", "total_order"):
        expect(page.get_by_text(check, exact=True).first).to_be_visible(timeout=WAIT)
    expect(page.get_by_text("Succeeded", exact=True)).to_have_count(4, timeout=WAIT)
    shoot(page, "checks", tmp_path)


@pytest.mark.parametrize("asset", ["events", "variants", "process_map", "explainability"])
def test_a_log_cannot_make_the_browser_ask_another_host(page: Page, ui: str, asset: str) -> None:
    open_partition(page, ui, asset, HOSTILE_SLUG)
    if asset == "explainability":
        assert STRANGER in metadata(page, "bottleneck 1"), "the label is shown as it is"
    else:
        assert picture_is_drawn(page)
    # What the page asks for, the fixture has seen at the test's end.
    page.wait_for_load_state("networkidle")


def log_of(activities: int) -> str:
    """A log of 300 cases in ``MONTH`` with so many activities, of which low numbers are frequent."""
    draw = random.Random(activities)
    rows = ["case,activity,time"]
    for case in range(300):
        for step in range(12):
            name = f"step {int(activities * draw.random() ** 2) + 1}"
            rows.append(f"{case},{name},{MONTH}-{1 + step:02}T{case % 24:02}:{draw.randrange(60):02}:00Z")
    return "\n".join(rows) + "\n"


@pytest.mark.parametrize("activities", [1, 16, 400])
def test_the_process_map_stays_readable_whatever_the_log(
    casetrail: Casetrail, page: Page, ui: str, tmp_path: Path, activities: int
) -> None:
    slug, log = f"map-{activities}", tmp_path / "log.csv"
    log.write_text(log_of(activities))
    casetrail.json("workspace", "create", slug, "--slug", slug, "--owner", f"ada@{slug}.example")
    casetrail.json("upload", slug, str(log), "--wait")
    (truth,) = casetrail.query(slug, "select count(distinct activity) as activities from events")
    open_partition(page, ui, "process_map", slug)
    row = page.get_by_role("row").filter(has=page.get_by_role("cell", name="process_map", exact=True)).first
    row.get_by_text("Show Markdown").click()
    dialog = page.get_by_role("dialog")
    picture = dialog.locator(PICTURE)
    expect(picture).to_be_visible(timeout=WAIT)
    assert picture.evaluate("image => image.complete && image.naturalWidth > 100")
    assert picture.evaluate("image => image.naturalWidth <= image.closest('[role=dialog]').clientWidth")
    drawn = base64.b64decode((picture.get_attribute("src") or "").partition(",")[2]).decode()
    boxes = drawn.count('class="node"') - 2  # the marks of start and end are nodes too
    assert boxes == min(truth["activities"], MOST_ACTIVITIES)
    assert drawn.count('class="edge"') <= MOST_EDGES
    folded = re.search(r"([\d,]+) rare activities are folded into one", dialog.inner_text())
    told = int(folded[1].replace(",", "")) if folded else 0
    assert told == truth["activities"] - (boxes - bool(told)), "what is not drawn is said"
    shoot(page, f"process-map-{activities}", tmp_path)
