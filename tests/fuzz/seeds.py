"""The valid inputs from which the fuzzer starts. All of them are generated: the repository stores no corpus.

`SEEDS` maps each kind of input to a function that returns its seeds, a few hundred bytes to a few kilobytes each.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import pickle
import struct
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms, features

from facetools.network.checkpoint import CHECKPOINT_FORMAT
from facetools.table.attributes import PAPER10
from facetools.table.columns import AttributeColumns, Table, encode_paths
from tests.images.cases import encode, gradient
from tests.table.cases import encode as encode_table
from tests.table.cases import to_jsonl, to_npy

HEIGHT, WIDTH = 13, 17


@cache
def _images() -> dict[str, Image.Image]:
    """A small image in each mode of Pillow that files hold."""
    color = Image.fromarray(gradient(HEIGHT, WIDTH))
    alpha = Image.fromarray(gradient(HEIGHT, WIDTH, 4))
    depth = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 250
    return {
        **{mode: color.convert(mode) for mode in ("RGB", "L", "1", "P", "CMYK", "YCbCr", "LAB", "HSV")},
        **{mode: alpha.convert(mode) for mode in ("RGBA", "LA")},
        "PA": color.convert("P").convert("PA"),
        "I;16": Image.fromarray(depth),
        "I": Image.fromarray(depth.astype(np.int32) * 1000),
        "F": Image.fromarray((depth / 65535).astype(np.float32)),
    }


def _exif() -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Make] = "camera"
    exif[ExifTags.Base.XResolution] = 72.0
    exif.get_ifd(ExifTags.IFD.GPSInfo)[1] = "N"
    return exif.tobytes()


def _profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def jpeg_images() -> list[bytes]:
    images = _images()
    return [
        encode(images["RGB"], "jpeg", quality=80),
        encode(images["RGB"], "jpeg", progressive=True, exif=_exif(), subsampling=0),
        encode(images["L"], "jpeg", comment=b"comment", icc_profile=_profile()[:400]),
        encode(images["CMYK"], "jpeg"),
        encode(images["RGB"], "jpeg", icc_profile=_profile(), restart_marker_blocks=1),
        encode(images["RGB"], "mpo", save_all=True, append_images=[images["RGB"]]),
    ]


def png_images() -> list[bytes]:
    images = _images()
    seeds = [encode(images[mode], "png") for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")]
    text = io.BytesIO()
    images["RGB"].save(text, "png", exif=_exif(), icc_profile=_profile(), dpi=(72, 72))
    animation = encode(images["RGB"], "png", save_all=True, append_images=[images["RGB"].rotate(90)], duration=100)
    return [*seeds, text.getvalue(), encode(images["P"], "png", transparency=3, bits=4), animation]


def gif_images() -> list[bytes]:
    images = _images()
    animation = {"save_all": True, "append_images": [images["RGB"].rotate(90)], "duration": 50, "loop": 0}
    return [
        encode(images["P"], "gif"),
        encode(images["L"], "gif", interlace=1, comment=b"comment"),
        encode(images["RGB"], "gif", **animation),
        encode(images["P"], "gif", transparency=0, disposal=2, **animation),
    ]


def webp_images() -> list[bytes]:
    images = _images()
    return [
        encode(images["RGB"], "webp", quality=50),
        encode(images["RGBA"], "webp", lossless=True),
        encode(images["RGB"], "webp", exif=_exif(), icc_profile=_profile()),
        encode(images["RGBA"], "webp", save_all=True, append_images=[images["RGBA"].rotate(90)]),
    ]


def avif_images() -> list[bytes]:
    images = _images()
    if not features.check("avif"):
        return []
    options = {"speed": 10, "max_threads": 1}
    return [
        encode(images["RGB"], "avif", **options),
        encode(images["RGBA"], "avif", exif=_exif(), **options),
        encode(images["RGB"], "avif", save_all=True, append_images=[images["RGB"].rotate(90)], **options),
    ]


def tiff_images() -> list[bytes]:
    images = _images()
    modes = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F")
    compressions = ("tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "packbits", "jpeg")
    pages = {"save_all": True, "append_images": [images["L"]]}
    return [
        *(encode(images[mode], "tiff") for mode in modes),
        *(encode(images["RGB"], "tiff", compression=compression) for compression in compressions),
        *(encode(images["1"], "tiff", compression=compression) for compression in ("group3", "group4")),
        encode(images["F"], "tiff", compression="tiff_lzw"),
        encode(images["RGB"], "tiff", big_tiff=True, exif=_exif(), icc_profile=_profile(), **pages),
    ]


def jpeg2000_images() -> list[bytes]:
    images = _images()
    if not features.check("jpg_2000"):
        return []
    return [
        *(encode(images[mode], "jpeg2000") for mode in ("L", "LA", "RGB", "RGBA", "I;16")),
        encode(images["RGB"], "jpeg2000", no_jp2=True, irreversible=True, tile_size=(8, 8)),
    ]


def simple_images() -> list[bytes]:
    """Formats with little or no compression."""
    images = _images()
    icon = encode(images["RGBA"].resize((16, 16)), "png")
    return [
        *(encode(images[mode], "bmp") for mode in ("1", "L", "P", "RGB", "RGBA")),
        encode(images["RGB"], "dib"),
        *(encode(images[mode], "ppm") for mode in ("1", "L", "RGB", "RGBA", "I;16", "F")),
        b"P3 3 2 255\n" + b"1 22 255\n" * 6,
        b"P2 # comment\n3 2 65535\n" + b"1 22 65535\n" * 2,
        b"P1 3 2 101010",
        *(encode(images[mode], "tga") for mode in ("L", "LA", "P", "RGB", "RGBA")),
        encode(images["RGB"], "tga", compression="tga_rle"),
        encode(images["RGBA"], "ico", sizes=[(16, 13)]),
        encode(images["RGBA"], "ico", sizes=[(16, 13)], bitmap_format="bmp"),
        b"icns" + struct.pack(">I4sI", 16 + len(icon), b"icp4", 8 + len(icon)) + icon,
        *(encode(images[mode], "dds") for mode in ("L", "RGB", "RGBA")),
        *(encode(images["RGBA"], "dds", pixel_format=name) for name in ("DXT1", "DXT5", "BC3")),
        encode(images["RGB"], "dds", pixel_format="BC5"),
    ]


def rare_images() -> list[bytes]:
    """Formats that Pillow recognizes but that hardly any face has."""
    images = _images()
    small = images["L"].resize((4, 2)).tobytes()
    writable = {"blp": "P", "eps": "RGB", "msp": "1", "pcx": "RGB", "qoi": "RGB", "sgi": "RGB"}
    fits = b"".join(card.ljust(80) for card in (b"SIMPLE  = T", b"BITPIX  = 8", b"NAXIS   = 2", b"NAXIS1  = 4"))
    fits = (fits + b"NAXIS2  = 2".ljust(80) + b"END".ljust(80)).ljust(2880) + small
    return [
        *(encode(images[mode], format) for format, mode in writable.items()),
        encode(images["F"], "spider"),
        encode(images["1"], "xbm"),
        fits,
        b"8BPS" + struct.pack(">H6xHIIHH", 1, 1, 2, 4, 8, 1) + bytes(14) + small,  # Photoshop
        struct.pack(">8I", 0x59A66A95, 4, 2, 8, len(small), 1, 0, 0) + small,  # Sun raster
        b'/* XPM */\nstatic char *a[] = {\n"4 2 2 1",\n"a c #000000",\n"b c #ffffff",\n"abab",\n"baba"};\n',
        struct.pack(">6I", 28, 2, 4, 2, 1, 0x47494D50) + struct.pack(">I", 10) + small,  # GIMP brush
        b"\0\0\2\0" + encode(images["RGBA"], "ico", sizes=[(16, 13)], bitmap_format="bmp")[4:],  # cursor
        struct.pack("<I3I", 987654321, 16, 0, 0) + encode(images["RGB"], "pcx"),  # DCX
        struct.pack("<IHHHHHHHI", 128 + 16, 0xAF12, 1, 4, 2, 8, 3, 0, 70).ljust(128, b"\0") + bytes(16),  # FLI
        (b"\x80\xe8".ljust(416, b"\0") + struct.pack("<6H", 2, 4, 0, 0, 14, 2)).ljust(1024, b"\0") + small * 3,  # Pixar
        b"P7 332\n#END_OF_COMMENTS\n4 2 255\n" + small,  # XV thumbnail
        struct.pack("<4s8I", b"FTEX", 1, 4, 2, 1, 1, 1, 32, 24) + small * 3,
    ]


def zip_archives() -> list[bytes]:
    picture = encode(_images()["1"], "png")
    seeds = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", method) as archive:
            archive.comment = b"comment"
            archive.mkdir("faces")
            for name in ("faces/0.png", "faces/\xe9.png", "notes.txt"):
                archive.writestr(zipfile.ZipInfo(name), picture, method)
        seeds.append(stream.getvalue())
    large = io.BytesIO()
    with zipfile.ZipFile(large, "w") as archive, archive.open("0.png", "w", force_zip64=True) as member:
        member.write(picture)
    return [*seeds, large.getvalue(), b"#!/bin/sh\n" + seeds[0]]


def tar_archives() -> list[bytes]:
    picture = encode(_images()["1"], "png")
    seeds = []
    for format in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w", format=format) as archive:
            for name in ("faces/0.png", "faces/\xe9.png", "a/" * 45 + "long-name.png"):
                member = tarfile.TarInfo(name)
                member.size = len(picture)
                archive.addfile(member, io.BytesIO(picture))
            for name, kind, target in (
                ("faces", tarfile.DIRTYPE, ""),
                ("hard.png", tarfile.LNKTYPE, "faces/0.png"),
                ("faces/soft.png", tarfile.SYMTYPE, "0.png"),
                ("faces/loop.png", tarfile.SYMTYPE, "loop.png"),
                ("fifo.png", tarfile.FIFOTYPE, ""),
            ):
                member = tarfile.TarInfo(name)
                member.type, member.linkname = kind, target
                archive.addfile(member)
        # Without the padding to 10 240 bytes, so that mutations hit the members.
        seeds.append(stream.getvalue().rstrip(b"\0") + bytes(1024 + 512 - len(stream.getvalue().rstrip(b"\0")) % 512))
    return seeds


def _table() -> Table:
    rng = np.random.default_rng(0)
    return Table(
        encode_paths(["faces.zip/0.jpg", "ä.jpg", "faces/2.png"]),
        AttributeColumns(PAPER10[:3], rng.random((3, 3), np.float32)),
        AttributeColumns(("Bald", "Young"), rng.integers(0, 2, (3, 2), np.uint8)),
        np.array([0, 1, -1], np.int32),
    )


def npy_tables() -> list[bytes]:
    block = encode_table([_table()], "npy")
    return [
        block,
        block + block,
        *(to_npy(np.eye(3, 4, dtype=dtype)) for dtype in ("<f4", ">f8", "<f2", "?", "i1", "<u8")),
        to_npy(np.asfortranarray(np.eye(4, 3, dtype=np.float32))),
        to_npy(np.arange(3, dtype=np.uint64)),
        to_npy(np.array([("a.jpg", 1)], [("path", "S8"), ("cluster", ">i8")])),
    ]


def jsonl_tables() -> list[bytes]:
    return [
        encode_table([_table()], "jsonl"),
        to_jsonl({"path": "a.jpg", "note": ["x", {"y": 1.5}], "id": 2**63}, {"path": "b.jpg", "note": None}),
        to_jsonl({"scores": {"Bald": 0.25}, "cluster": 3}, {"scores": {"Bald": 1}, "cluster": -1}),
        b"\n \r\n" + to_jsonl({"labels": {"Bald": 1, "Young": 0}, "path": "\u00e9\u2028.jpg"}),
    ]


def attribute_lists() -> list[bytes]:
    return [
        b"3\nBald Smiling Young\n000001.jpg -1  1 -1\n000002.jpg  1  1 -1\n000003.jpg -1 -1 1\n",
        b"image_id,Bald,Smiling,Young\n000001.jpg,-1,1,-1\n000002.jpg,1,1,0\n000003.jpg,-1,-1,1\n",
        b'"","image_id","Bald","Smiling"\r\n"1","a/000001.jpg","1","-1"\r\n"2","a/000002.jpg","-1","-1"\r\n',
        b"file;Bald;Smiling\n000001.png;1;0\n000002.png;0;1\n",
    ]


def number_lists() -> list[bytes]:
    return [
        b"000001.jpg 0\n000002.jpg 1\n000003.jpg 2\n",
        b"image_id,partition\n000001.jpg,0\n000002.jpg,1\n",
        b"image_id;identity\r\n000001.jpg;2880\r\n000002.jpg;10177\r\n",
        b"train/000001.jpg\ttrain\nvalid/000002.jpg\tvalid\n",
    ]


def path_lists() -> list[bytes]:
    """Lists that name what `targets.path_list` puts beside them; `input.txt` is the list itself."""
    return [
        b"faces/0.png\nfaces/1.png\nfaces.zip\nmissing.jpg\n",
        b"faces\r\nfaces.zip/0.png\r\ninput.txt\r\n-\r\n",
        b"faces/0.png\0faces/1.png\0",
        "\ufefffaces/0.png\nä.jpg\n".encode() + b"\xff.jpg\n",
    ]


#: The numbers of each storage in a checkpoint, enough for its largest tensor.
STORED_NUMBERS = 128


class FloatStorage:
    """Stands for torch.FloatStorage in a pickle."""


class LongStorage:
    """Stands for torch.LongStorage in a pickle."""


def _rebuild_tensor_v2(*arguments: Any) -> None:
    """Stands for torch._utils._rebuild_tensor_v2 in a pickle."""


@dataclass(frozen=True)
class _Storage:
    """The numbers of a tensor, which the pickle names and the archive holds."""

    type: type


class _Tensor:
    """A tensor of `shape`. All tensors share the first numbers of one storage, so that a network takes little space."""

    def __init__(self, *shape: int, storage: type = FloatStorage) -> None:
        self.shape, self.storage = shape, _Storage(storage)

    def __reduce__(self) -> tuple[Any, ...]:
        strides = tuple(math.prod(self.shape[axis + 1 :]) for axis in range(len(self.shape)))
        return _rebuild_tensor_v2, (self.storage, 0, self.shape, strides, False, OrderedDict())


class _TorchPickler(pickle.Pickler):
    def persistent_id(self, value: Any) -> Any:
        is_storage = isinstance(value, _Storage)
        return ("storage", value.type, value.type.__name__, "cpu", STORED_NUMBERS) if is_storage else None


def torch_file(content: dict[str, Any]) -> bytes:
    """The bytes that torch.save would write for `content`, made without torch."""
    stream = io.BytesIO()
    _TorchPickler(stream, protocol=2).dump(content)
    pickled = stream.getvalue()
    for name, module in (("_rebuild_tensor_v2", "torch._utils"), ("FloatStorage", "torch"), ("LongStorage", "torch")):
        pickled = pickled.replace(f"c{__name__}\n{name}\n".encode(), f"c{module}\n{name}\n".encode())
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as members:
        for name, data in {
            "data.pkl": pickled,
            "byteorder": b"little",
            "data/FloatStorage": np.full(STORED_NUMBERS, 0.25, "<f4").tobytes(),
            "data/LongStorage": np.full(STORED_NUMBERS, 7, "<i8").tobytes(),
            "version": b"3\n",
        }.items():
            members.writestr(zipfile.ZipInfo(f"input/{name}"), data)
    return archive.getvalue()


#: Channels of the small MobileNetV2 that the checkpoints hold: input, output, stride and expansion of its blocks, the
#: output of the first and of the last convolution.
BLOCKS, FIRST_CHANNELS, LAST_CHANNELS = ((4, 4, 1, 1), (4, 6, 2, 2)), 4, 8


def network_weights(head: int, attributes: int) -> dict[str, _Tensor]:
    """Tensors of the names and shapes that the network of the checkpoints has."""
    weights: dict[str, _Tensor] = {}

    def convolution(name: str, norm: str, *shape: int) -> None:
        weights[f"{name}.weight"] = _Tensor(*shape)
        for parameter in ("weight", "bias", "running_mean", "running_var"):
            weights[f"{norm}.{parameter}"] = _Tensor(shape[0])
        weights[f"{norm}.num_batches_tracked"] = _Tensor(storage=LongStorage)

    convolution("backbone.0.0.0", "backbone.0.0.1", FIRST_CHANNELS, 3, 3, 3)
    for number, (inputs, outputs, _, expansion) in enumerate(BLOCKS, 1):
        block, hidden, layer = f"backbone.0.{number}.conv", inputs * expansion, 0
        if expansion > 1:
            convolution(f"{block}.0.0", f"{block}.0.1", hidden, inputs, 1, 1)
            layer = 1
        convolution(f"{block}.{layer}.0", f"{block}.{layer}.1", hidden, 1, 3, 3)
        convolution(f"{block}.{layer + 1}", f"{block}.{layer + 2}", outputs, hidden, 1, 1)
    last = f"backbone.0.{len(BLOCKS) + 1}"
    convolution(f"{last}.0", f"{last}.1", LAST_CHANNELS, BLOCKS[-1][1], 1, 1)
    for name, shape in {
        "head.0.weight": (head, LAST_CHANNELS),
        "head.0.bias": (head,),
        **{f"head.2.{parameter}": (head,) for parameter in ("weight", "bias", "running_mean", "running_var")},
        "head.4.weight": (attributes, head),
        "head.4.bias": (attributes,),
    }.items():
        weights[name] = _Tensor(*shape)
    weights["head.2.num_batches_tracked"] = _Tensor(storage=LongStorage)
    return weights


def checkpoints() -> list[bytes]:
    return [_checkpoint(network_weights(5, 3), flip_average=flip_average) for flip_average in (False, True)]


def _checkpoint(weights: dict[str, _Tensor], *, flip_average: bool) -> bytes:
    config = {
        "attributes": ["Bald", "Smiling", "Young"],
        "backbone": "mobilenet_v2",
        "head": 5,
        "dropout": 0.3,
        "image_size": [32, 32],
        "first_stride": 2,
        "flip_average": flip_average,
    }
    content = {
        "format": CHECKPOINT_FORMAT,
        "config": config,
        "model": OrderedDict(weights),
        "thresholds": {"accuracy": [0.5, 0.25, 0.75], "balanced": [0.5, 0.5, 0.5]},
        "settings": {"recipe": "paper", "seed": 0},
        "made_by": {"version": "0.1.0", "command": "fa-train"},
    }
    return torch_file(content)


def torch_checkpoints() -> list[bytes]:
    """A network whose backbone is one convolution."""
    head = {name: tensor for name, tensor in network_weights(5, 3).items() if name.startswith("head.")}
    weights = {"backbone.0.weight": _Tensor(LAST_CHANNELS, 3, 1, 1), "backbone.0.bias": _Tensor(LAST_CHANNELS), **head}
    return [_checkpoint(weights, flip_average=False)]


def onnx_models() -> list[bytes]:
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph([helper.make_node("Sigmoid", ["x"], ["y"])], "network", [value], [result])
    return [helper.make_model(graph).SerializeToString()]


def comparison_records() -> list[bytes]:
    records = [
        {
            "k": k,
            "method": method,
            "parameters": {"k": k, "linkage": "ward"},
            "clusters": k or 7,
            "noise": 3,
            "inertia": 12.5,
            "silhouette": silhouette,
            "faces": 100,
            "distinct_codes": 40,
            "seconds": {"cluster": 0.1, "silhouette": 0.002},
        }
        for method, k, silhouette in (("kmeans", 2, 0.25), ("kmeans", 3, 0.5), ("dbscan", None, None))
    ]
    return [to_jsonl(*records), to_jsonl(*records[2:], {"method": "optics", "clusters": 4, "silhouette": -0.1})]


def history_records() -> list[bytes]:
    records = [
        {
            "epoch": epoch,
            "loss": 0.5 / epoch,
            "learning_rate": 0.001,
            "valid_loss": 0.25,
            "valid_accuracy": 0.75,
            "valid_balanced_accuracy": 0.5,
            "images_per_second": 321.5,
        }
        for epoch in (1, 2, 3)
    ]
    return [to_jsonl(*records), to_jsonl({"epoch": 1, "loss": 2})]


def eigenface_records() -> list[bytes]:
    """Records that name the pictures which `targets.eigenfaces` puts beside them."""
    return [
        to_jsonl(
            *(
                {
                    "cluster": cluster,
                    "faces": 4,
                    "mean": "faces/0.png",
                    "components": ["faces/1.png"],
                    "explained_variance": [2.5],
                    "explained_variance_ratio": [0.5],
                }
                for cluster in (0, 1)
            )
        )
    ]


def attribute_weights() -> list[bytes]:
    return [json.dumps({"Bald": 1.0, "Smiling": 0.5, "Young": 2}).encode()]


def plans() -> list[bytes]:
    digest = hashlib.sha256(b"a.jpg\0b.jpg").hexdigest()
    plan = {"inputs": 2, "digest": digest, "part": 64, "model": "0" * 64, "batch": 64}
    return [json.dumps(plan).encode() + b"\n"]


SEEDS: dict[str, Callable[[], list[bytes]]] = {
    "JPEG": jpeg_images,
    "PNG": png_images,
    "GIF": gif_images,
    "WebP": webp_images,
    "AVIF": avif_images,
    "TIFF": tiff_images,
    "JPEG 2000": jpeg2000_images,
    "BMP, PPM, TGA, ICO, DDS": simple_images,
    "other images": rare_images,
    "zip": zip_archives,
    "tar": tar_archives,
    "NPY": npy_tables,
    "JSONL": jsonl_tables,
    "attribute list": attribute_lists,
    "number list": number_lists,
    "path list": path_lists,
    "checkpoint": checkpoints,
    "checkpoint, torch": torch_checkpoints,
    "ONNX": onnx_models,
    "comparison": comparison_records,
    "history": history_records,
    "eigenface records": eigenface_records,
    "attribute weights": attribute_weights,
    "plan of parts": plans,
}
