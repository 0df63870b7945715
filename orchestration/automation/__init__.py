"""What starts runs. Each file is a pure planner or a thin Dagster shell over one."""
