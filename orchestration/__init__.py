"""casetrail: event logs become cases, variants, explanations and provenance.

The path of one record: a file arrives (``casetrail upload`` or the inbox) and is kept as it came; ``connectors``
reads it and lands its rows as raw Parquet by the month of the record's own time, what cannot be mapped goes to
quarantine with its reason. ``stages`` turns raw into canonical events, events into cases, cases into variants, the
process map and explanations, one file per workspace and month, each with the fingerprint of what it was made from.
The last stage releases them together with a provenance record. ``assets`` shows every stage in Dagster;
``automation`` starts the runs.
"""
