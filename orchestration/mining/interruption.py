"""Finding what interrupted this process behind the error that a library made of it.

A cancelled run is interrupted wherever its main thread happens to be. DuckDB and the code that dbt generates catch
everything, and raise an error of their own.
"""


def interruption_behind(error: BaseException | None) -> BaseException | None:
    """The interruption that led to an error, or None if the error came by itself."""
    while isinstance(error, Exception):
        error = error.__cause__ or error.__context__
    return error
