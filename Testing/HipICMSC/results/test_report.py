"""What is written down beside a result: enough to repeat it, nothing about the patient."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from HipICMSCLib.anatomy.femoral_heads import FemoralHeads
from HipICMSCLib.common.version import VERSION
from HipICMSCLib.engine import HipSegmenter, Result
from HipICMSCLib.models.package import ModelPackage
from HipICMSCLib.networks.inference import FP32
from HipICMSCLib.results.provenance import provenance
from HipICMSCLib.results.report import report
from HipICMSCLib.results.research_use import RESEARCH_USE
from HipICMSCLib.results.segmentation_file import write_segmentation
from packages import HEADS, blank, scene, write_threshold_package

CORONAL = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
PATIENT = "Doe^Jane 19700101"


@pytest.fixture(scope="module")
def segmented(tmp_path_factory) -> tuple[Result, ModelPackage]:
    path = write_threshold_package(tmp_path_factory.mktemp("model") / "a.hipmodel", name="ball-model", licence="CC-BY")
    image, _ = scene(blank(CORONAL, (2.5, 2.5, 5.0)), sides=("left",))
    for key in ("0010|0010", "PatientName", "descrip"):
        image.SetMetaData(key, PATIENT)
    segmenter = HipSegmenter(path, "cpu", FP32)
    return segmenter.segment(image, FemoralHeads(None, HEADS.left)), segmenter.package


def test_the_report_says_with_what_and_how(segmented):
    result, package = segmented
    about = json.loads(json.dumps(report(result, package)))
    assert about["use"] == RESEARCH_USE
    assert about["model"] == {"name": "ball-model", "sha256": package.sha256, "licence": "CC-BY"}
    assert about["versions"]["HipICMSC"] == VERSION
    assert about["versions"]["torch"] == torch.__version__
    assert about["versions"]["SimpleITK"] == sitk.Version.VersionString()
    assert (about["device"], about["precision"], about["fallbacks"]) == ("cpu", "fp32", [])
    assert about["femoral_heads_lps_mm"] == {"right": None, "left": [85.0, 0.0, 0.0]}
    assert set(about["seconds"]) == set(result.seconds)


def test_the_report_says_what_was_found(segmented):
    about = report(*segmented)
    volumes = about["volumes_ml"]
    assert volumes["Right hip bone (acetabulum)"] == volumes["Right proximal femur"] == 0
    assert volumes["Left proximal femur"] == pytest.approx(4 / 3 * np.pi * 2.4**3, rel=0.05)
    assert volumes["Left hip bone (acetabulum)"] == pytest.approx(4 / 3 * np.pi * 2.7**3, rel=0.05)
    assert "one_hip" in [warning["kind"] for warning in about["warnings"]]
    assert all(warning["sentence"] for warning in about["warnings"])


def test_nothing_of_the_patient_is_passed_on(segmented, tmp_path):
    result, package = segmented
    about = report(result, package)
    assert "Doe" not in json.dumps(about) + json.dumps(provenance(about))
    for name in ("a.seg.nrrd", "a.nrrd", "a.nii", "a.mha"):
        path: Path = tmp_path / name
        write_segmentation(result.labels, path, provenance(about))
        image = sitk.ReadImage(str(path))
        assert not any("Doe" in image.GetMetaData(key) for key in image.GetMetaDataKeys())
        assert b"Doe" not in path.read_bytes()


def test_provenance_is_the_report_in_short(segmented):
    result, package = segmented
    short = provenance(report(result, package))
    assert all(isinstance(value, str) for value in short.values())
    assert short["ModelSha256"] == package.sha256
    assert short["ModelName"] == "ball-model"
    assert short["Device"] == "cpu, fp32"
    assert result.notices[0].sentence in short["Warnings"]
    assert short["Use"] == RESEARCH_USE


def test_the_version_is_that_of_the_project():
    project = Path(__file__).resolve().parents[3] / "pyproject.toml"
    assert f'version = "{VERSION}"' in project.read_text(encoding="utf-8")
