"""What a user has is never replaced unasked, whichever command would write there: it is refused before any work."""

from __future__ import annotations

import pytest
from HipICMSCTrainingLib.cli import main

KEPT = b"what a user has"
COMMANDS = {
    "segment": ["segment", "{mri}", "-o", "{there}.nii.gz"],
    "segment --report": ["segment", "{mri}", "-o", "{folder}/new.nii.gz", "--report", "{there}.json"],
    "segment --summary": ["segment", "{mri}", "-o", "{folder}/new.nii.gz", "--summary", "{there}.csv"],
    "morphometry -o": ["morphometry", "{mri}", "-o", "{there}.csv"],
    "morphometry --html": ["morphometry", "{mri}", "--html", "{there}.html"],
    "export": ["export", "{folder}", "-o", "{there}.hipmodel"],
    "check --json": ["check", "--dataset", "{folder}/d.json", "--json", "{there}.json"],
    "evaluate": ["evaluate", "--prediction", "{mri}", "--truth", "{mri}", "-o", "{there}.json"],
    "compare": ["compare", "hip-mri", "hip-mri", "--cases", "{folder}", "-o", "{there}.html"],
    "leave-one-out": ["leave-one-out", "{folder}", "-o", "{there}.html"],
    "benchmark figure2": ["benchmark", "figure2", "{folder}", "-o", "{there}.png"],
    "benchmark figure3": ["benchmark", "figure3", "{folder}", "-o", "{there}.png"],
    "phantom": ["phantom", "{folder}", "--coarse"],
    "train": ["train", "{folder}", "--dataset", "{folder}/d.json"],
    "model add": ["model", "add", "{folder}/there.hipmodel"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_that_is_there_is_kept_and_named(tmp_path, monkeypatch, capsys, name):
    folder = tmp_path / "folder"
    (folder / "home" / "models").mkdir(parents=True)
    monkeypatch.setenv("HIPICMSC_HOME", str(folder / "home"))
    for file in ("there.nii.gz", "there.json", "there.csv", "there.html", "there.hipmodel", "there.png", "run.json",
                 "home/models/there.hipmodel", "mri.nii.gz"):  # fmt: skip
        (folder / file).write_bytes(KEPT)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    words = [word.format(mri=folder / "mri.nii.gz", there=folder / "there", folder=folder) for word in COMMANDS[name]]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("hipicmsc: ") and error.count("\n") == 1
    if name not in ("phantom", "train", "model add"):  # whose outputs are folders, or are refused for what they are
        assert "there" in error and "--overwrite" in error
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == before
    assert all(path.read_bytes() == KEPT for path in before)


def test_nothing_else_writes_where_a_user_says(capsys):
    """A command with an option to write is in the list above."""
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line[:4] == "    " and line[4] != " "}
    writing = set()
    for command in listed:
        with pytest.raises(SystemExit):
            main([command, "--help"])
        if {"-o", "--output", "--report", "--summary", "--html"} & set(
            capsys.readouterr().out.replace(",", " ").split()
        ):
            writing.add(command)
    assert writing <= {name.split()[0] for name in COMMANDS}
