"""`clinical index`: look after the indexes that `clinical search` keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clinical.commands.tables import print_table
from clinical.errors import ClinicalError, UsageError

if TYPE_CHECKING:
    from clinical.index.update import Changes


@click.group()
def index() -> None:
    """Look after the indexes that `clinical search` keeps: one for each set of PATHs.

    \b
    Examples:
      clinical index status
      clinical index forget notes/
    """


@index.command()
@click.argument("paths", metavar="PATH…", nargs=-1, required=True)
@click.option("--rebuild", is_flag=True, help="Throw the index away and make it anew from the notes.")
@click.option(
    "--embedder",
    metavar="NAME|FOLDER",
    help="A sentence-transformers model to embed with, in place of all-MiniLM-L6-v2: the name of one that has been "
    "downloaded, or its folder; two with a comma between are those of the notes and of the queries. "
    "Searches of these PATHs have to name it too.",
)
@click.option("-q", "--quiet", is_flag=True, help="Say only what went wrong.")
@click.pass_context
def add(ctx: click.Context, paths: tuple[str, ...], rebuild: bool, embedder: str | None, quiet: bool) -> None:
    """Make the index of these PATHs, or bring it up to date, before the first search asks for it.

    \b
    Examples:
      clinical index add notes/
      clinical index add --rebuild notes/
      clinical index add --embedder BAAI/bge-small-en-v1.5 notes/
    """
    from clinical.index.location import index_file
    from clinical.index.store import Store, erase, lock
    from clinical.index.update import check_paths, update
    from clinical.models.embedders import load_embedder

    check_paths(paths)
    file = index_file(paths)
    encoder = load_embedder(embedder)
    if rebuild and file.exists():
        with lock(file, paths):
            erase(file)
    with update_progress(quiet) as done, Store.open(file, paths, encoder.id) as store:
        changes = update(store, paths, encoder, done)
    show_changes(changes, (), quiet, always=True)
    ctx.exit(1 if changes.faults else 0)


@index.command()
@click.argument("paths", metavar="[PATH…]", nargs=-1)
def status(paths: tuple[str, ...]) -> None:
    """List the indexes, or that of these PATHs: what they hold, their size and their file.

    \b
    Examples:
      clinical index status
      clinical index status notes/
    """
    files = _files(paths)
    rows = []
    for file in files:
        try:
            rows.append(_row(file))
        except ClinicalError as error:
            click.echo(str(error), err=True)
    if rows:
        print_table(("paths", "files", "documents", "passages", "size", "index"), rows)
    elif not files:
        click.echo("no indexes; the first `clinical search` of a folder makes one", err=True)


def _row(file: Path) -> tuple[str, ...]:
    from clinical.index.store import Store

    with Store.existing(file) as store:
        size = store.size()
        return (
            ", ".join(store.paths),
            f"{size.files:,} files",
            f"{size.documents:,} documents",
            f"{size.passages:,} passages",
            f"{size.bytes / 1e6:,.1f} MB",
            str(file),
        )


@index.command()
@click.argument("paths", metavar="[PATH…]", nargs=-1)
@click.pass_context
def verify(ctx: click.Context, paths: tuple[str, ...]) -> None:
    """Check that indexes are whole, all or that of these PATHs. Exit code 1 when one is not.

    \b
    Examples:
      clinical index verify
      clinical index verify notes/
    """
    from clinical.index.store import Store

    failed = False
    for file in _files(paths):
        try:
            with Store.existing(file) as store:
                faults = [f"{', '.join(store.paths)}: {fault}" for fault in store.faults()]
                if not faults:
                    click.echo(f"{', '.join(store.paths)}: whole")
        except ClinicalError as error:
            faults = [str(error)]
        for fault in faults:
            failed = True
            click.echo(fault, err=True)
    ctx.exit(1 if failed else 0)


@index.command()
@click.argument("paths", metavar="[PATH…]", nargs=-1)
def compact(paths: tuple[str, ...]) -> None:
    """Give back the disk space of what was removed, in all indexes or that of these PATHs.

    \b
    Examples:
      clinical index compact
      clinical index compact notes/
    """
    from clinical.index.store import Store

    for file in _files(paths):
        with Store.existing(file) as store, store.writing():
            before = store.size().bytes
            store.compact()
            after = store.size().bytes
        click.echo(f"{', '.join(store.paths)}: {before / 1e6:,.1f} MB to {after / 1e6:,.1f} MB")


@index.command()
@click.argument("paths", metavar="PATH…", nargs=-1, required=True)
@click.pass_context
def forget(ctx: click.Context, paths: tuple[str, ...]) -> None:
    """Erase what the indexes hold of these files and folders, so that no word of it stays on the disk.

    The notes themselves stay as they are; a later search of a folder that holds them reads them again.

    \b
    Examples:
      clinical index forget notes/
      clinical index forget notes/visit-12.txt
    """
    from clinical.index.location import all_index_files, full_name, index_file
    from clinical.index.store import erase, lock

    names = [full_name(path) for path in paths]
    forgotten = erased = 0
    damaged = []
    for file in all_index_files():
        try:
            # That of just these paths is not opened: it goes, damaged or not.
            gone, whole = (0, True) if file == index_file(paths) else _take_out(file, names)
        except ClinicalError as error:
            damaged.append(str(error))
            continue
        if whole:
            with lock(file, paths):
                erase(file)
        forgotten += gone
        erased += whole
    for fault in damaged:
        click.echo(f"not looked into: {fault}", err=True)
    if not forgotten and not erased:
        raise UsageError(f"no index holds {', '.join(paths)}; `clinical index status` lists what there is")
    click.echo(f"{forgotten} files forgotten, {erased} indexes erased")
    ctx.exit(1 if damaged else 0)


def _take_out(file: Path, names: Sequence[str]) -> tuple[int, bool]:
    """Take the files in these folders out of an index; return how many, and whether nothing else is in it."""
    from clinical.index.store import Store

    with Store.existing(file) as store, store.writing():
        gone = [name for name in store.files() if _lies_in(name, names)]
        whole = all(_lies_in(path, names) for path in store.paths)
        if gone and not whole:
            with store.transaction():
                for name in gone:
                    store.remove(name)
            store.compact()
    return len(gone), whole


def _lies_in(name: str, folders: Sequence[str]) -> bool:
    return any(name == folder or name.startswith(folder.rstrip("/") + "/") for folder in folders)


def _files(paths: Sequence[str]) -> list[Path]:
    """Return the index of these paths, or all there are."""
    from clinical.index.location import all_index_files, index_file

    if not paths:
        return all_index_files()
    file = index_file(paths)
    if not file.exists():
        raise UsageError(f"no index of {', '.join(paths)}; make one: clinical index add {' '.join(paths)}")
    return [file]


@contextmanager
def update_progress(quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Give a function that shows how many files are indexed; nothing is shown when there are none to index."""
    from clinical.batch.progress import Progress, Tally, progress

    with ExitStack() as stack:
        bars: list[Progress] = []

        def done(files: int, of: int) -> None:
            if not bars:
                bars.append(stack.enter_context(progress(of, quiet=quiet)))
            bars[0].update(Tally(done=files))

        yield done


def show_changes(changes: Changes, remarks: Sequence[str], quiet: bool, always: bool = False) -> None:
    """Say on stderr what an update did, and which files could not be read."""
    for fault in changes.faults:
        click.echo(f"failed: {fault}", err=True)
    for remark in remarks:
        click.echo(remark, err=True)
    news = changes.added or changes.changed or changes.renamed or changes.removed
    if not quiet and (always or news):
        click.echo(f"index: {changes}", err=True)
