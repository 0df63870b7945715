"""``casetrail key``: the key that stored secrets are sealed with, and exchanging it.

For the operator of the installation, who has its settings: no person of a workspace is asked.
"""

from dataclasses import asdict, dataclass

import typer

from orchestration.cli.printing import print_json
from orchestration.cli.progress import ProgressLine
from orchestration.cli.workspace import AsJson, told_problems
from orchestration.control_plane import database, workspaces
from orchestration.control_plane.errors import InvalidInput
from orchestration.control_plane.resealing import count_old, reseal
from orchestration.control_plane.workspaces import Workspace
from orchestration.services.stack import Stack
from orchestration.settings import Settings, load_installation, load_settings

key_app = typer.Typer(help="Exchange the key that stored secrets are sealed with.", no_args_is_help=True)


@key_app.command()
def status(as_json: AsJson = False) -> None:
    """Tell how many keys are accepted, and how many stored secrets are not yet under the newest."""
    with told_problems():
        settings = load_settings()
        told = {"keys": len(settings.secret_keys), "old": _count_old(settings)}
    if as_json:
        print_json(told)
        return
    typer.echo(f"{told['keys']} key(s); {told['old']:,} stored secret(s) under an old or another one.")


@key_app.command()
def rotate(as_json: AsJson = False) -> None:
    """Seal every stored secret with the newest key. An installation that has made its own key makes a new one first.

    It can be stopped and run again. Exit code 1 if a secret opens with none of the keys.
    """
    with told_problems():
        if _made_here(load_settings()):
            Stack(load_installation()).begin_key_exchange()
        settings = load_settings()
        done = _reseal_all(settings, None if as_json else ProgressLine())
    if as_json:
        print_json(asdict(done))
    elif settings.old_secret_keys and not done.unreadable:
        typer.echo("The old key is still accepted: `casetrail key forget`.", err=True)
    if done.unreadable:
        typer.echo(
            f"Error: {len(done.unreadable)} stored secret(s) open with none of the {len(settings.secret_keys)} key(s), "
            f"first {done.unreadable[0]}. They stay as they are: name the key that they were sealed with in "
            "CASETRAIL_OLD_SECRET_KEYS and run this again, or enter them anew.",
            err=True,
        )
        raise typer.Exit(1)


@key_app.command()
def forget(as_json: AsJson = False) -> None:
    """Forget the old keys, if no stored secret needs them any more."""
    with told_problems():
        settings = load_settings()
        made, old = _made_here(settings), _count_old(settings)
        if old or (made and not _is_in_use(settings, made[0])):
            raise InvalidInput(
                f"{old:,} stored secret(s) are not under the newest key: `casetrail key rotate`."
            )
        if made:
            Stack(load_installation()).end_key_exchange()
        elif settings.old_secret_keys:
            raise InvalidInput(
                "Nothing needs the old keys: take CASETRAIL_OLD_SECRET_KEYS out of the settings."
            )
        settings = load_settings()
    if as_json:
        print_json({"keys": len(settings.secret_keys), "old": 0})
    else:
        typer.echo("Only the newest key is accepted.")


@dataclass
class _Done:
    resealed: int = 0
    current: int = 0
    unreadable: tuple[str, ...] = ()


def _reseal_all(settings: Settings, line: ProgressLine | None) -> _Done:
    """Every workspace in a transaction of its own."""
    done, every = _Done(), _workspaces(settings)
    for place, workspace in enumerate(every, start=1):
        with database.as_system(settings.system_dsn, workspace.id) as connection:
            found = reseal(connection, settings.secret_keys, workspace.id)
        done.resealed += found.resealed
        done.current += found.current
        done.unreadable += found.unreadable
        if line:
            line.tell(f"{place:,} of {len(every):,} workspaces, {done.resealed:,} secrets sealed anew")
    if line:
        line.done(f"{done.resealed:,} secrets sealed anew, {done.current:,} were so already.")
    return done


def _count_old(settings: Settings) -> int:
    old = 0
    for workspace in _workspaces(settings):
        with database.as_system(settings.system_dsn, workspace.id) as connection:
            old += count_old(connection, settings.secret_keys, workspace.id)
    return old


def _workspaces(settings: Settings) -> list[Workspace]:
    with database.as_system(settings.system_dsn, None) as connection:
        return workspaces.list_workspaces(connection)


def _made_here(settings: Settings) -> list[str]:
    """The keys that this installation has made, newest first; empty if the one in use is the operator's own."""
    made = Stack(load_installation()).key_file.made()
    return made if any(_is_in_use(settings, key) for key in made) else []


def _is_in_use(settings: Settings, key: str) -> bool:
    """Whether it seals. Of an exchange that died between its two files the newest does not yet."""
    return settings.secret_key is not None and settings.secret_key.get_secret_value() == key
