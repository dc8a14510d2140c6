"""Where images come from, what becomes of every kind of image, and that order is kept."""

import io
import os
import random
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from facetools.images import batches, decoding, reading, sheets, sources, writing
from facetools.images.reading import ImageError
from facetools.images.sources import SourceError


def saved(picture: Image.Image | np.ndarray, suffix: str = "png", **options: Any) -> bytes:
    stream = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(stream, suffix, **options)
    return stream.getvalue()


def smooth(height: int, width: int, channels: int = 3) -> np.ndarray:
    """A picture that JPEG keeps: a gradient that differs in each direction and channel."""
    rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    shades = np.stack([rows, columns, (rows + columns) / 2, 1 - rows])[:channels]
    return (20 + 200 * shades).astype(np.uint8).transpose(1, 2, 0)


def number_image(number: int, side: int = 4) -> bytes:
    """A grey PNG that shows its number."""
    return saved(np.full((side, side, 3), number, np.uint8))


# Sources

SORTED = ["a/10/x.tiff", "a/y.webp", "a/z.jpg", "b.PNG", "c.jpeg"]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with images by name, hidden ones, and files that are no images; it is the current folder."""
    for name in [*reversed(SORTED), ".hidden.jpg", ".git/x.jpg", "notes.md", "._b.png"]:
        (tmp_path / "faces" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "faces" / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


MEMBERS = ["z/2.jpg", "z/1.png", "readme.txt", "__MACOSX/z/2.jpg", "z/._1.png", ".x.png", "0.bmp"]


def make_zip(path: Path, members: dict[str, bytes], **options: Any) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def make_tar(path: Path, members: dict[str, bytes]) -> Path:
    kind = path.name.removesuffix(path.suffix)[-4:] == ".tar" or path.suffix == ".tgz"
    with tarfile.open(path, f"w:{path.suffix[1:].replace('tgz', 'gz')}" if kind else "w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def make_archive(path: Path, members: dict[str, bytes]) -> Path:
    return make_zip(path, members) if path.suffix.lower() == ".zip" else make_tar(path, members)


ARCHIVES = ["f.zip", "F.ZIP", "f.tar", "f.tar.gz", "f.tgz", "f.tar.bz2", "f.tar.xz"]


def test_folders_are_walked_in_order_without_what_is_hidden(tree: Path) -> None:
    assert list(sources.find_images(["faces"])) == [f"faces/{name}" for name in SORTED]
    assert list(sources.find_images([f"{tree}/faces"])) == [f"{tree}/faces/{name}" for name in SORTED]
    assert list(sources.find_images(["faces/a", "faces/b.PNG", "faces/notes.md"])) == [
        "faces/a/10/x.tiff",
        "faces/a/y.webp",
        "faces/a/z.jpg",
        "faces/b.PNG",
        "faces/notes.md",
    ]


def test_an_empty_folder_has_no_images(tmp_path: Path) -> None:
    assert list(sources.find_images([str(tmp_path)])) == []


def test_a_folder_that_links_to_its_parent_ends(tree: Path) -> None:
    (tree / "faces" / "a" / "up").symlink_to(tree / "faces")
    found = list(sources.find_images(["faces"]))
    assert sorted(found) == sorted(f"faces/{name}" for name in SORTED)


@pytest.mark.parametrize("name", ARCHIVES)
def test_members_of_archives_come_in_their_order(name: str, tmp_path: Path) -> None:
    archive = make_archive(tmp_path / name, {member: member.encode() for member in MEMBERS})
    if archive.suffix.lower() == ".zip":
        with zipfile.ZipFile(archive, "a") as opened:
            opened.mkdir("folder.jpg")
    paths = list(sources.find_images([str(archive)]))
    assert paths == [f"{archive}/{member}" for member in ("z/2.jpg", "z/1.png", "0.bmp")]
    with reading.ImageReader() as reader:
        assert [reader.read(path) for path in reversed(paths)] == [b"0.bmp", b"z/1.png", b"z/2.jpg"]


@pytest.mark.parametrize("name", ["f.zip", "f.tar.gz"])
def test_a_member_may_be_named_itself(name: str, tmp_path: Path) -> None:
    path = f"{make_archive(tmp_path / name, {'a/1.png': number_image(7)})}/a/1.png"
    assert list(sources.find_images([path])) == [path]
    ((found, pixels),) = batches.decode_images([path], None, jobs=1)
    assert found == path
    assert isinstance(pixels, np.ndarray)
    assert (pixels == 7).all()


def test_a_folder_may_be_called_like_an_archive(tmp_path: Path) -> None:
    (tmp_path / "faces.zip").mkdir()
    (tmp_path / "faces.zip" / "1.png").write_bytes(number_image(1))
    paths = list(sources.find_images([str(tmp_path / "faces.zip")]))
    assert paths == [str(tmp_path / "faces.zip" / "1.png")]
    with reading.ImageReader() as reader:
        assert reader.read(paths[0]) == number_image(1)


def test_lists_name_any_source(tree: Path) -> None:
    make_zip(tree / "f.zip", {"1.jpg": b"x"})
    (tree / "list.txt").write_bytes(b"faces/c.jpeg\r\n\nf.zip\nfaces/a/10\n inner.txt".replace(b" ", b""))
    (tree / "inner.txt").write_text("faces/b.PNG\n")
    expected = ["faces/c.jpeg", "f.zip/1.jpg", "faces/a/10/x.tiff", "faces/b.PNG"]
    assert list(sources.find_images(["list.txt"])) == expected
    assert list(sources.find_images(["-"], io.BytesIO(b"list.txt\nfaces/c.jpeg"))) == [*expected, "faces/c.jpeg"]


@pytest.mark.parametrize(("null", "end"), [(False, b"\n"), (True, b"\0")])
@pytest.mark.parametrize("last", [True, False])
def test_paths_on_stdin(null: bool, end: bytes, last: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = [f"{'n' * 50}{number}.png" for number in range(3000)] + ["ä b.png"]
    if null:
        names.append("two\nlines.png")
    for name in names:
        Path(name).touch()
    # A pipe's blocks end in the middle of names.
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as sink:
            sink.write(end.join(map(os.fsencode, names)) + (end if last else b""))

    thread = threading.Thread(target=write)
    thread.start()
    with os.fdopen(reading, "rb") as stdin:
        assert list(sources.find_images(["-"], stdin, null=null)) == names
    thread.join()


@pytest.mark.parametrize(
    "source", ["missing.png", "missing", "missing.zip", "missing.txt", "faces/b.PNG/x.png", "missing.zip/1.png"]
)
def test_a_missing_source_is_named(source: str, tree: Path) -> None:
    with pytest.raises(SourceError, match=f"^{source}: no such file or folder$"):
        list(sources.find_images([source]))


def test_what_a_list_names_that_is_not_there_comes_as_an_image(tree: Path) -> None:
    named = ["missing.png", "faces/b.PNG", "missing.zip/1.png", "missing.zip", "missing.txt", "missing"]
    (tree / "list.txt").write_text("\n".join(named))
    assert list(sources.find_images(["list.txt"])) == named
    assert list(sources.find_images(["-"], io.BytesIO("\n".join(named).encode()))) == named


def test_a_list_that_names_stdin(tree: Path) -> None:
    (tree / "list.txt").write_text("-\n")
    with pytest.raises(SourceError, match="'-' may not be named by a list"):
        list(sources.find_images(["list.txt"]))


@pytest.mark.parametrize("name", ARCHIVES)
@pytest.mark.parametrize("damage", ["text", "empty", "truncated", "garbled"])
def test_an_archive_that_cannot_be_read_is_named(damage: str, name: str, tmp_path: Path) -> None:
    path = make_archive(tmp_path / name, {f"{n}.jpg": random.Random(n).randbytes(2000) for n in range(50)})
    data = path.read_bytes()
    path.write_bytes(
        {
            "text": b"no archive\n" * 100,
            "empty": b"",
            "truncated": data[: len(data) // 2],
            "garbled": data[:1000] + random.Random(7).randbytes(5000) + data[6000:],
        }[damage]
    )
    # What can still be told of a damaged archive may be listed; the rest has a reason, never another exception.
    try:
        for listed_path in sources.find_images([str(path)]):
            with reading.ImageReader() as reader:
                decoding.load_image(reader, listed_path, None)
    except SourceError as error:
        assert str(error).startswith(f"{path}: not a readable archive: ")
    else:
        assert damage in ("truncated", "garbled")


@pytest.mark.parametrize("damage", ["garbled header", "cut in a header"])
def test_a_tar_archive_does_not_end_early_in_silence(damage: str, tmp_path: Path) -> None:
    path = make_tar(tmp_path / "f.tar", {f"{n}.jpg": bytes([n]) * 1000 for n in range(50)})
    data, header = path.read_bytes(), 20 * 1536
    assert data[header:].startswith(b"20.jpg")
    if damage == "garbled header":
        data = data[:header] + random.Random(0).randbytes(512) + data[header + 512 :]
    else:
        data = data[: header + 100]
    path.write_bytes(data)
    with pytest.raises(SourceError, match=f"^{path}: not a readable archive: "):
        list(sources.find_images([str(path)]))


# Bytes


def zip_flags(data: bytes, flags: int) -> bytes:
    """A zip of one member with its flags set, in the local header and in the directory."""
    changed = bytearray(data)
    changed[6] |= flags
    changed[data.index(b"PK\x01\x02") + 8] |= flags
    return bytes(changed)


def reason(path: str) -> str:
    with reading.ImageReader() as reader:
        result = decoding.load_image(reader, path, None)
    assert isinstance(result, ImageError)
    return str(result)


def test_members_that_cannot_be_read(tmp_path: Path) -> None:
    picture = number_image(3, 64)
    members = {"1.png": picture}
    encrypted = tmp_path / "encrypted.zip"
    encrypted.write_bytes(zip_flags(make_zip(tmp_path / "a.zip", members).read_bytes(), 1))
    assert reason(f"{encrypted}/1.png") == "it is encrypted"
    broken = tmp_path / "broken.zip"
    broken.write_bytes(make_zip(tmp_path / "a.zip", members).read_bytes().replace(b"IDAT", b"JDAT"))
    assert "CRC" in reason(f"{broken}/1.png")
    assert reason(f"{broken}/2.png") == "no such member in the archive"
    assert reason(str(tmp_path / "missing.png")) == "No such file or directory"
    assert reason(str(tmp_path)) == "Is a directory"


@pytest.mark.parametrize("before", [b"", b"a program that unpacks itself"], ids=["", "after a program"])
@pytest.mark.parametrize("extra", [0, 300, 60_000])
@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=str
)
def test_members_of_any_kind(method: int, extra: int, before: bytes, tmp_path: Path) -> None:
    path = tmp_path / "f.zip"
    path.write_bytes(before)
    contents = {f"{number}.png": random.Random(number).randbytes(5000) + bytes(5000) for number in range(4)}
    with zipfile.ZipFile(path, "a") as archive:
        for name, data in contents.items():
            member = zipfile.ZipInfo(name)
            member.extra = (b"\xfe\xca" + (extra - 4).to_bytes(2, "little")).ljust(extra, b"\0") if extra else b""
            archive.writestr(member, data, method)
    with reading.ImageReader() as reader:
        assert {name: reader.read(f"{path}/{name}") for name in contents} == contents


@pytest.mark.parametrize("claimed", [0, 1, 4000, 2**30])
@pytest.mark.parametrize("where", [20, 24], ids=["compressed", "whole"])
def test_a_member_of_another_size_than_it_says(claimed: int, where: int, tmp_path: Path) -> None:
    """As the directory says it."""
    path = make_zip(tmp_path / "f.zip", {"1.png": bytes(10**6)}, compression=zipfile.ZIP_DEFLATED)
    data = bytearray(path.read_bytes())
    start = data.index(b"PK\x01\x02") + where
    data[start : start + 4] = claimed.to_bytes(4, "little")
    path.write_bytes(data)
    assert reason(f"{path}/1.png")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_garbled_compressed_member(method: int, tmp_path: Path) -> None:
    path = make_zip(tmp_path / "f.zip", {"1.png": random.Random(0).randbytes(4000)}, compression=method)
    data = bytearray(path.read_bytes())
    data[200:3000] = random.Random(1).randbytes(2800)
    path.write_bytes(data)
    assert reason(f"{path}/1.png")


def test_a_file_name_that_is_not_utf_8(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")
    try:
        Path(path).write_bytes(number_image(1))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert reason(path) == "the file name is not UTF-8"


def test_threads_share_a_reader(tmp_path: Path) -> None:
    members = {f"{number}.png": number_image(number) for number in range(40)}
    archives = [make_archive(tmp_path / name, members) for name in ("a.zip", "b.tar", "c.tar.gz")]
    paths = [f"{archive}/{name}" for name in members for archive in archives]
    found = list(batches.decode_images(paths, None, jobs=8))
    assert [path for path, _ in found] == paths
    assert [int(pixels[0, 0, 0]) for _, pixels in found] == [row // 3 for row in range(120)]


# Pixels


def test_a_plain_image() -> None:
    pixels = smooth(30, 20)
    found = decoding.decode_image(saved(pixels))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (saved(smooth(64, 64), "jpeg")[:900], "^cannot be decoded: .*truncated"),
        (saved(smooth(64, 64))[:-60], "^cannot be decoded"),
        (b"I am no picture\n" * 50, "^not an image of a known format$"),
        (b"\xff\xd8\xff", "^not an image of a known format$"),
    ],
    ids=["truncated JPEG", "truncated PNG", "text", "three bytes"],
)  # fmt: skip
def test_what_is_no_image(data: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=message):
        decoding.decode_image(data)
    with pytest.raises(ImageError, match=message):
        decoding.decode_image(data, (32, 32))


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    assert reason(str(tmp_path / "empty.jpg")) == "the file is empty"
    assert reason(f"{make_zip(tmp_path / 'f.zip', {'empty.jpg': b''})}/empty.jpg") == "the file is empty"


@pytest.mark.parametrize("suffix", ["jpeg", "tiff"])
def test_cmyk_shows_its_colours(suffix: str) -> None:
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[:, :8, 1] = 255  # magenta
    inks[:, 8:, 3] = 255  # black
    found = decoding.decode_image(saved(Image.frombytes("CMYK", (16, 16), inks.tobytes()), suffix))
    assert found.shape == (16, 16, 3)
    assert np.abs(found[8, 3].astype(int) - [255, 0, 255]).max() < 20
    assert found[8, 12].max() < 20


def test_grayscale_and_bilevel() -> None:
    shades = smooth(16, 16, 1)[:, :, 0]
    np.testing.assert_array_equal(decoding.decode_image(saved(shades)), np.stack([shades] * 3, 2))
    bits = Image.fromarray((shades > 128).astype(np.uint8) * 255).convert("1")
    np.testing.assert_array_equal(decoding.decode_image(saved(bits))[:, :, 0], (shades > 128) * np.uint8(255))


@pytest.mark.parametrize(("suffix", "dtype"), [("png", "<u2"), ("tiff", "<u2"), ("tiff", ">u2"), ("tiff", "<i4")])
def test_16_bit_samples_lose_their_lower_byte(suffix: str, dtype: str) -> None:
    samples = np.array([[0, 255, 256], [32768, 65279, 65535]]).astype(dtype)
    found = decoding.decode_image(saved(samples, suffix))
    np.testing.assert_array_equal(found, np.stack([np.uint8([[0, 0, 1], [128, 254, 255]])] * 3, 2))


def test_transparency_shows_white() -> None:
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0, :, 0] = 200
    pixels[0, :, 3] = [255, 0, 128]
    found = decoding.decode_image(saved(pixels))
    np.testing.assert_allclose(found[0].astype(int), [[200, 0, 0], [255, 255, 255], [227, 127, 127]], atol=1)
    gray = Image.fromarray(np.uint8([[[0, 255], [0, 0]]]))
    assert gray.mode == "LA"
    np.testing.assert_array_equal(decoding.decode_image(saved(gray))[0, :, 0], [0, 255])


@pytest.mark.parametrize("suffix", ["png", "gif"])
def test_a_palette_with_transparency(suffix: str) -> None:
    picture = Image.new("P", (3, 1))
    picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    picture.putdata([0, 1, 2])
    found = decoding.decode_image(saved(picture, suffix, transparency=1))
    np.testing.assert_array_equal(found[0], [[255, 0, 0], [255, 255, 255], [0, 0, 255]])
    if suffix == "png":
        found = decoding.decode_image(saved(picture, suffix, transparency=bytes([255, 255, 0])))
        np.testing.assert_array_equal(found[0], [[255, 0, 0], [0, 255, 0], [255, 255, 255]])


EXIF_VIEWS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", EXIF_VIEWS)
@pytest.mark.parametrize("suffix", ["png", "jpeg"])
def test_the_exif_orientation_turns_the_image_upright(suffix: str, orientation: int) -> None:
    stored = smooth(24, 40)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95, "subsampling": 0} if suffix == "jpeg" else {}
    data = saved(stored, suffix, exif=exif.tobytes(), **options)
    upright = EXIF_VIEWS[orientation](stored)
    np.testing.assert_allclose(decoding.decode_image(data), upright, atol=0 if suffix == "png" else 8)
    stretched = np.asarray(Image.fromarray(np.ascontiguousarray(upright)).resize((10, 30), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(decoding.decode_image(data, (30, 10)), stretched, atol=2 if suffix == "png" else 8)


def test_a_single_pixel_fills_any_size() -> None:
    data = saved(np.uint8([[[1, 2, 3]]]))
    assert decoding.decode_image(data).tolist() == [[[1, 2, 3]]]
    assert (decoding.decode_image(data, (5, 7)) == [1, 2, 3]).all()
    assert decoding.decode_image(data, (5, 7)).shape == (5, 7, 3)


def test_an_image_of_too_many_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MAX_PIXELS", 5000)
    assert decoding.decode_image(saved(smooth(50, 100))).shape == (50, 100, 3)
    for suffix in ("png", "jpeg"):
        with pytest.raises(ImageError, match=r"^51 x 100 pixels are more than 5000 in all$"):
            decoding.decode_image(saved(smooth(100, 51), suffix))
    # Measured after the reduction while decoding: 400 x 400 becomes 50 x 50.
    assert decoding.decode_image(saved(smooth(400, 400), "jpeg"), (20, 20)).shape == (20, 20, 3)


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    """A file of a hundred bytes that claims 100 000 x 100 000 pixels."""
    header = b"P6 100000 100000 255\n"
    with pytest.raises(ImageError, match=r"^100000 x 100000 pixels are more than"):
        decoding.decode_image(header + bytes(100))


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue", "lime")]
    for suffix in ("gif", "png", "webp"):
        options = {"lossless": True} if suffix == "webp" else {}
        data = saved(frames[0], suffix, save_all=True, append_images=frames[1:], **options)
        assert (decoding.decode_image(data) == [255, 0, 0]).all()


@pytest.mark.parametrize("side", [700, 300, 81, 80, 79, 10])
def test_a_large_jpeg_is_reduced_while_decoding_and_still_right(side: int) -> None:
    picture = smooth(side, side)
    expected = np.asarray(Image.fromarray(picture).resize((60, 80), Image.Resampling.BILINEAR)).astype(int)
    assert (
        np.abs(decoding.decode_image(saved(picture, "jpeg", quality=95, subsampling=0), (80, 60)) - expected).max() <= 8
    )


def originals() -> list[bytes]:
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds: list[tuple[str, dict]] = [(suffix, {"exif": exif}) for suffix in ("jpeg", "png", "webp")]
    kinds += [(suffix, {}) for suffix in ("gif", "bmp", "tiff", "ppm")]
    return [saved(smooth(24, 24), suffix, **options) for suffix, options in kinds]


@pytest.mark.filterwarnings("ignore:.*:UserWarning:PIL")
def test_whatever_the_bytes_there_is_an_image_or_a_reason() -> None:
    rng = random.Random(0)
    outcomes = {"image": 0, "reason": 0}
    garbled_offset = saved(smooth(24, 24), "tiff").replace(b"\x11\x01\x04\x00", b"\x11\x01\x0b\x00")
    for _ in range(150):
        for original in (*originals(), garbled_offset):
            changed = bytearray(original)
            for _ in range(rng.randint(1, 4)):
                changed[rng.randrange(min(len(original), 400))] = rng.randrange(256)
            if rng.random() < 0.2:
                del changed[rng.randrange(len(changed)) :]
            try:
                found = decoding.decode_image(bytes(changed), (8, 8))
            except ImageError as error:
                outcomes["reason"] += 1
                assert str(error)
            else:
                outcomes["image"] += 1
                assert found.shape == (8, 8, 3)
                assert found.dtype == np.uint8
    assert min(outcomes.values()) > 200


# Batches


def folder_of(tmp_path: Path, contents: Iterable[bytes]) -> list[str]:
    paths = []
    for number, content in enumerate(contents):
        path = tmp_path / f"{number:04}.png"
        path.write_bytes(content)
        paths.append(str(path))
    return paths


@pytest.mark.parametrize("jobs", [1, 3, 8])
def test_batches_keep_the_order_and_leave_out_what_fails(jobs: int, tmp_path: Path) -> None:
    bad = {0: b"", 9: b"text", 10: number_image(10)[:50], 31: b"", 99: b"text"}
    # Sizes differ, so threads end in another order than they start.
    paths = folder_of(tmp_path, (bad.get(n, number_image(n, 200 if n % 7 == 0 else 4)) for n in range(100)))
    failures: list[tuple[str, str]] = []
    found = list(
        batches.image_batches(paths, (6, 5), 16, jobs=jobs, on_failure=lambda path, why: failures.append((path, why)))
    )
    good = [n for n in range(100) if n not in bad]
    assert [len(names) for names, _ in found] == [13, 15, 16, 16, 16, 16, 3]
    assert [path for names, _ in found for path in names] == [paths[n] for n in good]
    pixels = np.concatenate([pixels for _, pixels in found])
    assert pixels.shape == (95, 6, 5, 3)
    assert pixels.dtype == np.uint8
    assert (pixels == np.array(good)[:, None, None, None]).all()
    assert [path for path, _ in failures] == [paths[n] for n in sorted(bad)]
    assert [why for _, why in failures][:2] == ["the file is empty", "not an image of a known format"]


@pytest.mark.parametrize("jobs", [1, 4])
def test_what_is_computed_of_batches_is_that_of_the_same_batches(jobs: int, tmp_path: Path) -> None:
    bad = {3: b"text", 16: b"", **{n: b"" for n in range(32, 48)}}
    paths = folder_of(tmp_path, (bad.get(n, number_image(n, 200 if n % 7 == 0 else 4)) for n in range(60)))
    told: list[list[str]] = [[], []]
    expected = list(
        batches.image_batches(paths, (6, 5), 16, jobs=1, on_failure=lambda path, why: told[0].append(path + why))
    )
    threads: set[int] = set()

    def sums(pixels: np.ndarray) -> np.ndarray:
        threads.add(threading.get_ident())
        return pixels.sum((1, 2, 3))

    found = list(
        batches.compute_batches(
            paths, (6, 5), 16, sums, jobs=jobs, on_failure=lambda *why: told[1].append("".join(why))
        )
    )
    assert [names for names, _ in found] == [names for names, _ in expected]
    assert [len(names) for names, _ in found] == [15, 15, 12]
    for (_, sums_of_batch), (_, pixels) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(sums_of_batch, pixels.sum((1, 2, 3)))
    assert told[0] == told[1]
    assert threading.get_ident() not in threads


def test_nothing_but_failures_gives_no_batch(tmp_path: Path) -> None:
    failures: list[str] = []
    paths = folder_of(tmp_path, [b""] * 3)
    assert list(batches.image_batches(paths, (4, 4), 2, jobs=2, on_failure=lambda path, _: failures.append(path))) == []
    assert failures == paths
    assert list(batches.image_batches([], (4, 4), 2, jobs=2, on_failure=lambda path, _: failures.append(path))) == []


def test_closing_early_stops_the_threads(tmp_path: Path) -> None:
    before = threading.active_count()
    paths = folder_of(tmp_path, [number_image(1)]) * 5000
    done = 0

    def slow(reader: reading.ImageReader, number: int, path: str) -> int:
        nonlocal done
        done += 1
        time.sleep(0.002)
        return number

    found = batches.map_images(paths, slow, jobs=4)
    assert next(found) == (paths[0], 0)
    assert threading.active_count() > before
    found.close()
    assert threading.active_count() == before
    assert done < 500


def test_threads_work_ahead_by_a_bounded_number(tmp_path: Path) -> None:
    taken = 0

    def endless() -> Iterable[str]:
        nonlocal taken
        while True:
            taken += 1
            yield "x.png"

    found = batches.map_images(endless(), lambda reader, number, path: number, jobs=2)
    assert [next(found)[1] for _ in range(100)] == list(range(100))
    assert taken < 100 + 20 * batches.CHUNK_IMAGES
    found.close()


def test_an_exception_of_the_function_reaches_the_caller() -> None:
    def fails(reader: reading.ImageReader, number: int, path: str) -> int:
        if number == 20:
            raise RuntimeError("at 20")
        return number

    before = threading.active_count()
    with pytest.raises(RuntimeError, match="at 20"):
        list(batches.map_images(["x"] * 100, fails, jobs=3))
    assert threading.active_count() == before


# Files


@pytest.mark.parametrize("channels", [1, 3])
def test_encode_round_trip(channels: int, tmp_path: Path) -> None:
    pixels = smooth(20, 30, channels)
    expected = np.broadcast_to(pixels, (20, 30, 3))
    np.testing.assert_array_equal(decoding.decode_image(writing.encode_image(pixels, ".png")), expected)
    np.testing.assert_allclose(decoding.decode_image(writing.encode_image(pixels, ".jpg")), expected, atol=8)
    assert writing.encode_image(pixels, ".jpg").startswith(b"\xff\xd8\xff")
    writing.write_image(tmp_path / "X.PNG", pixels)
    np.testing.assert_array_equal(decoding.decode_image((tmp_path / "X.PNG").read_bytes()), expected)


def test_gray_is_the_luma() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    expected = pixels @ [0.299, 0.587, 0.114]
    assert writing.to_gray(pixels).shape == (9, 7, 1)
    np.testing.assert_allclose(writing.to_gray(pixels)[:, :, 0], expected, atol=1)


@pytest.mark.parametrize(
    ("shape", "expected"), [((100, 50), (40, 20)), ((50, 100), (20, 40)), ((40, 40), (40, 40)), ((3, 4), (3, 4))]
)
def test_within_shrinks_in_proportion_and_never_enlarges(shape: tuple[int, int], expected: tuple[int, int]) -> None:
    pixels = smooth(*shape)
    found = sheets.shrink_image(pixels, 40)
    assert found.shape == (*expected, 3)
    assert found.dtype == np.uint8
    if shape == expected:
        np.testing.assert_array_equal(found, pixels)
    else:
        assert np.abs(found.mean((0, 1)) - pixels.mean((0, 1))).max() < 2


def test_contact_sheet() -> None:
    def plain(height: int, width: int, shade: int) -> np.ndarray:
        return np.full((height, width, 3), shade, np.uint8)

    sheet = sheets.contact_sheet([[plain(10, 10, 0), plain(40, 20, 50)], [plain(5, 10, 100)]], height=20, gap=4)
    # The first row is 20 + 10 wide, the second 40; every image has a gap of 4 around it.
    assert sheet.shape == (4 + 24 + 24, 4 + 40 + 4, 3)
    expected = plain(*sheet.shape[:2], 255)
    expected[4:24, 4:24], expected[4:24, 28:38], expected[28:48, 4:44] = 0, 50, 100
    np.testing.assert_array_equal(sheet, expected)
