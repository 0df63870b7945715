"""What is worked out from events: process models (dbt on DuckDB) and explanations. No S3, PostgreSQL or Dagster."""
