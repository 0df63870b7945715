"""The table of a zone's intervals, against ``zoneinfo`` itself."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from orchestration.connectors.zones import intervals, rules

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Africa/Casablanca",
    "Asia/Kathmandu",
]


@given(st.sampled_from(ZONES), st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1)))
def test_every_local_time_is_in_one_interval_and_is_converted_as_zoneinfo_does(
    name: str, local: datetime
) -> None:
    zone = ZoneInfo(name)
    day = local.date()
    found = [
        i
        for i in intervals(zone, day - timedelta(days=200), day + timedelta(days=200))
        if i.start <= local < i.end
    ]
    assert len(found) == 1
    first, second = (local.replace(fold=fold, tzinfo=zone).astimezone(UTC) for fold in (0, 1))
    exists = first.astimezone(zone).replace(tzinfo=None) == local
    assert found[0].kind == ("gap" if not exists else "overlap" if first != second else "regular")
    assert (local - found[0].offset).replace(tzinfo=UTC) == first


def test_rules_are_cut_at_midnights() -> None:
    table = rules(intervals(ZoneInfo("Europe/Berlin"), date(2024, 3, 30), date(2024, 4, 1))).to_pylist()
    assert [(row["day"].day, row["from_local"].hour, row["kind"]) for row in table] == [
        (30, 0, "regular"),
        (31, 0, "regular"),
        (31, 2, "gap"),
        (31, 3, "regular"),
        (1, 0, "regular"),
    ]
