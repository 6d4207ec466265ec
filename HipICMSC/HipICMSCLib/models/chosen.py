"""Where model packages are kept and found. Without torch, because Slicer's own process lists them."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import creating, storage_error
from HipICMSCLib.models.archive import LONGEST_NAME, read_details

ENDING = ".hipmodel"
DEFAULT_MODEL = "hip-mri"
#: For synthetic MRI, such as the sample data.
PHANTOM_MODEL = "hip-phantom-mri"

#: Where packages that ship are found: in the module's Resources, or in the library when it was installed as a wheel.
_SHIPPED = (Path(__file__).parents[2] / "Resources" / "Models", Path(__file__).parents[1] / "shipped_models")


def user_folder() -> Path:
    """Where HipICMSC keeps what is the user's; it may not exist until something is kept.

    The environment variable HIPICMSC_HOME names another folder, for example one that several people share.
    """
    chosen = os.environ.get("HIPICMSC_HOME")
    return Path(chosen).expanduser().absolute() if chosen else personal_folder()


def personal_folder() -> Path:
    """As :func:`user_folder`, but never one that is shared: for what nobody else may read."""
    if sys.platform == "win32":
        base = os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "HipICMSC"


def user_models_folder() -> Path:
    """Where the user's packages are; as :func:`user_folder`."""
    return user_folder() / "models"


def shipped_models() -> list[Path]:
    """The packages that come with the extension, by name."""
    return sorted(path for folder in _SHIPPED for path in _packages_in(folder))


def user_models() -> list[Path]:
    """The packages in the user's folder, by name."""
    return sorted(_packages_in(user_models_folder()))


def available_models() -> list[Path]:
    """All packages that :func:`find_model` finds by name: those that ship, then the user's.

    One of the user's that has the name of one that ships is not among them.
    """
    shipped = shipped_models()
    names = {path.stem for path in shipped}
    return shipped + [path for path in user_models() if path.stem not in names]


def find_model(name_or_path: str) -> Path:
    """A package by its file, or one that ships or is the user's by its name without the ending.

    Raises:
        HipError: ``unknown_model``, naming those that there are.
    """
    if os.sep in name_or_path or name_or_path.endswith(ENDING):
        return Path(name_or_path)
    models = {path.stem: path for path in available_models()}
    if name_or_path not in models:
        names = ", ".join(models) or "none"
        raise HipError("unknown_model", f"There is no model {name_or_path}; there are: {names}.")
    return models[name_or_path]


def is_users(path: Path) -> bool:
    """Whether a package lies in the user's folder."""
    return Path(path).parent.resolve() == user_models_folder().resolve()


def check_name(path: Path) -> None:
    """Raise HipError ``unknown_format`` unless a file has a name that packages have."""
    if not _has_a_packages_name(path):
        raise HipError("unknown_format", f"A model package has a name such as mine{ENDING}, but not {path.name}.")


def add_model(source: Path) -> Path:
    """Copy a package into the user's folder.

    Returns:
        The copy, or the same package where it is there already.

    Raises:
        HipError: ``unknown_format`` or as :func:`read_archive` for a file that is no sound package; ``same_name`` if
            another package has its name; as for any file if it cannot be written.
    """
    source = Path(source)
    check_name(source)
    details = read_details(source)
    data = _bytes_of(source)
    # What was checked is what is kept, even where somebody writes the file meanwhile.
    if hashlib.sha256(data).hexdigest() != details.sha256:
        raise HipError("unreadable", f"The model file {source} changed while it was read; add it again.")
    if there := _there_already(source, data):
        return there
    target = user_models_folder() / source.name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, Path(error.filename or target)) from error
    try:
        with creating(target) as beside:
            beside.write_bytes(data)
    except HipError as error:
        if error.kind != "exists":
            raise
        # Another Slicer was quicker, and may have removed it again by now.
        if there := _there_already(source, data):
            return there
        if os.path.lexists(target):
            raise
        return add_model(source)
    return target


def remove_model(path: Path) -> None:
    """Delete a package from the user's folder.

    Raises:
        HipError: ``not_removable`` for one that is not there, one that ships above all; ``missing_file``;
            ``not_written`` if the system does not let it be deleted.
    """
    path = Path(path)
    if not is_users(path) or path.suffix != ENDING:
        ships = path.resolve() in [shipped.resolve() for shipped in shipped_models()]
        raise HipError(
            "not_removable",
            f"{path.stem} comes with HipICMSC and cannot be removed."
            if ships
            else f"{path} is not in the folder of your models, {user_models_folder()}; delete the file by yourself.",
        )
    try:
        path.unlink()
    except FileNotFoundError as error:
        raise HipError("missing_file", f"There is no model file {path}.", str(error)) from error
    except OSError as error:
        raise HipError("not_written", f"The model file {path} could not be deleted.", str(error)) from error


def _there_already(source: Path, data: bytes) -> Path | None:
    """The package that has the name of ``source`` and holds ``data``; HipError ``same_name`` if it holds another."""
    for namesake in available_models():
        # Some file systems do not tell small letters from capitals, and people hardly do.
        if namesake.stem.casefold() != source.stem.casefold():
            continue
        try:
            same = namesake.read_bytes() == data
        except FileNotFoundError:  # another Slicer has just removed it
            continue
        except OSError as error:
            raise _unreadable(namesake, error) from error
        if same:
            return namesake
        whose = "Your models" if is_users(namesake) else "The models that come with HipICMSC"
        raise HipError(
            "same_name",
            f"{whose} hold another one with the name {namesake.stem}; rename the file {source.name} and add it then.",
        )
    return None


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> HipError:
    return HipError("unreadable", f"The model file {path} cannot be read.", str(error))


def _packages_in(folder: Path) -> list[Path]:
    return [path for path in folder.glob(f"*{ENDING}") if path.is_file() and _has_a_packages_name(path)]


def _has_a_packages_name(path: Path) -> bool:
    # Names with a dot are files that are just being written, and macOS's notes on files from elsewhere. What cannot be
    # printed cannot be listed, and may not even be text.
    return (
        path.suffix == ENDING
        and not path.name.startswith(".")
        and path.name.isprintable()
        and len(path.stem) <= LONGEST_NAME
    )
