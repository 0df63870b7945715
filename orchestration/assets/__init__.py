"""One file a stage, in the order the data flows. Thin shells: what a stage does is in ``stages``."""
