"""What one stage does for one workspace and some months. Nothing here imports dagster."""
