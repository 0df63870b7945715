"""What times mean: offsets, order of day and month, zones with gaps and overlaps, epochs, bounds."""

from datetime import datetime

import pytest

from orchestration.connectors import AmbiguousMapping, InvalidMapping
from tests.connectors.landed import LandBytes, Landed


def lands(land_bytes: LandBytes, *times: str, **mapping: object) -> Landed:
    """Land one record for each time."""
    body = "".join(f"c;a;{time}\n" for time in times)
    return land_bytes(f"case;activity;time\n{body}".encode(), **mapping)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-03-01T10:11:12+02:00", datetime(2024, 3, 1, 8, 11, 12)),
        ("2024-03-01T00:30:00+0200", datetime(2024, 2, 29, 22, 30)),
        ("2024-03-01 10:11:12-05", datetime(2024, 3, 1, 15, 11, 12)),
        ("2024-03-01T10:11+05:45", datetime(2024, 3, 1, 4, 26)),
        ("2024-03-01T10:11:12Z", datetime(2024, 3, 1, 10, 11, 12)),
        ("2024-03-01 10:11:12 UTC", datetime(2024, 3, 1, 10, 11, 12)),
        ("2024-03-01T10:11:12.123456789Z", datetime(2024, 3, 1, 10, 11, 12, 123456)),
        ("2024-03-01T10:11:12.9999999", datetime(2024, 3, 1, 10, 11, 12, 999999)),
        ("2024-03-01 10:11:12,5", datetime(2024, 3, 1, 10, 11, 12, 500000)),
        (" 2024-03-01 10:11 ", datetime(2024, 3, 1, 10, 11)),
        ("2024-03-01", datetime(2024, 3, 1)),
        ("20240301", datetime(2024, 3, 1)),
        ("20240301T101112Z", datetime(2024, 3, 1, 10, 11, 12)),
        ("2024/3/1 9:05", datetime(2024, 3, 1, 9, 5)),
        ("01-Mar-2024 10:11", datetime(2024, 3, 1, 10, 11)),
        ("March 1, 2024 1:02:03.25 PM", datetime(2024, 3, 1, 13, 2, 3, 250000)),
        ("1709287872", datetime(2024, 3, 1, 10, 11, 12)),
        ("1709287872123", datetime(2024, 3, 1, 10, 11, 12, 123000)),
    ],
)
def test_layouts(land_bytes: LandBytes, text: str, expected: datetime) -> None:
    landed = lands(land_bytes, text)
    assert landed.column("_timestamp") == [expected]
    assert landed.column("time") == [text]
    assert list(landed.landing.months) == [f"{expected:%Y-%m}"]


def test_layouts_may_be_mixed_in_one_column(land_bytes: LandBytes) -> None:
    landed = lands(
        land_bytes, "2024-03-01T10:00:00+02:00", "2024-03-01 10:00:00", "2024-03-01", timezone="Asia/Tokyo"
    )
    assert landed.column("_timestamp") == [
        datetime(2024, 3, 1, 8),
        datetime(2024, 3, 1, 1),
        datetime(2024, 2, 29, 15),
    ]
    assert {month: file.rows for month, file in landed.landing.months.items()} == {"2024-02": 1, "2024-03": 2}


@pytest.mark.parametrize(
    "text",
    [
        "31.02.2024 10:00",
        "2024-13-01",
        "2024-02-30",
        "2024-03-01T25:00:00",
        "2024-03-01T10:11:12+99:00",
        "2024-03-01T10:11:12.1234567890",
        "infinity",
        "epoch",
        "now",
        "yesterday",
        "45321.5",
        "x" * 100,
    ],
)
def test_what_is_no_time_is_quarantined(land_bytes: LandBytes, text: str) -> None:
    landed = lands(land_bytes, text, "13.01.2024", "2024-01-01")
    assert landed.reasons() == [(1, 2, "unparseable_timestamp")]
    assert (landed.quarantine[0]["field"], landed.quarantine[0]["value"]) == ("time", text)
    assert landed.landing.landed == 2


def test_day_and_month_are_proven_by_the_whole_column_or_asked_for(land_bytes: LandBytes) -> None:
    unclear = ["03/04/2024"] * 30_000
    assert set(lands(land_bytes, *unclear, "13/04/2024").column("_timestamp")) == {
        datetime(2024, 4, 3),
        datetime(2024, 4, 13),
    }
    assert lands(land_bytes, "03/04/2024", "04/13/2024").column("_timestamp")[0] == datetime(2024, 3, 4)
    with pytest.raises(
        AmbiguousMapping, match=r"--timestamp-format day-first or --timestamp-format month-first"
    ) as error:
        lands(land_bytes, *unclear)
    assert error.value.questions[0].candidates == ("day-first", "month-first")
    told = lands(land_bytes, "03/04/2024", timestamp_format="month-first")
    assert told.column("_timestamp") == [datetime(2024, 3, 4)]


def test_a_column_that_proves_both_orders_is_asked_about(land_bytes: LandBytes) -> None:
    with pytest.raises(AmbiguousMapping, match="only be day first beside"):
        lands(land_bytes, "13/01/2024", "01/13/2024")
    told = lands(land_bytes, "13/01/2024", "01/13/2024", timestamp_format="day-first")
    assert told.column("_timestamp") == [datetime(2024, 1, 13)]
    assert told.reasons() == [(2, 3, "unparseable_timestamp")]


