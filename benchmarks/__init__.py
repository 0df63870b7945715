"""Benchmarks against other tools. Not imported by the product, and no place for tests."""
