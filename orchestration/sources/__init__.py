"""Systems that records are pulled from: what a connector type is, the types, and how their secrets are kept from view.

A type is one module in ``types/``, named as it is, and registered by being there. Not here: where pulled records land
and how far a connector has come (``stages.pulls``).
"""
