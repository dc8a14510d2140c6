"""Tables of file formats: their suffixes and the bytes that their files start with. `formats` uses them."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Suffixes whose files are images without a look at their content.
IMAGE_SUFFIXES = _words(
    ".jpg .jpeg .jpe .jfif .mpo .png .apng .gif .bmp .dib .webp .avif .avifs .jp2 .j2k .jpc .jpf .jpx .j2c .tif .tiff "
    ".ppm .pgm .pbm .pnm .pfm .tga .ico .dds .psd .qoi"
)

#: Suffixes of formats that Pillow decodes only if it was built with a library.
OPTIONAL_SUFFIXES = {
    **dict.fromkeys((".avif", ".avifs"), "AVIF"),
    **dict.fromkeys((".jp2", ".j2k", ".jpc", ".jpf", ".jpx", ".j2c"), "JPEG 2000"),
    ".webp": "WebP",
}

#: The name of that library among Pillow's features, by format.
FEATURES = {"AVIF": "avif", "JPEG 2000": "jpg_2000", "WebP": "webp"}

#: Suffixes of files that are not opened, because they are neither images nor archives of images.
OTHER_SUFFIXES = _words(
    ".txt .md .rst .log .json .jsonl .ndjson .csv .tsv .xml .html .htm .css .js .ts .yaml .yml .toml .ini .cfg .conf "
    ".py .pyc .ipynb .sh .bat .c .h .cc .cpp .hpp .cu .java .class .m .mat .r .rs .go .tex .bib .rtf "
    ".npy .npz .pkl .pickle .pt .pth .ckpt .onnx .safetensors .h5 .hdf5 .parquet .feather .arrow .db .sqlite .lmdb "
    ".pdf .ps .eps .ai .svg .svgz .emf .wmf .doc .docx .xls .xlsx .ppt .pptx .odt .ods .odp .epub "
    ".mp4 .m4v .mov .avi .mkv .webm .mpg .mpeg .wmv .flv .3gp .mts .mp3 .wav .flac .ogg .m4a .aac "
    ".exe .dll .so .dylib .o .a .jar .whl .apk .deb .rpm .dmg .iso .xmp .aae .url .lnk .pem .key .tmp .part "
    ".crdownload .lock .pid .sum .md5 .sha1 .sha256 .blend .obj .ply .stl .ttf .otf .woff .woff2"
)

RAW_SUFFIXES = _words(
    ".cr2 .cr3 .crw .nef .nrw .arw .srf .sr2 .dng .raf .orf .rw2 .rwl .pef .srw .x3f .3fr .fff .iiq .erf .kdc .dcr "
    ".mrw .mef .mos"
)

#: Suffixes of images that Pillow does not decode, except for camera raw files.
UNSUPPORTED_IMAGES = {
    **dict.fromkeys((".heic", ".heif", ".hif", ".heics", ".heifs"), "HEIC"),
    **dict.fromkeys((".jxr", ".wdp", ".hdp"), "JPEG XR"),
    ".jxl": "JPEG XL",
    ".jls": "JPEG-LS",
    ".exr": "OpenEXR",
    ".xcf": "XCF",
    ".bpg": "BPG",
    ".flif": "FLIF",
    **dict.fromkeys((".dcm", ".dicom"), "DICOM"),
}

UNSUPPORTED_ARCHIVES = {
    **dict.fromkeys((".7z", ".cb7"), "7z"),
    **dict.fromkeys((".rar", ".cbr"), "RAR"),
    **dict.fromkeys((".tar.lz4", ".tlz4"), "lz4"),
    **dict.fromkeys((".tar.lz",), "lzip"),
    **dict.fromkeys((".tar.lzo", ".tzo"), "lzop"),
    **dict.fromkeys((".tar.z",), "compress"),
    **dict.fromkeys((".lha", ".lzh"), "LHA"),
    **dict.fromkeys((".sqfs", ".squashfs"), "SquashFS"),
    ".cab": "CAB",
    ".cpio": "cpio",
    ".arj": "ARJ",
    ".ace": "ACE",
}

#: The first bytes of images that Pillow decodes, where they leave no doubt.
IMAGE_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"8BPS\0\1", "PSD"),
    (b"DDS |\0\0\0", "DDS"),
    (b"qoif", "QOI"),
)

UNSUPPORTED_IMAGE_MAGIC = (
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"II\xbc\1", "JPEG XR"),
    (b"\xff\xd8\xff\xf7", "JPEG-LS"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"gimp xcf", "XCF"),
    (b"BPG\xfb", "BPG"),
    (b"FLIF", "FLIF"),
)

RAW_MAGIC = (
    *(b"FUJIFILMCCD-RAW", b"II*\0\x10\0\0\0CR", b"IIRO\x08\0", b"IIRS\x08\0", b"MMOR\0\0", b"IIU\0"),
    *(b"FOVb\0", b"\0MRM"),
)

#: Brands of ISO media files (at byte 8, after the box type `ftyp`).
AVIF_BRANDS = frozenset({b"avif", b"avis"})
HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"})

UNSUPPORTED_ARCHIVE_MAGIC = (
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!\x1a\x07", "RAR"),
    (b"MSCF\0\0\0\0", "CAB"),
    (b"070701", "cpio"),
    (b"070707", "cpio"),
    (b"hsqs", "SquashFS"),
)

#: Compressed data of kinds that cannot be read.
UNSUPPORTED_COMPRESSION_MAGIC = (
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"LZIP\1", "lzip"),
    (b"\x89LZO\0\r\n\x1a\n", "lzop"),
    (b"\x1f\x9d", "compress"),
)

COMPRESSION_MAGIC = (
    (b"\x1f\x8b\x08", "gzip"),
    *((b"BZh%d1AY&SY" % level, "bzip2") for level in range(1, 10)),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x5d\0\0", "lzma"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
)

OTHER_MAGIC = (
    (b"%PDF-", "PDF document"),
    (b"%!PS", "PostScript document"),
    (b"\x93NUMPY", "NumPy array"),
    (b"\x1a\x45\xdf\xa3", "video"),
    (b"\x89HDF\r\n\x1a\n", "HDF5 file"),
    (b"SQLite format 3\0", "SQLite database"),
    (b"\x7fELF", "program"),
)
