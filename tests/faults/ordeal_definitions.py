"""The project's definitions, but a failed refresh is tried again at once and a killed run is missed within seconds."""

from datetime import timedelta

from orchestration.automation import attempts, dead_runs
from orchestration.definitions import build_definitions

attempts.DELAYS = (timedelta(0),) + (timedelta(seconds=2),) * 50
dead_runs.STARTING_TIME = timedelta(seconds=10)

defs = build_definitions()
