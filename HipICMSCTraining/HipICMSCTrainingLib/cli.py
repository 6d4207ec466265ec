"""The `hipicmsc` command."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from HipICMSCLib.cli import add_commands as add_engine_commands
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import check_output
from HipICMSCLib.common.terminal import ProgressLine, duration, name_and_value, unfailing_output
from HipICMSCLib.common.version import VERSION

from HipICMSCTrainingLib.benchmark.command import add_benchmark_command


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

    add_engine_commands(commands)
    train = commands.add_parser("train", help="train on labelled CT and unlabelled MRI")
    train.add_argument("folder", type=Path, metavar="RUN", help="a new folder for everything the run writes")
    _add_training_arguments(train)
    train.set_defaults(run=_train)

    estimate = commands.add_parser("estimate", help="say how long a training will take, and how much memory and disk")
    _add_training_arguments(estimate)
    estimate.add_argument("--cache", type=Path, help="a run's cache folder; what it holds is not preprocessed again")
    estimate.add_argument("--json", action="store_true", help="print one JSON object")
    estimate.add_argument("--progress", action="store_true", help="print JSON objects, one a line, instead of a table")
    estimate.set_defaults(run=_estimate)

    describe = commands.add_parser("describe", help="print methods, settings, presets and devices as one JSON object")
    describe.set_defaults(run=_describe)

    check = commands.add_parser("check", help="say what is wrong with the data before a training")
    _add_data_arguments(check)
    check.add_argument("--preset", default="paper", help="whose crop the volumes are compared with")
    check.add_argument("--method", default="icmsc", help="target_model wants labels where all others refuse them")
    check.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="as for train, e.g. crop.size")
    check.add_argument("--json", type=Path, metavar="FILE", help="write the report as JSON, too")
    check.add_argument("--progress", action="store_true", help="print JSON objects, one a line, instead of a table")
    check.add_argument("--overwrite", action="store_true", help="replace a report that is there")
    check.set_defaults(run=_check)

    export = commands.add_parser("export", help="write a model package from a run")
    export.add_argument("folder", type=Path, metavar="RUN")
    export.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.hipmodel")
    export.add_argument("--weights", default="selected", choices=("selected", "average", "last"))
    export.add_argument("--route", help="how to segment: F_t, F_s(G_ts), F_s…; by default the method's best way")
    export.add_argument(
        "--about", type=Path, metavar="FILE.json", help="licence, citations, data and limits for the card"
    )
    export.add_argument("--overwrite", action="store_true", help="replace a package that is there")
    export.set_defaults(run=_export)

    measure = commands.add_parser("measure", help="measure a run's weights on the labelled MRIs of its dataset")
    measure.add_argument("folder", type=Path, metavar="RUN")
    measure.add_argument("--weights", default="selected", choices=("selected", "average", "last"))
    measure.add_argument("--route", help="as for export")
    measure.add_argument("--progress", action="store_true", help="print JSON objects, one a line, instead of a table")
    measure.set_defaults(run=_measure)

    evaluate = commands.add_parser("evaluate", help="measure results against truth")
    evaluate.add_argument("--prediction", type=Path, required=True, help="a segmentation, or a folder of them")
    evaluate.add_argument("--truth", type=Path, required=True, help="a label map, or a folder of them")
    evaluate.add_argument("--roi-mm", type=float, help="count the hip bone only this near to a femoral head's centre")
    evaluate.add_argument(
        "--ignore",
        action="append",
        metavar="MASK",
        help="leave a mask's voxels out: a file, a folder of files named NAME_…, or a suffix beside the truth such as "
        "_cortex; may be repeated; without it NAME_ignore is left out where there is one, with `none` nothing is",
    )
    evaluate.add_argument("-o", "--output", type=Path, help="write all numbers as JSON")
    evaluate.add_argument("--overwrite", action="store_true", help="replace numbers that are there")
    evaluate.set_defaults(run=_evaluate)

    add_benchmark_command(commands)

    phantom = commands.add_parser("phantom", help="make synthetic CT and MRI of hips, with truth")
    phantom.add_argument("folder", type=Path, metavar="OUT")
    phantom.add_argument("--subjects", type=int, default=4, help="of each modality")
    phantom.add_argument("--seed", type=int, default=0)
    phantom.add_argument("--coarse", action="store_true", help="a second a volume instead of ten, to try things out")
    phantom.set_defaults(run=_phantom)

    for name, function, text in (
        ("resume", _resume, "go on with a paused, stopped, lost or failed run"),
        ("pause", _pause, "let the process of a run wait; resume wakes it"),
        ("stop", _stop, "let a run save itself and end; resume continues it later"),
        ("status", _status, "say how a run goes"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("folder", type=Path, metavar="RUN")
        command.set_defaults(run=function)
        if name == "resume":
            command.add_argument("--dataset", type=Path, help="dataset.json of the same images, where they lie now")
            command.add_argument("--ct", type=Path, help="folder of the same CTs, where they lie now")
            command.add_argument("--mri", type=Path, help="folder of the same MRIs, where they lie now")
            command.add_argument("--test-mri", type=Path, help="folder of the same labelled MRIs, where they lie now")
    return parser


def _add_data_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--ct", type=Path, help="folder with X.nii.gz and X_label.nii.gz (1 hip bone, 2 proximal femur)"
    )
    parser.add_argument(
        "--mri", type=Path, help="folder with MRIs; label maps X_label in it are read by target_model alone"
    )
    parser.add_argument("--test-mri", type=Path, help="folder with X.nii.gz and X_label.nii.gz, for measuring only")
    parser.add_argument("--dataset", type=Path, help="dataset.json instead of folders")


def _add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """The cases and the settings of a training; :func:`_run_description` reads them."""
    _add_data_arguments(parser)
    parser.add_argument("--preset", help="paper (default), cpu-small, slabs or smoke")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="change a setting, e.g. batch_size=2"
    )
    parser.add_argument("--method", help="icmsc (default) or another one of those that `hipicmsc describe` prints")
    parser.add_argument("--like", type=Path, metavar="RUN", help="method, settings and cases as of another run")
    parser.add_argument(
        "--start-from", metavar="MODEL", help="fine-tune: first weights, architecture, crop and intensities of a model"
    )


def _train(chosen: argparse.Namespace) -> None:
    from HipICMSCTrainingLib.run.trainer import start_run

    _work_on(start_run(chosen.folder, _run_description(chosen)))


def _run_description(chosen: argparse.Namespace):
    """The run that the arguments of a training describe; what is given wins over the run that it shall be like."""
    from HipICMSCLib.models.chosen import find_model
    from HipICMSCLib.models.package import read_package

    from HipICMSCTrainingLib.run.folder import RunFolder
    from HipICMSCTrainingLib.run.starting_weights import with_settings_of
    from HipICMSCTrainingLib.run.trainer import RunDescription, find_method

    if chosen.like is not None and chosen.preset is not None:
        raise HipError("bad_setting", "Give --preset or --like, not both.")
    like = None if chosen.like is None else RunDescription.read(RunFolder(chosen.like))
    settings = like.settings if like else _preset(chosen.preset or "paper")
    method = chosen.method or (like.method if like else "icmsc")
    own = like.method_settings if like and like.method == method else find_method(method).Settings()
    for assignment in chosen.set:
        settings, own = _assigned(settings, own, assignment)
    if chosen.start_from is not None:
        # A file must be found from any other folder, too, because a resume may be called there.
        file = Path(chosen.start_from)
        settings = replace(settings, start_from=str(file.resolve()) if file.is_file() else chosen.start_from)
    if settings.start_from is not None:
        insisted_on = {name_and_value(assignment)[0] for assignment in chosen.set}
        settings = with_settings_of(read_package(find_model(settings.start_from)), settings, insisted_on)
    has_data = any(source is not None for source in (chosen.ct, chosen.mri, chosen.test_mri, chosen.dataset))
    return RunDescription(
        method, settings, own, like.dataset if like and not has_data else _dataset(chosen, settings.seed, method)
    )


@contextlib.contextmanager
def _progress(chosen: argparse.Namespace, what: str) -> Iterator[Callable[[float, str], None]]:
    """A function of the share that is done and of what comes next: a line for a person, or with --progress a JSON
    object, in which the latter is called ``what``."""
    line = ProgressLine()

    def show(share: float, text: str) -> None:
        if chosen.progress:
            print(json.dumps({"progress": share, what: text}), flush=True)
        else:
            line.show(share, text)

    try:
        yield show
    finally:
        line.close()


def _estimate(chosen: argparse.Namespace) -> None:
    from HipICMSCTrainingLib.run.estimate import estimate

    # Whoever ends it in the usual way finds no temporary files left.
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        with _progress(chosen, "text") as show:
            result = estimate(_run_description(chosen), chosen.cache, show)
    finally:
        signal.signal(signal.SIGTERM, before)
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
    from HipICMSCTrainingLib.data import dataset
    from HipICMSCTrainingLib.run.trainer import find_method

    labelled_mri = find_method(method).reads_mr_labels
    if chosen.dataset is not None:
        if not check:
            return dataset.unchecked_dataset_from_file(chosen.dataset)
        return dataset.dataset_from_file(chosen.dataset, labelled_mri)
    if chosen.ct is None or chosen.mri is None:
        raise HipError("no_data", "Name the data: --ct and --mri, or --dataset.")
    read = dataset.dataset_from_folders if check else dataset.unchecked_dataset_from_folders
    return read(chosen.ct, chosen.mri, seed, test_mri=chosen.test_mri, labelled_mri=labelled_mri)


def _check(chosen: argparse.Namespace) -> int:
    """Exit code 2 where something would stop a training, as for any other error."""
    from HipICMSCLib.common.files import write_text
    from HipICMSCLib.common.settings import replaced

    from HipICMSCTrainingLib.data.check import check_dataset, report_json, report_text
    from HipICMSCTrainingLib.run.trainer import find_method

    if chosen.json:
        check_output(chosen.json, chosen.overwrite)
    settings = _preset(chosen.preset)
    for assignment in chosen.set:
        settings = replaced(settings, *name_and_value(assignment))
    data = _dataset(chosen, settings.seed, chosen.method, check=False)
    with _progress(chosen, "case") as show:
        report = check_dataset(data, settings.crop, show, labelled_mri=find_method(chosen.method).reads_mr_labels)
    if chosen.json:
        write_text(chosen.json, json.dumps(report_json(report), indent=2) + "\n")
    print(json.dumps({"report": report_json(report)}) if chosen.progress else report_text(report), flush=True)
    return 2 if report.stops else 0


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
    if chosen.dataset or chosen.ct or chosen.mri:
        if distribution.is_main:
            _use_moved_data(folder, chosen)
        distribution.wait_for_first()
    if distribution.agree(distribution.is_main and _wakes(folder)):
        print("The waiting process goes on.")
        return
    _work_on(folder)


def _use_moved_data(folder, chosen: argparse.Namespace) -> None:
    from HipICMSCTrainingLib.run.moved_data import use_moved_data
    from HipICMSCTrainingLib.run.trainer import RunDescription

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
        share = status.step / status.total_steps if status.total_steps else 0.0
        line.show(share, f"{status.phase} {status.step}/{status.total_steps} {status.sentence}", status.seconds_left)

    try:
        status = Trainer(folder, show).train()
    finally:
        line.close()
    print(f"{status.state}: {status.sentence}")


def _pause(chosen: argparse.Namespace) -> None:
    _request(chosen, "PAUSE", "It will wait after the step at hand.")


def _stop(chosen: argparse.Namespace) -> None:
    _request(chosen, "STOP", "It will save itself and end after the step at hand.")


def _request(chosen: argparse.Namespace, what: str, sentence: str) -> None:
    from HipICMSCTrainingLib.run.folder import RunFolder

    folder = RunFolder(chosen.folder)
    folder.description()
    if not folder.in_use():
        raise HipError("not_running", f"No process is training in {chosen.folder}.")
    folder.request(what)
    print(sentence)


def _export(chosen: argparse.Namespace) -> None:
    from HipICMSCLib.common.foreign_files import read_object
    from HipICMSCLib.common.settings import from_json
    from HipICMSCLib.models.package import read_package

    from HipICMSCTrainingLib.run.export import About, export_package
    from HipICMSCTrainingLib.run.folder import RunFolder

    check_output(chosen.output, chosen.overwrite)
    about = About()
    if chosen.about:
        try:
            about = from_json(About, read_object(chosen.about))
        except (OSError, ValueError) as error:
            raise HipError("bad_about", f"{chosen.about} cannot be read as JSON.", str(error)) from error
    export_package(RunFolder(chosen.folder), chosen.output, chosen.weights, chosen.route, about)
    print(f"{chosen.output}: SHA-256 {read_package(chosen.output).sha256}")


def _measure(chosen: argparse.Namespace) -> None:
    from HipICMSCTrainingLib.evaluation.measure import measure_run
    from HipICMSCTrainingLib.run.folder import RunFolder

    with _progress(chosen, "case") as show:
        measured = measure_run(RunFolder(chosen.folder), chosen.weights, chosen.route, show)
    if chosen.progress:
        print(json.dumps({"measured": measured.to_json()}), flush=True)
        return
    print(measured.evaluation.table())
    for name, sentence in measured.failed.items():
        print(f"{name}: {sentence}")


def _evaluate(chosen: argparse.Namespace) -> None:
    from HipICMSCTrainingLib.evaluation.scores import run_evaluate

    if chosen.output:
        check_output(chosen.output, chosen.overwrite, filter(Path.is_file, (chosen.prediction, chosen.truth)))
    print(run_evaluate(chosen.prediction, chosen.truth, chosen.roi_mm, chosen.output, chosen.ignore))


def _phantom(chosen: argparse.Namespace) -> None:
    from HipICMSCTrainingLib.data.dataset import dataset_from_folders, write_dataset_file
    from HipICMSCTrainingLib.phantom.dataset import FULL, SMOKE, write_dataset

    folder = chosen.folder
    write_dataset(folder, chosen.subjects, chosen.seed, resolution=SMOKE if chosen.coarse else FULL)
    print(f"{folder}: {chosen.subjects} CTs with labels, {chosen.subjects} MRIs and their truth; all synthetic.")
    if chosen.subjects > 1:  # one to train on and one to hold out
        write_dataset_file(dataset_from_folders(folder / "ct", folder / "mri", chosen.seed), folder / "dataset.json")
        print(f"{folder / 'dataset.json'}: the data set to train on")


def _status(chosen: argparse.Namespace) -> None:
    from HipICMSCTrainingLib.run.folder import RunFolder

    folder = RunFolder(chosen.folder)
    status = folder.status()
    for line in [line for line in folder.metrics() if "scores" in line][-2:]:
        numbers = "  ".join(f"{name} {value:.3f}" for name, value in line["scores"].items())
        print(f"step {line['step']}, {line['weights']} weights: {numbers}")
    # The clock may have been set back since.
    age = max(0.0, time.time() - status.heartbeat)
    print(f"step {status.step} of {status.total_steps}, phase {status.phase}, last sign of life {duration(age)} ago")
    left = f", {duration(status.seconds_left)} left" if status.seconds_left is not None else ""
    print(f"{status.state}{left}. {status.sentence}".strip())


if __name__ == "__main__":
    sys.exit(main())
