"""What names a patient stays where the user put it: one patient goes through everything, and all that was written or
printed is searched for what tells who it was.

Four files may name what the user chose, because they would be of no use otherwise, and no others may: ``dataset.json``
and the ``run.json`` of a training (the files that it reads, so that it can be resumed), the table or report of
segmentations that the user asked for (the name of each input, without its folder), and ``cases.csv`` in the user's own
folder (whose each training case is). A run's status and log may name a
case, too, but only in the sentence that says what is wrong with it; and the log names a file that is missing when a
training is started.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from types import SimpleNamespace

import pytest
import SimpleITK as sitk
from ball_hips import ball_image
from HipICMSCLib.anatomy.segments import TAG_PREFIX
from HipICMSCLib.batch.files import FileSource
from HipICMSCLib.batch.queue import BatchItem
from HipICMSCLib.batch.summary import write_summary
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.models.archive import read_details
from HipICMSCLib.worker.protocol import (
    Failed,
    Finished,
    PreflightRequest,
    SegmentRequest,
    SelfTestRequest,
    decode,
    encode,
)
from HipICMSCLib.worker.system_report import report_text
from HipICMSCTrainingLib.cli import main
from HipICMSCTrainingLib.data.dataset_file import write_dataset_file
from HipICMSCTrainingLib.data.slice_cache import cache_file
from HipICMSCTrainingLib.run.export import export_package
from HipICMSCTrainingLib.run.folder import RunFolder
from HipICMSCTrainingLib.run.trainer import Trainer
from patience import PATIENCE
from tiny_training import TinyData, set_arguments, tiny_dataset, tiny_settings

#: What tells who somebody is, none of which is part of anything else that is written.
NAME, FIRST_NAME, PATIENT_ID, BIRTH_DATE, ACCESSION = "Zworykin", "Wladimirowna", "PID7741XQ", "19410317", "ACC5512087"
FOLDER, FILE = "Qafjell_Zofia_1953", "Hbrixx_Hanna_cor"
SECRETS = (NAME, FIRST_NAME, PATIENT_ID, BIRTH_DATE, ACCESSION, "Qafjell", "Zofia", "Hbrixx", "Hanna")

DICOM_FIELDS = {
    "0010|0010": f"{NAME}^{FIRST_NAME}", "0010|0020": PATIENT_ID, "0010|0030": BIRTH_DATE, "0008|0050": ACCESSION,
    "0008|1030": f"{NAME} hip", "0008|103e": f"T1 {FIRST_NAME}", "0008|0080": f"Ward of {NAME}",
}  # fmt: skip


def write_dicom(image: sitk.Image, folder: Path) -> Path:
    """A series with everything that names the patient."""
    folder.mkdir(parents=True)
    direction = image.GetDirection()
    for number in range(image.GetDepth()):
        piece = image[:, :, number]
        place = image.TransformIndexToPhysicalPoint((0, 0, number))
        for tag, value in DICOM_FIELDS.items() | {
            "0008|0060": "MR", "0020|000e": "1.2.3.4", "0020|000d": "1.2.3", "0020|0013": str(number),
            "0020|0032": "\\".join(map(str, place)), "0028|0030": "\\".join(map(str, image.GetSpacing()[:2])),
            "0020|0037": "\\".join(str(direction[i]) for i in (0, 3, 6, 1, 4, 7)),
        }.items():  # fmt: skip
            piece.SetMetaData(tag, value)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(folder / f"{FILE}_{number:03d}.dcm"))
        writer.Execute(piece)
    return folder


def write_nifti(image: sitk.Image, path: Path) -> Path:
    """A volume whose free texts (db_name, descrip, aux_file, intent_name) name the patient."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = path.with_name("plain.nii")
    sitk.WriteImage(image, str(plain))
    data = bytearray(plain.read_bytes())
    plain.unlink()
    for place, text in ((14, PATIENT_ID), (148, f"{NAME} {BIRTH_DATE}"), (228, ACCESSION), (328, FIRST_NAME)):
        data[place : place + len(text)] = text.encode()
    path.write_bytes(gzip.compress(bytes(data), 1))
    return path