@pytest.mark.parametrize("text", ["2024-03-01 10:00:00", "2024-03-01"])
def test_times_without_offset_need_a_zone(land_bytes: LandBytes, text: str) -> None:
    with pytest.raises(AmbiguousMapping, match="--timezone"):
        lands(land_bytes, "2024-03-01T00:00:00Z", text, timezone=None)
    assert lands(land_bytes, "2024-03-01T00:00:00Z", timezone=None).landing.landed == 1
    with pytest.raises(InvalidMapping, match="no time zone 'Mars/Olympus'"):
        lands(land_bytes, text, timezone="Mars/Olympus")


def test_gaps_are_quarantined_and_overlaps_are_the_first_of_two(land_bytes: LandBytes) -> None:
    landed = lands(
        land_bytes,
        "2024-03-31 01:59:59",
        "2024-03-31 02:00:00",  # clocks go from 2 to 3
        "2024-03-31 02:59:59.999999",
        "2024-03-31 03:00:00",
        "2024-10-27 01:59:59",
        "2024-10-27 02:30:00",  # clocks go from 3 back to 2
        "2024-10-27 03:00:00",
        "2024-10-27T02:30:00+01:00",  # the second of the two, since it says so
        timezone="Europe/Berlin",
    )
    assert landed.reasons() == [(2, 3, "nonexistent_local_time"), (3, 4, "nonexistent_local_time")]
    assert landed.column("_timestamp") == [
        datetime(2024, 3, 31, 0, 59, 59),
        datetime(2024, 3, 31, 1),
        datetime(2024, 10, 26, 23, 59, 59),
        datetime(2024, 10, 27, 0, 30),
        datetime(2024, 10, 27, 2),
        datetime(2024, 10, 27, 1, 30),
    ]
    assert landed.landing.ambiguous_local_times == 1


def test_a_day_that_starts_in_a_gap_starts_after_it(land_bytes: LandBytes) -> None:
    landed = lands(land_bytes, "2018-11-04", "2018-11-04 00:30:00", timezone="America/Sao_Paulo")
    assert landed.column("_timestamp") == [datetime(2018, 11, 4, 3)]
    assert landed.reasons() == [(2, 3, "nonexistent_local_time")]


def test_declared_formats(land_bytes: LandBytes) -> None:
    assert lands(land_bytes, "1", "1.5", "x", timestamp_format="epoch-s", first_month="1970-01").column(
        "_timestamp"
    ) == [datetime(1970, 1, 1, 0, 0, 1), datetime(1970, 1, 1, 0, 0, 1, 500000)]
    assert lands(land_bytes, "999999999999", timestamp_format="epoch-ms").column("_timestamp") == [
        datetime(2001, 9, 9, 1, 46, 39, 999000)
    ]
    landed = lands(land_bytes, "01.02.24 03:04", "2024-02-01", timestamp_format="%d.%m.%y %H:%M")
    assert landed.column("_timestamp") == [datetime(2024, 2, 1, 3, 4)]
    assert "%d.%m.%y %H:%M" in landed.quarantine[0]["message"]
    aware = lands(land_bytes, "2024|02|01 03:04 +0100", timestamp_format="%Y|%m|%d %H:%M %z", timezone=None)
    assert aware.column("_timestamp") == [datetime(2024, 2, 1, 2, 4)]
    assert lands(land_bytes, "2024-02-01", "13.02.2024", timestamp_format="iso").reasons() == [
        (2, 3, "unparseable_timestamp")
    ]
    for wrong in ("%d.%Q", "german"):
        with pytest.raises(InvalidMapping, match="timestamp format"):
            lands(land_bytes, "2024-02-01", timestamp_format=wrong)


def test_times_out_of_bounds_are_quarantined(land_bytes: LandBytes) -> None:
    landed = lands(
        land_bytes,
        "0001-01-01T00:00:00Z",
        "2019-12-31T23:59:59.999999Z",
        "2020-01-01T00:00:00Z",
        "2026-01-16T12:00:00Z",  # a day after now
        "2026-01-16T12:00:00.000001Z",
        "9999-12-31T23:59:59Z",
        "",
        first_month="2020-01",
    )
    assert landed.reasons() == [
        (1, 2, "before_first_month"),
        (2, 3, "before_first_month"),
        (5, 6, "in_future"),
        (6, 7, "in_future"),
        (7, 8, "missing_timestamp"),
    ]
    assert landed.column("_row_number") == [3, 4]


def test_start_timestamps(land_bytes: LandBytes) -> None:
    landed = land_bytes(
        b"case,activity,time,begin\n"
        b"c,a,2024-07-01 10:00:00,2024-07-01 09:00:00\n"
        b"c,a,2024-07-01 10:00:00,\n"
        b"c,a,2024-07-01 10:00:00,soon\n"
        b"c,a,2024-07-01 10:00:00,2024-03-31 02:30:00\n",
        start_timestamp="begin",
        timezone="Europe/Berlin",
    )
    assert landed.column("_start_timestamp") == [datetime(2024, 7, 1, 7), None]
    assert [(row["reason"], row["field"]) for row in landed.quarantine] == [
        ("unparseable_timestamp", "begin"),
        ("nonexistent_local_time", "begin"),
    ]
