"""The parameters of an analysis say what they are."""

from orchestration.stages.workbench import AnalysisParameters


def test_the_schema_describes_every_object_and_field() -> None:
    schema = AnalysisParameters.model_json_schema(by_alias=True)
    objects = {"AnalysisParameters": schema, **schema["$defs"]}
    assert len(objects) > 20
    silent = [name for name, found in objects.items() if "description" not in found]
    for name, found in objects.items():
        # The kind is what the object itself describes.
        fields = {field: told for field, told in found["properties"].items() if field != "kind"}
        silent += [f"{name}.{field}" for field, told in fields.items() if "description" not in told]
    assert silent == []
