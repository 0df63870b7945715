"""The question of `filtered_models.py`: cases with this activity that took at least so long."""

ACTIVITY = "Activity 05 of the process"
LEAST_SECONDS = 3 * 86_400
