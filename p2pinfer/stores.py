"""`python -m p2pinfer.stores list|prune`: the models in the cache folder, and room for others."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from p2pinfer.command_line.flags import folder, number
from p2pinfer.command_line.output import show
from p2pinfer.command_line.program import Parser, program_parser, run
from p2pinfer.command_line.tables import Column, table
from p2pinfer.folders import user_cache_folder
from p2pinfer.plain_text import bytes_in_words, day_of, printable, several

_GB = 10**9
_SHORT_HASH_CHARACTERS = 16
_MOST_GB = 1_000_000


def main(argv: Sequence[str] | None = None) -> int:
    """List or prune. Returns the exit status."""
    return run("stores", lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int:
    parser = _parser()
    arguments = parser.parse_args(argv)
    limits = [arguments.budget_gb, arguments.free_gb]
    if arguments.what == "list" and (limits != [None, None] or arguments.dry_run):
        parser.error("--budget-gb, --free-gb and --dry-run belong to prune")
    if arguments.what == "prune" and limits == [None, None]:
        parser.error("prune needs a limit: --budget-gb or --free-gb")
    return _prune(arguments) if arguments.what == "prune" else _list(arguments)


def _list(arguments: argparse.Namespace) -> int:
    from p2pinfer.sharing.disk.pruning import is_superseded
    from p2pinfer.sharing.disk.shelf import StoreOnDisk, list_stores

    stores = sorted(list_stores(arguments.cache_folder), key=lambda store: -store.last_used)
    if not stores:
        show(f"there is no model in {arguments.cache_folder}")
        return 0

    def remark(store: StoreOnDisk) -> str:
        facts = {
            "in use": store.is_used,
            "of another version, or damaged": store.is_unreadable,
            "partial": not store.is_complete and not store.is_unreadable,
            "older than another of its name": is_superseded(store, stores),
        }
        return ", ".join(words for words, is_so in facts.items() if is_so)

    columns = [
        Column(title="model", cells=[printable(store.name) for store in stores]),
        Column(title="hash", cells=[store.hash[:_SHORT_HASH_CHARACTERS] for store in stores]),
        Column(
            title="size", cells=[bytes_in_words(store.bytes_on_disk) for store in stores], align_right=True
        ),
        Column(title="last used", cells=[_day(store.last_used) for store in stores]),
        Column(title="", cells=[remark(store) for store in stores], most=60),
    ]
    total = sum(store.bytes_on_disk for store in stores)
    show("\n".join(table(columns)))
    show(f"{several(len(stores), 'model')}, {bytes_in_words(total)} in {arguments.cache_folder}")
    return 0


def _prune(arguments: argparse.Namespace) -> int:
    from p2pinfer.sharing.disk.removal import prune

    removed = prune(
        arguments.cache_folder,
        needed_bytes=int((arguments.free_gb or 0) * _GB),
        budget_bytes=None if arguments.budget_gb is None else int(arguments.budget_gb * _GB),
        dry_run=arguments.dry_run,
    )
    verb = "would remove" if arguments.dry_run else "removed"
    for store in removed:
        show(
            f"{verb} {printable(store.name)}@{store.hash[:_SHORT_HASH_CHARACTERS]}, "
            f"{bytes_in_words(store.bytes_on_disk)}, last used {_day(store.last_used)}"
        )
    if not removed:
        show("no model has to go")
    return 0


def _day(at: float) -> str:
    return "today" if day_of(at) == day_of(time.time()) else day_of(at)


def _parser() -> Parser:
    parser = program_parser(
        "stores",
        description="Show the models in the cache folder, or remove those that are least useful: those that "
        "this version can't read, then those that a later one of the same name has replaced, then those that "
        "were unused for longest. What a program uses stays, and so do models in other folders.",
    )
    parser.add_argument("what", choices=("list", "prune"), help="show the models, or remove some")
    parser.add_argument(
        "--cache-folder",
        metavar="FOLDER",
        type=folder,
        default=user_cache_folder(),
        help="where the models are (default: %(default)s)",
    )
    gigabytes = number("gigabytes", 0, _MOST_GB)
    parser.add_argument(
        "--budget-gb", metavar="GB", type=gigabytes, help="prune: all models together may have so much"
    )
    parser.add_argument(
        "--free-gb", metavar="GB", type=gigabytes, help="prune: so much must be free on the disk"
    )
    parser.add_argument("--dry-run", action="store_true", help="prune: only say what would go")
    return parser


if __name__ == "__main__":
    sys.exit(main())
