"""The `hipicmsc` command."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from dataclasses import replace
from pathlib import Path

from HipICMSCLib.commands.case import add_case_commands
from HipICMSCLib.commands.info import add_info_command
from HipICMSCLib.commands.model import add_model_commands
from HipICMSCLib.commands.morphometry import add_morphometry_command
from HipICMSCLib.commands.segment import add_segment_command
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import check_may_write
from HipICMSCLib.common.terminal import ProgressLine, name_and_value, on_termination, progress_shown, unfailing_output
from HipICMSCLib.common.version import VERSION

from HipICMSCTrainingLib.benchmark.command import add_benchmark_command
from HipICMSCTrainingLib.evaluation.command import add_evaluation_commands
from HipICMSCTrainingLib.run.command import add_export_command, add_watching_commands


def main(arguments: list[str] | None = None) -> int:
    """Run one command; a user's mistake is one sentence on stderr and exit code 2, an interruption 130."""
    with unfailing_output():
        return _run(_parser().parse_args(arguments))


def _run(chosen: argparse.Namespace) -> int:
    try:
        return chosen.run(chosen) or 0
    except HipError as error:
        print(f"hipicmsc: {error.sentence}", file=sys.stderr)
        if chosen.verbose and error.detail:
            print(error.detail, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("hipicmsc: interrupted.", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hipicmsc",
        description="Segments the bones of the hip joint on MRI and trains the networks for it. For research use only.",
    )
    parser.add_argument("--version", action="version", version=f"hipicmsc {VERSION}")
    parser.add_argument("--verbose", action="store_true", help="show the technical background of errors")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    # In the order of use, in which `--help` shows them.
    add_info_command(commands)
    add_segment_command(commands)
    add_morphometry_command(commands)
    add_case_commands(commands)
    add_model_commands(commands)

    phantom = commands.add_parser("phantom", help="make synthetic CT and MRI of hips, with truth")
    phantom.add_argument("folder", type=Path, metavar="OUT")
    phantom.add_argument("--subjects", type=int, default=4, help="of each modality")
    phantom.add_argument("--seed", type=int, default=0)
    phantom.add_argument("--coarse", action="store_true", help="a second a volume instead of ten, to try things out")
    phantom.set_defaults(run=_phantom)

    check = commands.add_parser("check", help="say what is wrong with the data before a training")
    _add_data_arguments(check)
    check.add_argument("--preset", default="paper", help="whose crop the volumes are compared with")
    check.add_argument("--method", default="icmsc", help="target_model wants labels where all others refuse them")
    check.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="as for train, e.g. crop.size")
    check.add_argument(
        "--start-from", metavar="MODEL", help="the model to start from; whether it made the corrected cases is checked"
    )
    check.add_argument("--json", type=Path, metavar="FILE", help="write the report as JSON, too")
    check.add_argument("--progress", action="store_true", help="print JSON objects, one a line, instead of a table")
    check.add_argument("--overwrite", action="store_true", help="replace a report that is there")
    check.set_defaults(run=_check)

    estimate = commands.add_parser("estimate", help="say how long a training will take, and how much memory and disk")
    _add_training_arguments(estimate)
    estimate.add_argument("--cache", type=Path, help="a run's cache folder; what it holds is not preprocessed again")
    estimate.add_argument("--json", action="store_true", help="print one JSON object")
    estimate.add_argument("--progress", action="store_true", help="print JSON objects, one a line, instead of a table")
    estimate.set_defaults(run=_estimate)

    train = commands.add_parser("train", help="train on labelled CT and unlabelled MRI")
    train.add_argument("folder", type=Path, metavar="RUN", help="a new folder for everything the run writes")
    _add_training_arguments(train)
    train.set_defaults(run=_train)

    add_watching_commands(commands)
    resume = commands.add_parser("resume", help="go on with a paused, stopped, lost or failed run")
    resume.add_argument("folder", type=Path, metavar="RUN")
    resume.add_argument("--dataset", type=Path, help="dataset.json of the same images, where they lie now")
    resume.add_argument("--ct", type=Path, help="folder of the same CTs, where they lie now")
    resume.add_argument("--mri", type=Path, help="folder of the same MRIs, where they lie now")
    resume.add_argument("--corrected", type=Path, help="folder of the same corrected cases, where they lie now")
    resume.add_argument("--test-mri", type=Path, help="folder of the same labelled MRIs, where they lie now")
    resume.set_defaults(run=_resume)

    add_export_command(commands)
    add_evaluation_commands(commands)
    add_benchmark_command(commands)

    describe = commands.add_parser("describe", help="print methods, settings, presets and devices as one JSON object")
    describe.set_defaults(run=_describe)

    return parser


