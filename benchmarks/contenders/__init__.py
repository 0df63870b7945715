"""The contenders of `process_models.py`: each a module that is run in a process of its own."""
