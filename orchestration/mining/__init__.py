"""What is worked out from events: process models (dbt on DuckDB) and explanations. Pure: no S3, PostgreSQL or Dagster."""