def write_nrrd(image: sitk.Image, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    for tag, value in DICOM_FIELDS.items():
        image.SetMetaData(f"dicom_{tag.replace('|', '_')}", value)
    sitk.WriteImage(image, str(path))
    return path


def found_in(data: bytes) -> set[str]:
    """The secrets in some bytes, in any of the usual encodings, small letters or capitals."""
    lower = data.lower()
    return {
        secret
        for secret in SECRETS
        for encoding in ("utf-8", "utf-16-le", "utf-16-be", "latin-1")
        if secret.lower().encode(encoding) in lower
    }


def unpacked(path: Path) -> bytes:
    """All of a file that can be read, in the clear: of an archive its members, of what is packed its content."""
    data = path.read_bytes()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            data += b"".join(name.encode() + archive.read(name) for name in archive.namelist())
    if path.suffix == ".nrrd" and b"\n\n" in data:
        header, _, packed = data.partition(b"\n\n")
        data += zlib.decompressobj(31).decompress(packed) if b"encoding: gzip" in header else b""
    if data.startswith(b"\x1f\x8b"):
        data += gzip.decompress(data)
    return data


def leaks_below(folder: Path) -> dict[str, set[str]]:
    """By file, relative to the folder: what of the secrets is in its name or its content."""
    found = {}
    for path in [*folder.rglob("*")]:
        secrets = found_in(path.relative_to(folder).as_posix().encode())
        secrets |= found_in(unpacked(path)) if path.is_file() else set()
        if secrets:
            found[path.relative_to(folder).as_posix()] = secrets
    return found


def test_the_search_finds_what_it_is_meant_to_find(tmp_path):
    write_dicom(ball_image(), tmp_path / "dicom")
    assert set.union(*leaks_below(tmp_path / "dicom").values()) >= {NAME, FIRST_NAME, PATIENT_ID, BIRTH_DATE, ACCESSION}
    write_nifti(ball_image(), tmp_path / "a.nii.gz")
    write_nrrd(ball_image(), tmp_path / "b.nrrd")
    with zipfile.ZipFile(tmp_path / "c.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("card.md", "Zofia".encode("utf-16-le"))
    (tmp_path / "HBRIXX.txt").write_text("")
    found = leaks_below(tmp_path)
    assert found["a.nii.gz"] == {NAME, FIRST_NAME, PATIENT_ID, BIRTH_DATE, ACCESSION} <= found["b.nrrd"]
    assert (found["c.zip"], found["HBRIXX.txt"]) == ({"Zofia"}, {"Hbrixx"})


@pytest.fixture(scope="module")
def patient(tmp_path_factory) -> SimpleNamespace:
    """The same hips as a DICOM series, NIfTI and NRRD, all in folders and files with a patient's name."""
    folder = tmp_path_factory.mktemp("hospital") / FOLDER
    image = ball_image(spacing=(4.0, 4.0, 5.0))
    return SimpleNamespace(
        folder=folder,
        dicom=write_dicom(image, folder / f"{NAME}_series"),
        nifti=write_nifti(image, folder / "volumes" / f"{FILE}.nii.gz"),
        nrrd=write_nrrd(image, folder / "volumes" / f"{FILE}_2.nrrd"),
    )


@pytest.mark.parametrize(("kind", "ending"), [("dicom", ".seg.nrrd"), ("nifti", ".nii.gz"), ("nrrd", ".mha")])
def test_a_result_of_the_command_line_names_nobody(patient, ball_model, tmp_path, capsys, kind, ending):
    arguments = ["segment", getattr(patient, kind), "-o", tmp_path / f"out{ending}", "--model", ball_model]
    assert main([*map(str, arguments), "--device", "cpu"]) == 0
    assert not leaks_below(tmp_path)
    printed = capsys.readouterr()
    assert not found_in((printed.out + printed.err).encode())


def test_a_report_and_a_table_name_the_inputs_without_their_folders_and_nothing_else(
    patient, ball_model, tmp_path, capsys
):
    volumes = patient.folder / "volumes"
    (volumes / f"{FILE}_broken.nii.gz").write_bytes(patient.nifti.read_bytes()[:2000])
    report = tmp_path / "report.json"
    arguments = ["segment", volumes, "-o", tmp_path / "out", "--model", ball_model, "--device", "cpu"]
    assert main([*map(str, arguments), "--report", str(report)]) == 2
    (volumes / f"{FILE}_broken.nii.gz").unlink()
    capsys.readouterr()  # says the path of each input that the user gave
    reports = json.loads(report.read_text())
    assert [about["input"] for about in reports] == [f"{FILE}{end}" for end in (".nii.gz", "_2.nrrd", "_broken.nii.gz")]
    for about in reports:
        stem = about["input"].partition(".")[0]
        rest = json.dumps({key: value for key, value in about.items() if key not in ("input", "output", "error")})
        assert not found_in(rest.encode())
        sentence = about.get("error", {"sentence": ""})["sentence"]
        assert not found_in(sentence.replace(stem, "").encode())
    assert set(leaks_below(tmp_path)) == {"report.json", *(f"out/{FILE}{end}.seg.nrrd" for end in ("", "_2"))}
    assert all(not found_in(unpacked(path)) for path in (tmp_path / "out").iterdir())

    done, failed = (BatchItem(about["input"], FileSource(volumes / about["input"], tmp_path)) for about in reports[::2])
    done.state, done.report = "done", reports[0] | {"doubtful_places": []}
    failed.state, failed.sentence = "failed", f"{volumes / failed.name} cannot be read as an image."
    for ending in (".csv", ".json"):
        write_summary(tmp_path / f"table{ending}", [done, failed])
        text = (tmp_path / f"table{ending}").read_text(encoding="utf-8-sig")
        assert found_in(text.encode()) == {"Hbrixx", "Hanna"} and not found_in(text.replace(FILE, "").encode())


@pytest.mark.parametrize("kind", ["dicom", "nifti", "nrrd"])
def test_a_training_case_names_nobody_and_the_list_of_whose_it_is_lies_elsewhere(
    patient, ball_model, tmp_path, capsys, monkeypatch, kind
):
    """Nor does it lie where several people share models."""
    home, cases, result = tmp_path / "home", tmp_path / "cases", tmp_path / "out.seg.nrrd"
    monkeypatch.setenv("XDG_DATA_HOME", str(home))
    monkeypatch.setenv("HIPICMSC_HOME", str(tmp_path / "shared"))
    mri = str(getattr(patient, kind))
    assert main(["segment", mri, "-o", str(result), "--model", str(ball_model), "--device", "cpu"]) == 0
    assert main(["case", "add", mri, str(result), "--to", str(cases), "--completed", "all"]) == 0
    assert main(["case", "list", str(cases)]) == 0
    printed = capsys.readouterr()
    assert not found_in((printed.out + printed.err).encode())
    assert sorted(path.name for path in cases.rglob("*")) == ["case-001", "case.json", "label.nii.gz", "mri.nii.gz"]
    assert not leaks_below(cases) and set(leaks_below(home)) == {"HipICMSC/cases.csv"}


@pytest.fixture(scope="module")
def answers(patient, ball_model, tmp_path_factory) -> SimpleNamespace:
    """What the worker said to Slicer, what it wrote and what it printed."""
    folder, home = tmp_path_factory.mktemp("worker"), tmp_path_factory.mktemp("worker home")
    usual = {"model": str(ball_model), "device": "cpu"}
    requests = [
        PreflightRequest(str(patient.dicom), **usual),
        SegmentRequest(
            str(patient.dicom), str(folder / "out.seg.nrrd"), cancel_flag=str(folder / "cancel"),
            confidence=str(folder / "confidence.nrrd"), **usual,
        ),
        SelfTestRequest(**usual),
        PreflightRequest(str(patient.folder / "gone.nrrd"), **usual),
    ]  # fmt: skip
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, "-m", "HipICMSCLib.worker"], stdin=pipe, stdout=pipe, stderr=pipe, encoding="utf-8",
        env=os.environ | {"HIPICMSC_HOME": str(home), "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    events = []
    for request in requests:
        process.stdin.write(encode(request))
        process.stdin.flush()
        said = [decode(process.stdout.readline())]
        while not isinstance(said[-1], Finished | Failed):
            said.append(decode(process.stdout.readline()))
        events += said
    _, printed = process.communicate(timeout=PATIENCE)
    return SimpleNamespace(folder=folder, home=home, events=events, printed=printed)


def test_the_worker_names_nobody_but_in_the_sentence_about_a_missing_file(answers):
    last = [type(event) for event in answers.events if isinstance(event, Finished | Failed)]
    assert last == [Finished, Finished, Finished, Failed]
    said = "".join(encode(event) for event in answers.events if not isinstance(event, Failed))
    assert not found_in(said.encode()) and not found_in(answers.printed.encode())
    assert sorted(path.name for path in answers.folder.iterdir()) == ["confidence.nrrd", "out.seg.nrrd"]
    assert not leaks_below(answers.folder) and not leaks_below(answers.home)
    assert (answers.home / "run-times.json").is_file()


def test_the_report_for_a_developer_names_nobody(answers):
    (failure,) = [event for event in answers.events if isinstance(event, Failed)]
    assert found_in(failure.sentence.encode()) == {"Qafjell", "Zofia"}
    traceback = f'File "/data/{FOLDER}/x.py", line 3, in read\nRuntimeError: {NAME} {PATIENT_ID}\nExit code -9.'
    error = HipError(failure.kind, failure.sentence, f"{failure.detail}\n{traceback}")
    assert not found_in(report_text(None, (), error, failure.kind, "5.12", "Slicer's own").encode())


def test_the_hash_of_the_model_is_kept_with_every_result(patient, ball_model, answers, tmp_path, capsys):
    sha256 = hashlib.sha256(ball_model.read_bytes()).hexdigest()
    arguments = ["segment", patient.nrrd, "-o", tmp_path / "out.seg.nrrd", "--model", ball_model, "--device", "cpu"]
    assert main([*map(str, arguments), "--report", str(tmp_path / "report.json")]) == 0
    assert main(["model", "show", str(ball_model)]) == 0
    assert f"SHA-256: {sha256}" in capsys.readouterr().out and read_details(ball_model).sha256 == sha256
    for file in (tmp_path / "out.seg.nrrd", answers.folder / "out.seg.nrrd"):
        tags = sitk.ReadImage(str(file))
        assert all(f"{TAG_PREFIX}ModelSha256:{sha256}|" in tags.GetMetaData(f"Segment{n}_Tags") for n in range(4))
    report = json.loads((tmp_path / "report.json").read_text())
    segmented = [event.report for event in answers.events if isinstance(event, Finished)][1:]
    assert [about["model"]["sha256"] for about in (report, *segmented)] == [sha256] * 3
    item = BatchItem("a", None, "done", report=report)
    for ending in (".csv", ".json"):
        write_summary(tmp_path / f"table{ending}", [item])
        assert sha256 in (tmp_path / f"table{ending}").read_text(encoding="utf-8-sig")


@pytest.fixture(scope="module")
def training(tiny_data, finished_run, tmp_path_factory) -> SimpleNamespace:
    """A training on volumes of patients, started from a model in a patient's folder, and what it printed."""
    folder = tmp_path_factory.mktemp("training")
    data = folder / FOLDER
    for kind in ("ct", "mri"):
        (data / kind).mkdir(parents=True)
        for file in (tiny_data.folder / kind).iterdir():
            (data / kind / f"{FILE}_{file.name}").write_bytes(file.read_bytes())
    start = data / "start.hipmodel"
    export_package(finished_run, start, "last", "F_t")
    dataset = tiny_dataset(data)
    write_dataset_file(dataset, folder / "dataset.json")
    run = RunFolder(folder / "run")
    run.cache.mkdir(parents=True)
    originals, settings = {f"{FILE}_{case.name}": case for case in tiny_data.dataset.cases}, tiny_settings()
    for case in dataset.cases:  # so that nothing need be preprocessed again
        original = originals[case.name]
        shutil.copy(cache_file(original, settings, tiny_data.cache), cache_file(case, settings, run.cache))
    arguments = ["train", run.path, "--dataset", folder / "dataset.json", "--start-from", start]
    printed = _printed_by([*map(str, arguments), *set_arguments(stage2_epochs=1)])
    return SimpleNamespace(folder=folder, data=TinyData(data, run.cache, dataset), run=run, printed=printed)


def _printed_by(arguments: list[str]) -> str:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        assert main(arguments) == 0, said.getvalue()
    return said.getvalue()


def test_a_training_names_the_volumes_that_the_user_chose_in_run_json_alone(training):
    assert set(leaks_below(training.run.path)) == {"run.json"}
    assert not found_in(training.printed.encode())
    written = {path.relative_to(training.run.path).parts[0] for path in training.run.path.rglob("*")}
    assert {"run.json", "status.json", "metrics.jsonl", "checkpoints", "previews", "cache"} <= written
    # What a patient's volumes are called is in the list of cases, and nowhere else in run.json but in the arguments.
    description = training.run.description()
    del description["dataset"], description["command"], description["settings"]["start_from"]
    assert not found_in(json.dumps(description).encode())


def test_a_preview_holds_nothing_but_a_picture(training):
    for path in training.run.previews_of():
        data, kinds, place = path.read_bytes(), [], 8
        while place < len(data):
            length, kind = struct.unpack_from(">L4s", data, place)
            kinds.append(kind)
            place += 12 + length
        assert set(kinds) == {b"IHDR", b"IDAT", b"IEND"}


@pytest.mark.parametrize("weights", ["selected", "last"])
def test_an_exported_package_and_its_card_name_nobody(training, tmp_path, weights):
    about = tmp_path / "about.json"
    about.write_text(json.dumps({"licence": "CC0", "data": "Two CTs and two MRIs."}))
    package = tmp_path / "mine.hipmodel"
    arguments = ["export", training.run.path, "-o", package, "--weights", weights, "--about", about]
    assert not found_in(_printed_by(list(map(str, arguments))).encode())
    assert not leaks_below(tmp_path)
    with zipfile.ZipFile(package) as archive:
        text = archive.read("model.json") + archive.read("card.md")
    assert os.sep.encode() not in archive.namelist()[0].encode() and str(training.folder).encode() not in text
    assert b"Started from the weights of start" in text  # its name and its hash are kept, not where it lay


def test_a_case_that_is_wrong_is_named_in_one_sentence_without_its_folder(training, tmp_path):
    run = training.data.start(tmp_path / "run")
    (name, image), *_ = [(case.name, Path(case.image)) for case in training.data.dataset.of("MR", "train")]
    broken = image.with_name(f"{FILE}_broken.nii.gz")
    sitk.WriteImage(sitk.Image(60, 60, 60, sitk.sitkUInt8), str(broken))
    (run.path / "run.json").write_text((run.path / "run.json").read_text().replace(str(image), str(broken)))
    with pytest.raises(HipError) as caught:
        Trainer(run).train()
    broken.unlink()
    status = run.status()
    assert caught.value.sentence.startswith(f"Case {name}: {broken.name} is empty")
    assert status.state == "failed" and status.sentence == caught.value.sentence
    assert leaks_below(run.path).keys() == {"run.json", "status.json"}
    assert leaks_below(run.path)["status.json"] == {"Hbrixx", "Hanna"}
