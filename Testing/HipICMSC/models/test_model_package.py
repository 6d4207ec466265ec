"""A model package comes back as it was written, and anything else is refused without being opened further."""

from __future__ import annotations

import hashlib
import json
import pickle
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.models.chosen import find_model
from HipICMSCLib.models.package import read_package, write_package
from HipICMSCLib.networks.paper_segmenter import SegmenterSettings
from HipICMSCLib.networks.slab_unet import SlabUNetSettings
from HipICMSCLib.networks.translator import Translator, TranslatorSettings
from HipICMSCLib.preprocessing.geometry import CropSettings
from packages import (
    manifest,
    random_network,
    slab_manifest,
    slab_threshold_network,
    threshold_network,
    write_slab_package,
    write_threshold_package,
)

MEMBERS = ("model.json", "weights.safetensors", "card.md", "checksums.json")


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    return write_threshold_package(tmp_path_factory.mktemp("package") / "a.hipmodel")


def refusal(path: Path, network: bool = False) -> str:
    """The kind of the error that reading (and building the network) ends with."""
    with pytest.raises(HipError) as raised:
        read = read_package(path)
        if network:
            read.network()
    assert str(path) in raised.value.sentence
    assert raised.value.sentence.endswith(".")
    assert "\n" not in raised.value.sentence
    return raised.value.kind


