"""`hipicmsc model`: the model packages at hand."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from HipICMSCLib.models.chosen import (
    DEFAULT_MODEL,
    ENDING,
    add_model,
    available_models,
    find_model,
    remove_model,
    shipped_models,
    user_models,
    user_models_folder,
)


def add_model_commands(commands: Any) -> None:
    """Add them to the subparsers of ``hipicmsc``."""
    model = commands.add_parser("model", help="look at model packages, add and remove them")
    model_commands = model.add_subparsers(required=True, metavar="COMMAND")
    show = model_commands.add_parser("show", help="check a package and print its card")
    show.add_argument("model", help="a model by name, or a .hipmodel file")
    show.set_defaults(run=_show_model)
    listing = model_commands.add_parser("list", help="the models that ship and your own")
    listing.set_defaults(run=_list_models)
    add = model_commands.add_parser("add", help="keep a package among your models, so that its name is enough")
    add.add_argument("file", type=Path, help="a .hipmodel file; it is copied")
    add.set_defaults(run=_add_model)
    remove = model_commands.add_parser("remove", help="delete one of your models")
    remove.add_argument("name", help="as `hipicmsc model list` shows it")
    remove.set_defaults(run=_remove_model)


def _show_model(chosen: argparse.Namespace) -> None:
    from HipICMSCLib.models.package import read_package

    package = read_package(find_model(chosen.model))
    package.network()  # fails where the weights are not those of the networks described
    print(package.card)
    print(f"File: {package.path.name}\nSHA-256: {package.sha256}\nFormat: {package.manifest.format}")


def _list_models(chosen: argparse.Namespace) -> None:
    print("Models that come with HipICMSC:")
    for path in shipped_models():
        print(f"  {path.stem}{' (used unless --model names another)' if path.stem == DEFAULT_MODEL else ''}")
    print(f"Your models, in {user_models_folder()}:")
    usable = available_models()
    for path in user_models():
        print(f"  {path.stem}{'' if path in usable else ' (not used: one that ships has this name; rename the file)'}")
    if not user_models():
        print("  none")


def _add_model(chosen: argparse.Namespace) -> None:
    path = add_model(chosen.file)
    print(f"{path.stem} is among the models now: {path}")


def _remove_model(chosen: argparse.Namespace) -> None:
    path = find_model(chosen.name.removesuffix(ENDING))
    remove_model(path)
    print(f"{path.stem} was removed.")
