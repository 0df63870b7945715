"""The connector types, a module each: what it must have is in ``orchestration.sources.protocol``."""
