"""The audits of each asset, as check specifications."""

import dagster as dg

AUDITS = {
    "raw_records": {"landed_files_exist": "Every raw file of the ledger is in S3 with its size."},
    "events": {
        "contract": "Every event keeps the pandera contract of the events table.",
        "conservation": "Raw rows = events + superseded + duplicate, per month.",
        "total_order": "No two events of a case hold the same place.",
        "isolation": "No row and no input file of another workspace.",
    },
    "provenance": {
        "arrivals_conserved": "Records = landed + non-event + quarantined, per arrival.",
        "raw_conserved": "Landed rows = rows in raw files.",
        "cases_conserved": "Events = events in cases.",
    },
}


def check_specs(asset: str) -> list[dg.AssetCheckSpec]:
    """The check specifications of an asset. Blocking: a failed audit also stops the release itself."""
    return [
        dg.AssetCheckSpec(name, asset=asset, description=description, blocking=True)
        for name, description in AUDITS[asset].items()
    ]