def _add_data_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--ct", type=Path, help="folder with X.nii.gz and X_label.nii.gz (1 hip bone, 2 proximal femur)"
    )
    parser.add_argument(
        "--mri", type=Path, help="folder with MRIs; label maps X_label in it are read by target_model alone"
    )
    parser.add_argument(
        "--corrected", type=Path, help="folder of corrected cases (`hipicmsc case add`); beside the other data"
    )
    parser.add_argument("--test-mri", type=Path, help="folder with X.nii.gz and X_label.nii.gz, for measuring only")
    parser.add_argument("--dataset", type=Path, help="dataset.json instead of folders")


def _add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """The cases and the settings of a training; :func:`_run_description` reads them."""
    _add_data_arguments(parser)
    parser.add_argument("--preset", help="paper (default), cpu-small, slabs, corrections or smoke")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="change a setting, e.g. batch_size=2"
    )
    parser.add_argument("--method", help="icmsc (default) or another one of those that `hipicmsc describe` prints")
    parser.add_argument("--like", type=Path, metavar="RUN", help="method, settings and cases as of another run")
    parser.add_argument(
        "--start-from", metavar="MODEL", help="fine-tune: first weights, architecture, crop and intensities of a model"
    )


def _train(chosen: argparse.Namespace) -> None:
    from HipICMSCTrainingLib.run.description import start_run

    _work_on(start_run(chosen.folder, _run_description(chosen)))


def _run_description(chosen: argparse.Namespace):
    """The run that the arguments of a training describe; what is given wins over the run that it shall be like."""
    from HipICMSCTrainingLib.methods.registry import find_method
    from HipICMSCTrainingLib.run.description import RunDescription
    from HipICMSCTrainingLib.run.folder import RunFolder

    if chosen.like is not None and chosen.preset is not None:
        raise HipError("bad_setting", "Give --preset or --like, not both.")
    like = None if chosen.like is None else RunDescription.read(RunFolder(chosen.like))
    settings = like.settings if like else _preset(chosen.preset or "paper")
    method = chosen.method or (like.method if like else "icmsc")
    own = like.method_settings if like and like.method == method else find_method(method).Settings()
    settings, own = _assigned_all(chosen, settings, own)
    settings = _as_the_start(chosen, settings)
    sources = (chosen.ct, chosen.mri, chosen.corrected, chosen.test_mri, chosen.dataset)
    has_data = any(source is not None for source in sources)
    return RunDescription(
        method, settings, own, like.dataset if like and not has_data else _dataset(chosen, settings.seed, method)
    )


def _estimate(chosen: argparse.Namespace) -> None:
    from HipICMSCTrainingLib.run.estimate import estimate

    # Whoever ends it in the usual way finds no temporary files left.
    with on_termination(lambda: sys.exit(128 + signal.SIGTERM)), progress_shown(chosen.progress, "text") as show:
        result = estimate(_run_description(chosen), chosen.cache, show)
    if chosen.progress:
        print(json.dumps({"estimate": result.to_json()}), flush=True)
    else:
        print(json.dumps(result.to_json(), indent=2) if chosen.json else result.table())


def _describe(chosen: argparse.Namespace) -> None:
    from HipICMSCTrainingLib.methods.description import description_of_settings

    # In one line, as whoever runs it as a child process reads it.
    print(json.dumps(description_of_settings()))


def _preset(name: str):
    from HipICMSCTrainingLib.settings.training import PRESETS

    if name not in PRESETS:
        raise HipError("unknown_preset", f"There is no preset {name}; there are {', '.join(PRESETS)}.")
    return PRESETS[name]


def _dataset(chosen: argparse.Namespace, seed: int, method: str, check: bool = True):
    """The named data; unchecked for whoever says himself what is wrong with them."""
    from HipICMSCTrainingLib.data.cases_of_folders import dataset_from_folders, with_corrected
    from HipICMSCTrainingLib.data.dataset_file import dataset_from_file, unchecked_dataset_from_file
    from HipICMSCTrainingLib.data.dataset_problems import checked
    from HipICMSCTrainingLib.methods.registry import find_method

    labelled_mri = find_method(method).reads_mr_labels
    if chosen.dataset is not None:
        if check and chosen.corrected is None:
            return dataset_from_file(chosen.dataset, labelled_mri)
        found = unchecked_dataset_from_file(chosen.dataset)
        if chosen.corrected is not None:
            found = with_corrected(found, chosen.corrected, seed, labelled_mri)
        return checked(found, labelled_mri) if check else found
    if chosen.ct is None or (chosen.mri is None and chosen.corrected is None):
        raise HipError("no_data", "Name the data: --ct and --mri (or --corrected), or --dataset.")
    return dataset_from_folders(chosen.ct, chosen.mri, seed, chosen.test_mri, labelled_mri, check, chosen.corrected)


