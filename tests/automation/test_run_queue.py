"""The order of the queue: fair between workspaces, small before large, and nobody waits without end."""

from dataclasses import dataclass, field

import pytest

from orchestration.automation.run_queue import (
    LARGE,
    PRIORITY_TAG,
    SIZE_TAG,
    expected_seconds,
    only_workspace,
    queue_tags,
    tag_limits,
)
from orchestration.automation.tags import EXPECTED_SECONDS_TAG, WORKSPACE_TAG


@dataclass
class Queue:
    """Dagster's queue as far as it matters here: by priority, with limits by tag; a second is a step."""

    places: int = 2
    now: int = 1_800_000_000
    began: int = 1_800_000_000
    queued: list[dict[str, str]] = field(default_factory=list)
    running: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    started: dict[str, int] = field(default_factory=dict)

    def submit(self, name: str, slug: str, seconds: int) -> None:
        tags = {"name": name, WORKSPACE_TAG: slug, EXPECTED_SECONDS_TAG: str(seconds)}
        ahead = [-int(run[PRIORITY_TAG]) for run in self.queued if run[WORKSPACE_TAG] == slug]
        self.queued.append(tags | queue_tags(tags, self.now, ahead))

    def step(self) -> None:
        self.now += 1
        self.running = [(end, run) for end, run in self.running if end > self.now]
        for run in sorted(self.queued, key=lambda run: -int(run[PRIORITY_TAG])):
            if len(self.running) < self.places and not self._is_blocked(run):
                self.queued.remove(run)
                self.running.append((self.now + int(run[EXPECTED_SECONDS_TAG]), run))
                self.started[run["name"]] = self.now - self.began

    def _is_blocked(self, run: dict[str, str]) -> bool:
        of_workspace, large = tag_limits(self.places)
        same = [other for _end, other in self.running if other[WORKSPACE_TAG] == run[WORKSPACE_TAG]]
        larges = [other for _end, other in self.running if other.get(SIZE_TAG) == LARGE]
        return len(same) >= of_workspace["limit"] or (SIZE_TAG in run and len(larges) >= large["limit"])

    def run(self, seconds: int) -> None:
        for _ in range(seconds):
            self.step()


def test_small_runs_go_before_large_ones_that_were_queued_with_them() -> None:
    queue = Queue()
    for number in range(5):
        queue.submit(f"large {number}", f"large-{number}", 50)
    for number in range(20):
        queue.submit(f"small {number}", f"small-{number}", 5)
    queue.run(400)
    assert max(at for name, at in queue.started.items() if name.startswith("small")) <= 51
    assert len(queue.started) == 25


def test_the_first_run_of_anyone_goes_before_the_backfill_of_another() -> None:
    queue = Queue()
    for slug in ("one", "two"):
        for number in range(50):
            queue.submit(f"{slug} {number}", slug, 10)
    queue.run(25)
    queue.submit("late", "three", 10)
    queue.run(1000)
    assert queue.started["late"] <= 25 + 10 + 1
    assert len(queue.started) == 101


def test_a_large_run_is_not_overtaken_for_ever() -> None:
    queue = Queue()
    queue.submit("large", "large", 300)
    for second in range(1200):
        # More than the two places can take.
        if second % 2 == 0:
            queue.submit(f"small {second}", f"small-{second}", 5)
        queue.step()
    assert "large" in queue.started
    assert queue.started["large"] <= 900


def test_large_runs_leave_a_place_free() -> None:
    queue = Queue()
    for number in range(4):
        queue.submit(f"large {number}", f"large-{number}", 200)
    queue.run(20)
    queue.submit("small", "small", 5)
    queue.run(2)
    assert "small" in queue.started


def test_a_workspace_has_one_run_at_a_time() -> None:
    queue = Queue()
    queue.submit("first", "acme", 30)
    queue.submit("second", "acme", 5)
    queue.run(100)
    assert queue.started["second"] >= queue.started["first"] + 30


@pytest.mark.parametrize(
    ("tags", "seconds", "slug"),
    [
        ({}, 5, None),
        ({WORKSPACE_TAG: "acme", EXPECTED_SECONDS_TAG: "70"}, 70, "acme"),
        ({"dagster/partition": "2024-01|acme"}, 5, "acme"),
        (
            {
                "dagster/asset_partition_range_start": "2023-01|acme",
                "dagster/asset_partition_range_end": "2024-12|acme",
            },
            24,
            "acme",
        ),
        (
            {
                "dagster/asset_partition_range_start": "2024-01|acme",
                "dagster/asset_partition_range_end": "2024-01|beta",
            },
            5,
            None,
        ),
        ({"dagster/partition": "2024-01"}, 5, None),
    ],
)
def test_a_run_is_known_by_its_own_tags_or_by_its_partitions(
    tags: dict[str, str], seconds: int, slug: str | None
) -> None:
    assert (expected_seconds(tags), only_workspace(tags)) == (seconds, slug)


def test_what_somebody_chose_stays() -> None:
    added = queue_tags({PRIORITY_TAG: "7", WORKSPACE_TAG: "acme", EXPECTED_SECONDS_TAG: "100"}, 0, [])
    assert added == {SIZE_TAG: LARGE}