def members_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(path: Path, members: dict[str, bytes], right_sums: bool = True) -> Path:
    """A zip of these members, with checksums that fit them."""
    if right_sums:
        sums = {name: hashlib.sha256(data).hexdigest() for name, data in members.items() if name != "checksums.json"}
        members = members | {"checksums.json": json.dumps(sums).encode()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def with_json(path: Path, package: Path, **changes: object) -> Path:
    members = members_of(package)
    values = json.loads(members["model.json"]) | changes
    return zipped(path, members | {"model.json": json.dumps(values).encode()})


def test_a_package_comes_back_as_it_was_written(tmp_path):
    described = manifest(
        name="x",
        crop=CropSettings((2.5, 2.0, 2.0), (160, 80, 120)),
        training={"method": "icmsc", "scores": {"dice": 0.8}, "steps": [1, 2]},
        citations=("One", "Two × 2"),
    )
    network = threshold_network()
    write_package(tmp_path / "a.hipmodel", described, {"F_t": network.state_dict()}, "# Card\nHüfte\n")
    read = read_package(tmp_path / "a.hipmodel")
    assert read.manifest == described
    assert read.card == "# Card\nHüfte\n"
    assert read.sha256 == hashlib.sha256((tmp_path / "a.hipmodel").read_bytes()).hexdigest()
    image = torch.rand(1, 1, 40, 48) * 2 - 1
    built = read.network()
    assert not built.training
    with torch.inference_mode():
        assert torch.equal(built(image), network(image))


def test_a_route_of_two_networks_passes_one_after_the_other(tmp_path):
    described = manifest(route=("G_ts", "F_s"), translator=TranslatorSettings(width=2, blocks=1))
    translator, network = Translator(described.translator).eval(), threshold_network()
    networks = {"G_ts": translator.state_dict(), "F_s": network.state_dict(), "D_s": {}}
    write_package(tmp_path / "a.hipmodel", described, networks, "")
    image = torch.rand(1, 1, 40, 48) * 2 - 1
    with torch.inference_mode():
        assert torch.equal(read_package(tmp_path / "a.hipmodel").network()(image), network(translator(image)))


def test_the_same_contents_give_the_same_bytes(tmp_path, package):
    again = write_threshold_package(tmp_path / "b.hipmodel")
    assert again.read_bytes() == package.read_bytes()
    other = write_threshold_package(tmp_path / "c.hipmodel", name="other")
    assert other.read_bytes() != package.read_bytes()


@pytest.mark.parametrize("member", MEMBERS)
def test_an_altered_byte_is_noticed_in_every_member(tmp_path, package, member):
    path = tmp_path / "a.hipmodel"
    with zipfile.ZipFile(package) as archive:
        entry = archive.getinfo(member)
    data = bytearray(package.read_bytes())
    name_length, extra_length = struct.unpack_from("<2H", data, entry.header_offset + 26)
    start = entry.header_offset + 30 + name_length + extra_length
    # Not the outermost bytes: some of their bits only say where the packed data ends.
    for place in (start + 3, start + entry.compress_size // 2, start + entry.compress_size - 4):
        altered = bytearray(data)
        altered[place] ^= 0x10
        path.write_bytes(altered)
        assert refusal(path) == "damaged_model", place


@pytest.mark.parametrize("member", MEMBERS[:3])
def test_a_member_exchanged_within_a_sound_zip_is_noticed(tmp_path, package, member):
    members = members_of(package)
    data = bytearray(members[member])
    data[-3] ^= 1
    altered = zipped(tmp_path / "a.hipmodel", members | {member: bytes(data)}, right_sums=False)
    assert refusal(altered) == "damaged_model"


@pytest.mark.parametrize("share", [0.999, 0.5, 0.01])
def test_a_cut_off_package_is_refused(tmp_path, package, share):
    data = package.read_bytes()
    path = tmp_path / "a.hipmodel"
    path.write_bytes(data[: int(share * len(data))])
    assert refusal(path) == "damaged_model"


def test_a_newer_format_asks_for_an_update(tmp_path, package):
    path = with_json(tmp_path / "a.hipmodel", package, format=2, something_new=[1])
    assert refusal(path) == "newer_format"


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self):
        return (open, (str(self.victim), "w"))


@pytest.mark.parametrize("kind", ["torch", "old torch", "raw"])
def test_a_pickle_is_refused_and_never_run(tmp_path, kind):
    path, victim = tmp_path / "a.hipmodel", tmp_path / "was run"
    if kind == "raw":
        path.write_bytes(pickle.dumps(Trap(victim)))
    else:
        torch.save({"weights": Trap(victim)}, path, _use_new_zipfile_serialization=kind == "torch")
    assert refusal(path) == "not_a_package"
    assert not victim.exists()
    pickle.loads(pickle.dumps(Trap(victim))).close()
    assert victim.exists(), "the trap itself does not work"


def test_a_pickle_in_place_of_a_member_is_not_run_either(tmp_path, package):
    victim = tmp_path / "was run"
    for member in MEMBERS[:2]:
        members = members_of(package) | {member: pickle.dumps(Trap(victim))}
        assert refusal(zipped(tmp_path / "a.hipmodel", members)) == "damaged_model"
    assert not victim.exists()


@pytest.mark.parametrize("name", ["../../evil.txt", "/evil.txt", "more.bin", "model.json/x"])
def test_members_that_do_not_belong_are_refused_and_not_unpacked(tmp_path, package, name):
    folder = tmp_path / "deep" / "er"
    folder.mkdir(parents=True)
    path = zipped(folder / "a.hipmodel", members_of(package) | {name: b"x"})
    assert refusal(path) == "not_a_package"
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["a.hipmodel"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_missing_and_double_members_are_refused(tmp_path, package):
    members = members_of(package)
    del members["card.md"]
    assert refusal(zipped(tmp_path / "a.hipmodel", members)) == "not_a_package"
    twice = tmp_path / "b.hipmodel"
    twice.write_bytes(package.read_bytes())
    with zipfile.ZipFile(twice, "a") as archive:
        archive.writestr("model.json", b"{}")
    assert refusal(twice) == "not_a_package"


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, package):
    path = zipped(tmp_path / "a.hipmodel", members_of(package))
    data = bytearray(path.read_bytes())
    # The size that the central directory claims for the weights.
    place = data.index(b"weights.safetensors", data.index(b"PK\x01\x02")) - 46 + 24
    struct.pack_into("<I", data, place, 0xF0000000)
    path.write_bytes(data)
    assert refusal(path) == "damaged_model"


def test_a_member_that_is_larger_than_it_claims_is_refused(tmp_path, package):
    members = members_of(package) | {"card.md": bytes(50_000_000)}
    path = zipped(tmp_path / "a.hipmodel", members)
    data = bytearray(path.read_bytes())
    assert len(data) < 200_000
    place = data.index(b"card.md", data.index(b"PK\x01\x02")) - 46 + 24
    struct.pack_into("<I", data, place, 10)
    path.write_bytes(data)
    assert refusal(path) == "damaged_model"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(tmp_path, value):
    network = threshold_network()
    with torch.no_grad():
        network.upsample.bias[1] = value
    write_package(tmp_path / "a.hipmodel", manifest(), {"F_t": network.state_dict()}, "")
    assert refusal(tmp_path / "a.hipmodel") == "damaged_model"


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "a.hipmodel"
    weights = threshold_network().state_dict()
    write_package(path, manifest(segmenter=SegmenterSettings(width=4)), {"F_t": weights}, "")
    assert refusal(path, network=True) == "damaged_model"
    write_package(path, manifest(), {"F_t": {k: v for k, v in weights.items() if k != "upsample.bias"}}, "")
    assert refusal(path, network=True) == "damaged_model"
    write_package(path, manifest(route=("G_ts", "F_t")), {"F_t": weights, "G_ts": {}}, "")
    assert refusal(path, network=True) == "damaged_model"


@pytest.mark.parametrize(
    "changes",
    [
        {"route": ["F_x"]},
        {"route": []},
        {"route": ["D_t"]},
        {"labels": ["background", "femur", "acetabulum"]},
        {"format": "one"},
        {"format": float("inf")},
        {"segmenter": {"width": "wide"}},
        {"segmenter": {"width": 2, "run": "rm"}},
        {"unknown": 1},
        {"crop": {"size": [301, 160, 240]}},
        {"crop": {"size": [0, 160, 240]}},
        {"crop": {"spacing_mm": [1.25, 0.0, 1.0]}},
        {"crop": {"spacing_mm": [1.25, float("nan"), 1.0]}},
        {"crop": None},
        {"segmenter": None},
        {"crop": None, "segmenter": None},
        {"crop": None, "segmenter": None, "slab": {}},
        {"crop": None, "segmenter": None, "slab_unet": {}},
        {"slab": {}, "slab_unet": {}},
        {"slab": {}},
        {"crop": None, "slab": {}, "slab_unet": {}},
        {"crop": None, "segmenter": None, "slab": {}, "slab_unet": {}, "route": ["E", "S"]},
        {"crop": None, "segmenter": None, "slab": {"pixel_mm": 0}, "slab_unet": {}},
        {"crop": None, "segmenter": None, "slab": {}, "slab_unet": {"slices": 2}},
        {"crop": None, "segmenter": None, "slab": {}, "slab_unet": {"width": 1 << 20, "largest_width": 1 << 20}},
    ],
    ids=str,
)
def test_a_description_that_makes_no_sense_is_refused(tmp_path, package, changes):
    assert refusal(with_json(tmp_path / "a.hipmodel", package, **changes)) == "damaged_model"


@pytest.mark.parametrize("damage", [{"crop": {}, "segmenter": {}}, {"slab": None}, {"slab_unet": None}], ids=str)
def test_a_model_of_slabs_that_says_both_or_neither_of_crop_and_slabs_is_refused(tmp_path, damage):
    package = write_slab_package(tmp_path / "slabs.hipmodel")
    assert read_package(package).manifest == slab_manifest()
    assert refusal(with_json(tmp_path / "a.hipmodel", package, **damage)) == "damaged_model"


def test_a_model_of_slabs_comes_back_as_it_was_written(tmp_path):
    read = read_package(write_slab_package(tmp_path / "slabs.hipmodel"))
    assert read.neighbours == 1
    slabs = torch.rand(2, 3, 16, 20) * 2 - 1
    with torch.inference_mode():
        assert torch.equal(read.network()(slabs), slab_threshold_network()(slabs))


def test_a_model_of_slabs_with_the_weights_of_another_network_is_refused(tmp_path):
    path = write_slab_package(tmp_path / "a.hipmodel", slab_unet=SlabUNetSettings(width=8))
    assert refusal(path, network=True) == "damaged_model"


def test_a_package_from_before_there_were_slabs_still_loads(tmp_path, package):
    members = members_of(package)
    values = json.loads(members["model.json"])
    del values["slab"], values["slab_unet"]
    old = zipped(tmp_path / "old.hipmodel", members | {"model.json": json.dumps(values).encode()})
    read = read_package(old)
    assert read.manifest == manifest()
    assert read.neighbours == 0
    image = torch.rand(1, 1, 40, 48) * 2 - 1
    with torch.inference_mode():
        assert torch.equal(read.network()(image), threshold_network()(image))


@pytest.mark.parametrize("text", [b"[]", b"{}", b"not json", b"[" * 100_000, b'"text"', b"\xff\xfe"])
def test_model_json_that_is_no_description_is_refused(tmp_path, package, text):
    path = zipped(tmp_path / "a.hipmodel", members_of(package) | {"model.json": text})
    assert refusal(path) == "damaged_model"


def test_other_files_and_missing_ones(tmp_path):
    path = tmp_path / "a.hipmodel"
    assert refusal(path) == "missing_file"
    for data in (b"", b"hello", b"\x80\x02}q\x00."):
        path.write_bytes(data)
        assert refusal(path) == "not_a_package"
    folder = tmp_path / "b.hipmodel"
    folder.mkdir()
    assert refusal(folder) == "missing_file"


def test_a_package_has_its_ending_and_a_name_that_ships_is_found(tmp_path):
    with pytest.raises(HipError) as raised:
        write_package(tmp_path / "a.zip", manifest(), {"F_t": {}}, "")
    assert raised.value.kind == "unknown_format"
    assert list(tmp_path.iterdir()) == []
    assert find_model(str(tmp_path / "x.hipmodel")) == tmp_path / "x.hipmodel"
    with pytest.raises(HipError) as raised:
        find_model("no-such-model")
    assert raised.value.kind == "unknown_model"
    assert "no-such-model" in raised.value.sentence


def test_group_and_batch_norm_models_keep_their_buffers(tmp_path):
    settings = SegmenterSettings(width=8, norm="batch")
    network = random_network(settings)
    write_package(tmp_path / "a.hipmodel", manifest(segmenter=settings), {"F_t": network.state_dict()}, "")
    built = read_package(tmp_path / "a.hipmodel").network()[0]
    for name, value in network.state_dict().items():
        assert torch.equal(built.state_dict()[name], value), name