def _check(chosen: argparse.Namespace) -> int:
    """Exit code 2 where something would stop a training, as for any other error."""
    from HipICMSCLib.common.files import write_text
    from HipICMSCLib.models.archive import read_archive
    from HipICMSCLib.models.chosen import find_model

    from HipICMSCTrainingLib.data.check import check_dataset, report_json, report_text
    from HipICMSCTrainingLib.methods.registry import find_method

    if chosen.json:
        check_may_write(chosen.json, chosen.overwrite)
    method = find_method(chosen.method)
    settings = _as_the_start(chosen, _assigned_all(chosen, _preset(chosen.preset), method.Settings())[0])
    data = _dataset(chosen, settings.seed, chosen.method, check=False)
    start = read_archive(find_model(settings.start_from)) if settings.start_from else None
    crop = settings.crop if settings.reads == "crop" else None
    with progress_shown(chosen.progress, "case") as show:
        report = check_dataset(data, crop, show, method.reads_mr_labels, start)
    if chosen.json:
        write_text(chosen.json, json.dumps(report_json(report), indent=2) + "\n")
    print(json.dumps({"report": report_json(report)}) if chosen.progress else report_text(report), flush=True)
    return 2 if report.stops else 0


def _as_the_start(chosen: argparse.Namespace, settings):
    """With the model that a training starts from, and what must be as in it."""
    from HipICMSCLib.models.chosen import find_model
    from HipICMSCLib.models.package import read_package

    from HipICMSCTrainingLib.run.starting_weights import with_settings_of

    if chosen.start_from is not None:
        # A file must be found from any other folder, too, because a resume may be called there.
        file = Path(chosen.start_from)
        settings = replace(settings, start_from=str(file.resolve()) if file.is_file() else chosen.start_from)
    if settings.start_from is None:
        return settings
    insisted_on = {name_and_value(assignment)[0] for assignment in chosen.set}
    return with_settings_of(read_package(find_model(settings.start_from)), settings, insisted_on)


def _assigned_all(chosen: argparse.Namespace, settings, own):
    for assignment in chosen.set:
        settings, own = _assigned(settings, own, assignment)
    return settings, own


def _assigned(settings, own, assignment: str):
    """``name=value`` set in the shared settings or, if it is not one of them, in the method's."""
    from dataclasses import fields

    from HipICMSCLib.common.settings import replaced

    name, value = name_and_value(assignment)
    if name.split(".")[0] in {field.name for field in fields(own)}:
        return settings, replaced(own, name, value)
    return replaced(settings, name, value), own


def _resume(chosen: argparse.Namespace) -> None:
    from HipICMSCTrainingLib.data.distribution import Distribution
    from HipICMSCTrainingLib.run.folder import RunFolder

    folder = RunFolder(chosen.folder)
    folder.description()
    distribution = Distribution()
    if chosen.dataset or chosen.ct or chosen.mri or chosen.corrected or chosen.test_mri:
        if distribution.is_main:
            _use_moved_data(folder, chosen)
        distribution.wait_for_first()
    if distribution.agree(distribution.is_main and _wakes(folder)):
        print("The waiting process goes on.")
        return
    _work_on(folder)


def _use_moved_data(folder, chosen: argparse.Namespace) -> None:
    from HipICMSCTrainingLib.run.description import RunDescription
    from HipICMSCTrainingLib.run.moved_data import use_moved_data

    run = RunDescription.read(folder)
    with folder.locked():
        use_moved_data(folder, _dataset(chosen, run.settings.seed, run.method, check=False))


def _wakes(folder) -> bool:
    """Take back what was asked of the run; true if a process was waiting for that."""
    in_use = folder.in_use()
    if in_use and not folder.requested("PAUSE"):
        raise HipError("run_in_use", f"{folder.path} is being trained already.")
    folder.withdraw("PAUSE")
    if not in_use:
        folder.withdraw("STOP")
    return in_use


def _work_on(folder) -> None:
    from HipICMSCTrainingLib.run.trainer import Trainer

    line = ProgressLine()

    def show(status) -> None:
        line.show(
            f"{status.phase} {status.step}/{status.total_steps} {status.sentence}", status.share, status.seconds_left
        )

    try:
        status = Trainer(folder, show).train()
    finally:
        line.close()
    print(f"{status.state}: {status.sentence}")


def _phantom(chosen: argparse.Namespace) -> None:
    from HipICMSCTrainingLib.data.cases_of_folders import dataset_from_folders
    from HipICMSCTrainingLib.data.dataset_file import write_dataset_file
    from HipICMSCTrainingLib.phantom.dataset import FULL, SMOKE, write_dataset

    folder = chosen.folder
    write_dataset(folder, chosen.subjects, chosen.seed, resolution=SMOKE if chosen.coarse else FULL)
    print(f"{folder}: {chosen.subjects} CTs with labels, {chosen.subjects} MRIs and their truth; all synthetic.")
    if chosen.subjects > 1:  # one to train on and one to hold out
        write_dataset_file(dataset_from_folders(folder / "ct", folder / "mri", chosen.seed), folder / "dataset.json")
        print(f"{folder / 'dataset.json'}: the data set to train on")


if __name__ == "__main__":
    sys.exit(main())
