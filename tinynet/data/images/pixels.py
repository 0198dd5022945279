"""The pixels of an image: turned, in grey or in colours, and resized. What is converted how stands in `read.py`."""

from typing import Any

import numpy as np

from tinynet.data.images.formats import ImageFault

_ORIENTATION = 0x0112  # the EXIF tag
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0  # a tag of TIFF; Pillow inverts 8 bits, but not 16
_DRAFT = 2  # a JPEG is decoded at no less than twice the requested size


def check_range(image: Any) -> None:
    """Raise `ImageFault` for pixels that are floats, or integers outside of 16 bits. The image must be loaded."""
    if image.mode == "F":
        raise ImageFault("has pixels that are floats, whose range is unknown; convert it to 8 or 16 bits")
    if image.mode == "I" and not (image.getextrema()[0] >= 0 and image.getextrema()[1] <= 65535):
        raise ImageFault(f"has pixels from {image.getextrema()[0]} to {image.getextrema()[1]}, whose range is unknown; "
                         "convert it to 8 or 16 bits")


def pixels_of(image: Any, size: tuple[int, int] | None, channels: int) -> np.ndarray:
    """The pixels of Pillow's image, uint8 (height, width, channels), resized to `size` if it is given."""
    from PIL import Image

    if image.format != "JPEG":
        image.load()  # in a PNG, the chunk with the orientation may follow the pixels
        check_range(image)
    turn = _turn(image, Image.Transpose)
    if size is not None and image.format == "JPEG":
        height, width = size if turn is None or turn in _UPRIGHT else size[::-1]
        image.draft(None, (_DRAFT * width, _DRAFT * height))
    image = _in_mode(image, "L" if channels == 1 else "RGB", Image)
    if turn is not None:
        image = image.transpose(Image.Transpose(turn))
    if size is not None and image.size != size[::-1]:
        image = image.resize(size[::-1], Image.Resampling.BILINEAR)
    return np.array(image, np.uint8).reshape(image.height, image.width, channels)


_UPRIGHT = (0, 1, 3)  # Pillow's numbers of the transpositions that keep height and width: two mirrors, half a turn


def _turn(image: Any, ways: Any) -> int | None:
    """The transposition that the EXIF orientation of an image asks for, or None."""
    if "exif" not in image.info:
        return None
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # the pixels are good all the same
        return None
    return {2: ways.FLIP_LEFT_RIGHT, 3: ways.ROTATE_180, 4: ways.FLIP_TOP_BOTTOM, 5: ways.TRANSPOSE,
            6: ways.ROTATE_270, 7: ways.TRANSVERSE, 8: ways.ROTATE_90}.get(orientation)


def _in_mode(image: Any, mode: str, Image: Any) -> Any:
    """The image in mode L or RGB."""
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.uint16)
        if image.format == "TIFF" and image.mode != "I" and image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
            values = 65535 - values
        high = (values >> 8).astype(np.uint8)
        high[values == image.info.get("transparency", -1)] = 255
        return Image.fromarray(high).convert(mode)
    if "low" in image.info:
        pixels = np.array(image)
        values = pixels.astype(np.uint16) << 8 | np.asarray(image.info["low"])
        pixels[(values == image.info["transparency"]).all(axis=-1)] = 255
        return Image.fromarray(pixels).convert(mode)
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if image.mode == "P":
        image = image.convert("RGB")
    return image.convert(mode)
