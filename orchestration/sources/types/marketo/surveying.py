"""Whether the streams can be pulled as they are configured, and what there is."""

from collections.abc import Callable, Iterable, Mapping

from orchestration.sources.protocol import Context, Stream, StreamCheck
from orchestration.sources.types.marketo.activities import MERGE_COLUMNS
from orchestration.sources.types.marketo.activity_types import activity_types
from orchestration.sources.types.marketo.config import STREAMS, Config, StreamName
from orchestration.sources.types.marketo.exports import Kind
from orchestration.sources.types.marketo.leads import described_fields
from orchestration.sources.types.marketo.listings import ASSET_COLUMNS, TYPE_COLUMNS
from orchestration.sources.types.marketo.refusals import NOT_THERE, Refused
from orchestration.sources.types.marketo.subscription import Subscription, subscription


def check(config: Config, context: Context) -> list[StreamCheck]:
    """Whether each stream can be pulled: its right, and what the configuration names of it."""
    with subscription(config, context) as source:
        return [_checked(config, source, stream) for stream in config.streams]


def discover(config: Config, context: Context) -> list[Stream]:
    """The streams with all columns that they can have."""
    with subscription(config, context) as source:
        columns: Mapping[StreamName, Mapping[str, str]] = {
            "activities": activity_types(source, ()).columns,
            "leads": described_fields(source),
            "merges": MERGE_COLUMNS,
            "activity_types": dict.fromkeys(TYPE_COLUMNS, "text"),
            "programs": dict.fromkeys(ASSET_COLUMNS["programs"], "text"),
            "campaigns": dict.fromkeys(ASSET_COLUMNS["campaigns"], "text"),
        }
    keys = {"activities": ("marketoGUID",), "merges": ("winner", "loser")}
    cursors = {"activities": ("activityDate",), "leads": ("updatedAt", "createdAt"), "merges": ("mergedAt",)}
    return [
        Stream(name, tuple(columns[name].items()), keys.get(name, ("id",)), cursors.get(name, ()))
        for name in STREAMS
    ]


def _checked(config: Config, source: Subscription, stream: StreamName) -> StreamCheck:
    """A stream as it is configured."""
    checks: Mapping[StreamName, Callable[[Config, Subscription], Iterable[str]]] = {
        "activities": _activities,
        "leads": _leads,
        "merges": _merges,
        "activity_types": _listed(TYPE_COLUMNS, "/rest/v1/activities/types.json"),
        "programs": _listed(ASSET_COLUMNS["programs"], "/rest/asset/v1/programs.json", maxReturn="1"),
        "campaigns": _listed(ASSET_COLUMNS["campaigns"], "/rest/v1/campaigns.json", batchSize="1"),
    }
    try:
        return StreamCheck(stream, columns=tuple(checks[stream](config, source)))
    except Refused as error:
        return StreamCheck(stream, str(error))


def _listed(
    columns: Iterable[str], path: str, **parameters: str
) -> Callable[[Config, Subscription], Iterable[str]]:
    """Reads a little of a list."""

    def ask(_config: Config, source: Subscription) -> Iterable[str]:
        source.get(path, **parameters)
        return columns

    return ask


def _activities(config: Config, source: Subscription) -> Iterable[str]:
    types = activity_types(source, config.activity_types)
    if missing := types.missing(config.activity_types):
        known = ", ".join(kind.name for kind in types.all)
        raise Refused(NOT_THERE, f"There is no type of activities {', '.join(missing)}. There are: {known}.")
    _require_export(source, "activities")
    return types.columns


def _merges(_config: Config, source: Subscription) -> Iterable[str]:
    _require_export(source, "activities")
    return MERGE_COLUMNS


def _leads(config: Config, source: Subscription) -> Iterable[str]:
    described = described_fields(source)
    unknown = [name for name in config.fields if name not in described]
    if unknown and "lead_fields" in config.model_fields_set:
        raise Refused(
            NOT_THERE, f"Leads have no field {', '.join(unknown)}. There are: {', '.join(described)}."
        )
    _require_export(source, "leads")
    # Who is deleted or merged is told by activities.
    _require_export(source, "activities")
    return config.fields


def _require_export(source: Subscription, kind: Kind) -> None:
    """The list of exports needs the right that an export needs, and makes none."""
    source.get(f"/bulk/v1/{kind}/export.json")
