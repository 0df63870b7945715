"""Telling people and machines that a workspace needs attention, and when it no longer does; free of Dagster."""
