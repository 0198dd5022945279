"""The formats of image files: which one it is, and a decoder that has read the header only.

`Image.open` of Pillow would try dozens of formats. Here the first bytes decide, and the size is checked before memory
is allocated.
"""

import struct
from io import BytesIO
from typing import Any

from tinynet.errors import DataError, printable

SIGNATURES = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG", b"BM": "BMP", b"GIF87a": "GIF", b"GIF89a": "GIF",
              b"II*\0": "TIFF", b"MM\0*": "TIFF", b"II+\0": "TIFF", b"MM\0+": "TIFF"}  # * classic, + BigTIFF
NAMED = "PNG, JPEG, WebP, BMP, TIFF or GIF"  # for messages
_METADATA = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")  # chunks of a PNG that do not change the pixels
_SIGNED = 8  # bytes of the signature of a PNG
_RIFF = 12  # bytes of "RIFF", a length, and "WEBP"


class ImageFault(Exception):
    """A fault of a file, worded to follow its name: "is empty"."""


def opened(content: bytes, most_pixels: int) -> Any:
    """Pillow's image for the content of a file, with only its header read. Raises `ImageFault`."""
    if not content:
        raise ImageFault("is empty; copy it again")
    kind = kind_of(content)
    if kind is None:
        raise ImageFault(f"must be a {NAMED}, starts with {content[:4].hex(' ')}; convert it")
    if kind == "WebP":
        _check_size(_webp_size(content), most_pixels)  # its decoder allocates a canvas when it is made
    try:
        image = _decoder(kind, content)
    except (ImageFault, DataError):
        raise
    except Exception as fault:
        raise damaged(fault) from fault
    _check_size(image.size, most_pixels)
    return image


def kind_of(content: bytes) -> str | None:
    """The format that the first bytes say, such as "PNG"; None for another one."""
    if content.startswith(b"RIFF") and content[8:_RIFF] == b"WEBP":
        return "WebP"
    return next((kind for start, kind in SIGNATURES.items() if content.startswith(start)), None)


def damaged(fault: Exception) -> ImageFault:
    """The fault of a file that its decoder refuses."""
    return ImageFault(f"is damaged ({printable(str(fault)) or type(fault).__name__}); copy it again")


def _check_size(size: tuple[int, int], most_pixels: int) -> None:
    width, height = size
    if not 1 <= width * height <= most_pixels:
        raise ImageFault(f"must have 1 to {most_pixels:,} pixels, its header promises {height:,} x {width:,}; "
                         "make it smaller")


def _decoder(kind: str, content: bytes) -> Any:
    try:
        from PIL import WebPImagePlugin
        from PIL.BmpImagePlugin import BmpImageFile
        from PIL.GifImagePlugin import GifImageFile
        from PIL.JpegImagePlugin import JpegImageFile
        from PIL.PngImagePlugin import PngImageFile
        from PIL.TiffImagePlugin import TiffImageFile
    except ImportError as fault:
        raise DataError(f"read_image: images are read by Pillow, which cannot be imported ({fault}); "
                        "pip install pillow") from fault
    if kind == "PNG":
        return _png(content, PngImageFile)
    if kind == "WebP":
        if not WebPImagePlugin.SUPPORTED:
            raise ImageFault("is a WebP, which this installation of Pillow cannot read; convert it")
        return WebPImagePlugin.WebPImageFile(BytesIO(content))
    decoders: dict[str, Any] = {"JPEG": JpegImageFile, "BMP": BmpImageFile, "GIF": GifImageFile, "TIFF": TiffImageFile}
    return decoders[kind](BytesIO(content))


def _png(content: bytes, PngImageFile: Any) -> Any:
    content = _without_metadata(content)
    image = PngImageFile(BytesIO(content))
    _scale_transparency(image, content[24])
    if image.mode == "RGB" and content[24] == 16 and "transparency" in image.info:
        low = image.info["low"] = PngImageFile(BytesIO(content))
        low.tile = [tile._replace(args="RGB;16L") for tile in low.tile]  # decodes the low bytes
    return image


def _webp_size(content: bytes) -> tuple[int, int]:
    """Width and height in the header of a WebP, whose first chunk has one of three kinds; 0, 0 for another one."""
    kind, data = content[_RIFF : _RIFF + 4], content[_RIFF + 8 : _RIFF + 18].ljust(10, b"\0")
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[4:7], "little"), 1 + int.from_bytes(data[7:10], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        return int.from_bytes(data[6:8], "little") & 0x3FFF, int.from_bytes(data[8:10], "little") & 0x3FFF
    return 0, 0


def _without_metadata(content: bytes) -> bytes:
    """A PNG without texts and colour profile. Pillow refuses large ones, although the pixels are good."""
    kept, start = [content[: _SIGNED]], _SIGNED
    while start + 8 <= len(content):
        length, name = struct.unpack_from(">I4s", content, start)
        if name not in _METADATA:
            kept.append(content[start : start + 12 + length])  # length, name, data, checksum
        start += 12 + length
    return b"".join(kept)


def _scale_transparency(image: Any, bits: int) -> None:
    """Scale the transparent grey value as Pillow scales the pixels of 1, 2 and 4 bits: to 0 ... 255."""
    value = image.info.get("transparency")
    if image.mode in ("1", "L") and isinstance(value, int) and bits < 8:
        image.info["transparency"] = value * 255 // ((1 << bits) - 1)
