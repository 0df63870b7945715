"""What a look at a file proposes, and what it asks instead of guessing."""

import pytest

from orchestration.connectors import AmbiguousMapping, InvalidMapping, Probe
from tests.connectors.landed import LandBytes, ProbeBytes


def rows(header: str, *columns: str, n: int = 60) -> bytes:
    """A CSV file; {c} is a case, {a} an activity, {d} a day in 2024-01, {n} the number of the row."""
    body = "\n".join(
        ";".join(columns).format(c=i // 4, a="abcd"[i % 4], d=f"{i % 28 + 1:02}", n=i) for i in range(n)
    )
    return f"{header}\n{body}\n".encode()


def chosen(probe: Probe) -> dict[str, str]:
    """Field to proposed column."""
    return {suggestion.field: suggestion.column for suggestion in probe.suggestions}


T = "2024-01-{d}T10:00:00Z"


@pytest.mark.parametrize(
    ("header", "case", "activity", "timestamp"),
    [
        ("case_id;activity;timestamp", "case_id", "activity", "timestamp"),
        ("Case ID;Activity Name;Complete Timestamp", "Case ID", "Activity Name", "Complete Timestamp"),
        (
            "case:concept:name;concept:name;time:timestamp",
            "case:concept:name",
            "concept:name",
            "time:timestamp",
        ),
        ("_CASE_KEY;ACTIVITY_EN;EVENTTIME", "_CASE_KEY", "ACTIVITY_EN", "EVENTTIME"),
        ("Case_ID;Activity;Event_end", "Case_ID", "Activity", "Event_end"),
        ("Fallnummer;Aktivität;Zeitstempel", "Fallnummer", "Aktivität", "Zeitstempel"),
        ("N° dossier id;Étape;Horodatage", None, "Étape", "Horodatage"),
        ("Id dossier;Activité;Date heure", "Id dossier", "Activité", "Date heure"),
        ("ID Caso;Actividad;Fecha hora", "ID Caso", "Actividad", "Fecha hora"),
    ],
)
def test_names_of_many_tools_and_languages(
    probe_bytes: ProbeBytes, header: str, case: str | None, activity: str, timestamp: str
) -> None:
    probe = probe_bytes(rows(header, "c{c}", "{a}", T))
    assert chosen(probe).get("case_id") == case
    assert chosen(probe)["activity"] == activity
    assert chosen(probe)["timestamp"] == timestamp
    assert bool(probe.questions) == (case is None)


def test_a_full_log_is_mapped_and_lands_as_proposed(probe_bytes: ProbeBytes, land_bytes: LandBytes) -> None:
    content = rows(
        "order_id;status;start_time;end_time;user;role;department;lifecycle;sorting;amount",
        "o{c}", "{a}", "2024-01-{d}T09:00:00Z", T, "u{c}", "r", "d", "complete", "{n}", "1,5",
    )  # fmt: skip
    probe = probe_bytes(content)
    assert chosen(probe) == {
        "case_id": "order_id",
        "activity": "status",
        "timestamp": "end_time",
        "start_timestamp": "start_time",
        "resource": "user",
        "role": "role",
        "org_unit": "department",
        "lifecycle": "lifecycle",
        "order": "sorting",
    }
    assert all(0 < suggestion.confidence < 1 and suggestion.reason for suggestion in probe.suggestions)
    assert (probe.format, probe.delimiter, probe.records, probe.complete) == ("csv", ";", 60, True)
    assert probe.first_rows[0]["_case_id"] == "o0"
    landed = land_bytes(content, **probe.mapping.model_dump(exclude_none=True))
    assert landed.rows()[0]["_start_timestamp"] == probe.first_rows[0]["_start_timestamp"]
    assert landed.landing.landed == 60


def test_two_candidates_are_a_question_that_an_option_answers(probe_bytes: ProbeBytes) -> None:
    content = rows("ticket_id;order_id;activity;timestamp", "t{c}", "o{c}", "{a}", T)
    probe = probe_bytes(content)
    assert probe.questions[0].candidates == ("ticket_id", "order_id")
    with pytest.raises(AmbiguousMapping, match="--case-id ticket_id or --case-id order_id"):
        _ = probe.mapping
    assert probe_bytes(content, case_id="order_id").mapping.case_id == "order_id"


def test_unknown_names_are_never_guessed_for_cases_and_activities(probe_bytes: ProbeBytes) -> None:
    probe = probe_bytes(rows("foo;bar;baz", "c{c}", "{a}", T))
    assert chosen(probe) == {"timestamp": "baz"}
    assert {question.field: question.candidates[0] for question in probe.questions} == {
        "case_id": "foo",
        "activity": "bar",
    }


def test_a_name_whose_values_speak_against_it_is_not_taken(probe_bytes: ProbeBytes) -> None:
    probe = probe_bytes(rows("case;activity;timestamp;baz", "c{c}", "unique {n}", "tomorrow", T))
    assert chosen(probe)["timestamp"] == "baz"
    assert [question.field for question in probe.questions] == ["activity"]


def test_open_order_of_day_and_month_and_open_zone_are_asked_together(probe_bytes: ProbeBytes) -> None:
    content = rows("case;activity;timestamp", "c{c}", "{a}", "03/04/2024 10:00")
    probe = probe_bytes(content)
    assert [question.option for question in probe.questions] == ["--timestamp-format", "--timezone"]
    answered = probe_bytes(content, timestamp_format="day-first", timezone="Europe/Berlin")
    assert answered.mapping.timestamp_format == "day-first"
    assert str(answered.first_rows[0]["_timestamp"]) == "2024-04-03 08:00:00"


def test_a_proven_order_is_remembered_for_the_next_file(probe_bytes: ProbeBytes) -> None:
    probe = probe_bytes(rows("case;activity;timestamp", "c{c}", "{a}", "{d}.01.2024"), timezone="UTC")
    assert probe.mapping.timestamp_format == "day-first"


def test_what_would_be_quarantined_is_shown(probe_bytes: ProbeBytes) -> None:
    content = (
        rows("case;activity;timestamp", "c{c}", "{a}", T) + b"short;row\n" * 5 + b";a;2024-01-01T00:00:00Z\n"
    )
    probe = probe_bytes(content)
    assert [(preview.reason, preview.count, len(preview.examples)) for preview in probe.quarantine] == [
        ("ragged_row", 5, 3),
        ("missing_case_id", 1, 1),
    ]
    assert probe.quarantine[0].examples[0]["line_number"] == 62


def test_hints_must_fit_the_file(probe_bytes: ProbeBytes) -> None:
    with pytest.raises(InvalidMapping, match="'nope'"):
        probe_bytes(rows("case;activity;timestamp", "c{c}", "{a}", T), resource="nope")
    with pytest.raises(InvalidMapping, match="no delimiter"):
        probe_bytes(rows("case;activity;timestamp", "c{c}", "{a}", T), delimiter=";;")
