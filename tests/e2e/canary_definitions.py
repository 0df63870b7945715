"""The project's definitions, but all is logged, and there is a connector type that talks (``canary_types``)."""

import logging
from pathlib import Path

from orchestration.definitions import build_definitions
from orchestration.sources import types

logging.basicConfig(level=logging.DEBUG, format="%(levelname)s %(name)s %(message)s")
types.__path__.append(str(Path(__file__).with_name("canary_types")))

defs = build_definitions()
