"""Arrays and image folders of the user's own, as an :class:`ImageSet`."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppl_gen._checks import is_whole
from ppl_gen.data.image_set import Binarization, ImageSet
from ppl_gen.data.tensors import as_column, as_tensor, encode_labels, is_text

SUFFIXES = (".png", ".jpg", ".jpeg")
GREY_MODES = ("1", "L", "LA")


def images(
    source: np.ndarray | Tensor | str | os.PathLike[str],
    size: int | tuple[int, int] | None = None,
    *,
    labels: np.ndarray | Tensor | Sequence[int] | Sequence[str] | None = None,
    value_range: tuple[float, float] | None = None,
    channels: int | None = None,
    binarize: Binarization | None = None,
    seed: int = 0,
    name: str | None = None,
) -> ImageSet:
    """The user's images as float32 in [0, 1] with shape ``(N, C, H, W)``.

    Args:
        source: a numpy array or torch tensor ``(N, H, W)`` or ``(N, C, H, W)``, or a folder of PNG
            and JPEG files, which are read in sorted order. The sorted names of its subfolders
            become the classes; without subfolders there are no labels.
        size: height and width, or one number for both, to resample to with antialiasing; needed
            when the files of a folder differ in size.
        labels: of an array: whole numbers, or names, whose sorted set becomes the classes.
        value_range: the values of an array that stand for black and white, by default (0, 255) for
            uint8 and (0, 1) for float and bool.
        channels: 1 or 3, which the files of a folder are converted to; by default grey when all of
            them are.
        binarize: see :meth:`ImageSet.binarize`.
        seed: see :meth:`ImageSet.binarize`.
        name: of the set; that of the folder by default.

    Raises:
        ValueError: other shapes, NaN, values outside ``value_range``, labels that do not match, an
            empty folder, unreadable files, or files of different sizes.

    >>> import numpy as np
    >>> photos = np.array([[[0, 255], [51, 102]]], dtype=np.uint8)
    >>> ppl_gen.data.images(photos, labels=["stripe"]).images
    tensor([[[[0.0000, 1.0000],
              [0.2000, 0.4000]]]])
    """
    if isinstance(source, str | os.PathLike):
        folder = Path(source)
        _only_for("arrays", labels=labels, value_range=value_range)
        paths, targets, classes = _listing(folder)
        pixels = torch.cat(_load(paths, channels, size))
        title = folder.name
    else:
        _only_for("folders", channels=channels)
        pixels = _resized(_unit_range(_as_tensor(source), value_range), size)
        targets, classes, title = *_as_labels(labels), "images"
    grey = ImageSet(pixels, targets, name or title, classes=classes)
    return grey.binarize(binarize, seed)


def _only_for(kind: str, **options: Any) -> None:
    given = [option for option, value in options.items() if value is not None]
    if given:
        raise ValueError(f"expected {', '.join(given)} only with {kind}, got another source")


def _as_tensor(source: np.ndarray | Tensor) -> Tensor:
    if not isinstance(source, np.ndarray | Tensor):
        raise ValueError(f"expected an array, a tensor or a folder, got {type(source).__name__}")
    if isinstance(source, np.ndarray) and source.dtype.kind not in "buif":
        raise ValueError(f"expected an array of real numbers, got dtype {source.dtype}")
    if np.ma.is_masked(source):
        raise ValueError("expected known pixels, got a masked array with some that are not")
    if isinstance(source, np.ndarray):
        tensor = torch.from_numpy(source.astype(source.dtype.newbyteorder("="), order="C"))
    else:
        tensor = source.detach()
    if tensor.is_complex():
        raise ValueError(f"expected real numbers, got {tensor.dtype}")
    if tensor.dim() == 3:
        tensor = tensor[:, None]
    if tensor.dim() != 4:
        raise ValueError(
            f"expected images of shape (N, H, W) or (N, C, H, W), got {tuple(tensor.shape)}"
        )
    if tensor.shape[3] in (1, 3, 4) and tensor.shape[1] not in (1, 3, 4):
        raise ValueError(
            f"expected channels before rows, (N, C, H, W), got {tuple(tensor.shape)}; "
            "permute channels-last images with x.permute(0, 3, 1, 2)"
        )
    return tensor


def _unit_range(pixels: Tensor, value_range: tuple[float, float] | None) -> Tensor:
    if value_range is None:
        integers = not (pixels.is_floating_point() or pixels.dtype == torch.bool)
        if integers and pixels.dtype != torch.uint8:
            raise ValueError(f"expected value_range with pixels of {pixels.dtype}, got none")
        value_range = (0, 255) if integers else (0, 1)
    low, high = value_range
    if not low < high:
        raise ValueError(f"expected value_range (low, high) with low < high, got {value_range}")
    pixels = pixels.double()
    if not torch.isfinite(pixels).all():
        raise ValueError("expected finite pixels, got NaN or infinite ones")
    if pixels.numel() and (pixels.min() < low or pixels.max() > high):
        raise ValueError(
            f"expected pixels in [{low}, {high}], "
            f"got values from {pixels.min():g} to {pixels.max():g}"
        )
    return ((pixels - low) / (high - low)).float()


def _resized(pixels: Tensor, size: int | tuple[int, int] | None) -> Tensor:
    if size is None:
        return pixels
    shape = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
    if len(shape) != 2 or not all(is_whole(side, 1) for side in shape):
        raise ValueError(f"expected a positive size or (height, width), got {size!r}")
    if pixels.shape[2:] == shape:
        return pixels
    resampled = torch.nn.functional.interpolate(
        pixels, shape, mode="bilinear", antialias=True, align_corners=False
    )
    return resampled.clamp(0, 1)


def _as_labels(labels: Any) -> tuple[Tensor | None, tuple[str, ...] | None]:
    if labels is None:
        return None, None
    labels = as_column(labels)
    if is_text(labels):
        codes, classes = encode_labels(labels)
        if len(codes) and codes.min() < 0:
            raise ValueError(f"expected a label for every image, got {int((codes < 0).sum())} none")
        return codes, classes
    tensor = as_tensor(labels)
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise ValueError(f"expected integer labels, got {tensor.dtype}")
    if tensor.numel() and tensor.min() < 0:
        raise ValueError(f"expected labels of at least 0, got {int(tensor.min())}")
    return tensor.to(torch.int64), None


def _listing(folder: Path) -> tuple[list[Path], Tensor | None, tuple[str, ...] | None]:
    if not folder.is_dir():
        raise ValueError(f"expected a folder of images, got {folder}, which is not one")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise ValueError(f"expected files {', '.join(SUFFIXES)} in {folder}, got none")
    owners = [path.relative_to(folder).parts[:-1] for path in paths]
    if not any(owners):
        return paths, None, None
    if not all(owners):
        raise ValueError(
            f"expected the images of {folder} all in it directly or all in subfolders named "
            f"after their classes, got both, such as {paths[owners.index(())].name}"
        )
    classes = tuple(sorted({owner[0] for owner in owners}))
    return paths, torch.tensor([classes.index(owner[0]) for owner in owners]), classes


def _load(
    paths: list[Path], channels: int | None, size: int | tuple[int, int] | None
) -> list[Tensor]:
    from PIL import Image, UnidentifiedImageError

    if channels not in (None, 1, 3):
        raise ValueError(f"expected 1 or 3 channels, got {channels!r}")
    pictures = []
    for path in paths:
        try:
            with Image.open(path) as opened:
                opened.load()
                picture = opened.copy()
        except (OSError, SyntaxError, UnidentifiedImageError) as error:
            raise ValueError(f"expected a readable image, got {path}: {error}") from error
        if picture.mode[0] in "IF":
            raise ValueError(f"expected 8 bits a channel, got mode {picture.mode} in {path}")
        pictures.append(picture)
    grey = all(picture.mode in GREY_MODES for picture in pictures)
    mode = "L" if channels == 1 or (channels is None and grey) else "RGB"
    loaded: list[Tensor] = []
    for path, picture in zip(paths, pictures, strict=True):
        array = np.array(picture.convert(mode))
        tensor = _as_tensor(array[None] if mode == "L" else np.moveaxis(array, 2, 0)[None])
        loaded.append(_resized(_unit_range(tensor, None), size))
        if loaded[-1].shape != loaded[0].shape:
            raise ValueError(
                f"expected images of one size, {tuple(loaded[0].shape[2:])} as {paths[0].name}, "
                f"got {tuple(loaded[-1].shape[2:])} in {path}; pass size="
            )
    return loaded
