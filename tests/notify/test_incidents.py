"""What is an incident: each begins once and ends once, whatever happens in between."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from orchestration.control_plane.notifications import EVENTS, Watch
from orchestration.notify.incidents import changes

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FINE = Watch(
    workspace_id="w",
    slug="acme",
    channel_id="c",
    events=list(EVENTS),
    stale_after_seconds=3600,
    analysis_id="a",
    status="succeeded",
    error_message=None,
    failed_at=None,
    waiting_since=None,
    broken_connectors=[],
    ongoing=[],
    due=False,
)
FAILED = replace(FINE, status="failed", failed_at=NOW, error_message="a file is gone")
BROKEN = [{"id": "k", "type": "csv_upload", "name": "inbox", "message": "no column is a time"}]


def told(event: str, subject: str) -> list[dict[str, Any]]:
    return [{"id": "n", "event": event, "subject": subject, "since": NOW.isoformat()}]


def begun(watch: Watch) -> list[str]:
    return [incident.event for incident in changes(watch, NOW).begun]


def over(watch: Watch) -> list[str]:
    return [ended.event for ended in changes(watch, NOW).over]


def test_nothing_is_told_of_a_workspace_that_is_fine() -> None:
    assert (begun(FINE), over(FINE)) == ([], [])


def test_a_failure_is_told_with_its_reason() -> None:
    (incident,) = changes(FAILED, NOW).begun
    assert (incident.event, incident.subject, incident.since) == ("failure", "analysis/a", NOW)
    assert incident.message == "a file is gone"


def test_a_failure_goes_on_through_retries_and_is_over_with_a_success() -> None:
    ongoing = told("failure", "analysis/a")
    for watch in (FAILED, replace(FINE, status="running"), replace(FINE, status="queued")):
        assert (begun(replace(watch, ongoing=ongoing)), over(replace(watch, ongoing=ongoing))) == ([], [])
    assert over(replace(FINE, ongoing=ongoing)) == ["failure"]


def test_records_may_wait_for_as_long_as_the_channel_says() -> None:
    waiting = replace(FINE, waiting_since=NOW - timedelta(seconds=3599))
    assert begun(waiting) == []
    assert begun(replace(waiting, waiting_since=NOW - timedelta(seconds=3600))) == ["stale"]
    assert begun(replace(waiting, stale_after_seconds=60)) == ["stale"]


def test_staleness_is_over_when_the_records_that_waited_are_released_though_others_wait_by_then() -> None:
    waits = replace(FINE, ongoing=told("stale", "analysis/a"), waiting_since=NOW - timedelta(minutes=1))
    assert over(waits) == ["stale"]


def test_each_connector_in_error_is_an_incident_of_its_own() -> None:
    two = replace(FINE, broken_connectors=[*BROKEN, {**BROKEN[0], "id": "l", "message": None}])
    assert {i.subject for i in changes(two, NOW).begun} == {"connector/k", "connector/l"}
    one = replace(two, ongoing=told("connector_error", "connector/m"))
    assert over(one) == ["connector_error"]


def test_a_channel_hears_only_of_what_it_asked_for() -> None:
    assert begun(replace(FAILED, events=["stale", "recovered"])) == []


states = st.sampled_from(
    [FINE, FAILED, replace(FINE, status="running"), replace(FINE, waiting_since=NOW - timedelta(days=1))]
)


@given(st.lists(st.tuples(states, st.booleans()), max_size=30))
def test_over_any_history_begins_and_ends_alternate(history: list[tuple[Watch, bool]]) -> None:
    """As the outbox keeps it: what was told goes on until its end was told."""
    ongoing: dict[tuple[str, str], dict[str, Any]] = {}
    for state, is_broken in history:
        watch = replace(state, broken_connectors=BROKEN if is_broken else [], ongoing=list(ongoing.values()))
        found = changes(watch, NOW)
        for incident in found.begun:
            key = (incident.event, incident.subject)
            assert key not in ongoing
            ongoing[key] = told(*key)[0]
        for ended in found.over:
            del ongoing[(ended.event, ended.subject)]
        again = changes(replace(watch, ongoing=list(ongoing.values())), NOW)
        assert (again.begun, again.over) == ([], [])
    finally_fine = changes(replace(FINE, ongoing=list(ongoing.values())), NOW)
    assert len(finally_fine.over) == len(ongoing)
