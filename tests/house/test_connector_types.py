"""Adding a connector type is adding one module: nothing else in the program knows which types there are."""

import inspect
import re
from pathlib import Path

import pytest

from orchestration.sources import types
from orchestration.sources.credentials import secret_fields
from orchestration.sources.protocol import SourceConfig
from orchestration.sources.registry import UnknownType, source_type, source_types
from tests.house.repository import PROJECT
from tests.sources.conformance.bench import bench_class

NEW_TYPE = '''
"""A type that a test adds."""

from pydantic import SecretStr

from orchestration.sources.protocol import Checkpoint, SourceConfig, Stream, StreamCheck


class Config(SourceConfig):
    """Its configuration."""

    token: SecretStr


def check(config, context):
    return [StreamCheck("things")]


def discover(config, context):
    return [Stream("things", (("id", "text"),))]


def read(config, window, state, context):
    yield Checkpoint({})


def mappings(config):
    return {}


def personal(config):
    return {}


def identity(config):
    return {}
'''


def test_a_module_in_the_folder_is_a_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(types, "__path__", [*types.__path__, str(tmp_path)])
    with pytest.raises(UnknownType, match="There are: "):
        source_type("things_of_acme")
    (tmp_path / "things_of_acme.py").write_text(NEW_TYPE)
    assert "things_of_acme" in source_types()
    added = source_type("things_of_acme")
    assert secret_fields(added.Config) == ["token"]
    assert [step.state for step in added.read(None, None, None, None)] == [{}]  # type: ignore[arg-type,union-attr]


@pytest.mark.parametrize("name", source_types())
def test_every_type_is_whole(name: str) -> None:
    made = source_type(name)
    assert issubclass(made.Config, SourceConfig)
    assert made.Config.secrets_go_to or not secret_fields(made.Config)
    assert {"check", "discover", "read", "mappings", "personal", "identity"} <= {
        n for n, _ in inspect.getmembers(made, callable)
    }


@pytest.mark.parametrize("name", source_types())
def test_every_type_has_a_bench_on_which_the_conformance_suite_tries_it(name: str) -> None:
    bench = bench_class(name)
    assert (bench.of, inspect.isabstract(bench)) == (name, False)
    assert any({"create", "late"} <= does for does in bench.does.values())
    assert bench.faults


def test_no_other_file_names_a_type() -> None:
    folder = PROJECT / "orchestration/sources/types"
    others = [path for path in (PROJECT / "orchestration").rglob("*.py") if folder not in path.parents]
    named = re.compile(r"sources\.types(\.| import )(" + "|".join(source_types()) + r")\b")
    assert [str(path) for path in others if named.search(path.read_text(encoding="utf-8"))] == []
