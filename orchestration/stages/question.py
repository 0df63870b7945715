"""From given JSON to the parameters of an analysis, and what is told when they make none."""

from typing import Any, get_args

from pydantic import ValidationError

from orchestration.control_plane.errors import InvalidInput
from orchestration.mining.explain.question import Target
from orchestration.mining.filters import Filter
from orchestration.stages.workbench import AnalysisParameters


class UnusableQuestion(InvalidInput):
    """What was given cannot be asked of the log. The message tells, line by line, the places and what would do."""


def parameters_of(given: Any) -> AnalysisParameters:
    """The parameters that JSON describes.

    Raises:
        UnusableQuestion: it does not keep the schema.
    """
    try:
        return AnalysisParameters.model_validate(given)
    except ValidationError as error:
        raise UnusableQuestion("\n".join(_problems(error))) from None


def _problems(error: ValidationError) -> list[str]:
    """One line for each problem: where it is, and what would be accepted."""
    lines = []
    for problem in error.errors(include_url=False):
        place = ""
        for step in problem["loc"]:
            # A step that names the kind of a filter or target is no part of the JSON text.
            if isinstance(step, int):
                place += f"[{step}]"
            elif not (place.endswith(("]", "target")) and step in _KINDS):
                place += f".{step}" if place else step
        lines.append(f"{place or 'parameters'}: {problem['msg'].removeprefix('Value error, ')}")
    return lines


def _kinds(union: Any) -> set[str]:
    """The values of ``kind`` in a union that it discriminates."""
    models = get_args(get_args(union)[0])
    return {kind for model in models for kind in get_args(model.model_fields["kind"].annotation)}


_KINDS = _kinds(Filter) | _kinds(Target)
