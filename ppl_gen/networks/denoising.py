"""A network of a denoiser by its name."""

from __future__ import annotations

from torch import nn

from ppl_gen._checks import is_whole
from ppl_gen.networks.plain import Shape
from ppl_gen.networks.residual import ResidualMLP
from ppl_gen.networks.unet import UNet


def denoising(
    kind: str,
    data_shape: Shape,
    hidden: int | None = None,
    outputs: int = 1,
    num_classes: int = 0,
) -> nn.Module:
    """``"mlp"``, a residual one, ``"unet"`` of two scales, or ``"auto"``, the latter for images.

    Args:
        kind: the name.
        data_shape: the shape of a datum.
        hidden: the width of an MLP, 256 by default, or the channels at the coarser scale of a
            U-Net, 64 by default, which has half as many at the finer one.
        outputs: how many values for a value of the data.
        num_classes: the number of labels, 0 for none.

    Raises:
        ValueError: another name, a width below one, or one that is no multiple of 16 for a U-Net.

    >>> network = ppl_gen.networks.denoising("auto", (1, 8, 8), hidden=16)
    >>> type(network).__name__, type(ppl_gen.networks.denoising("auto", (2,))).__name__
    ('UNet', 'ResidualMLP')
    """
    if kind not in ("auto", "mlp", "unet"):
        raise ValueError(f"expected a network among auto, mlp, unet, got {kind!r}")
    if hidden is not None and not is_whole(hidden, 1):
        raise ValueError(f"expected hidden widths of at least one, got {hidden!r}")
    if kind == "mlp" or (kind == "auto" and len(data_shape) != 3):
        width = 256 if hidden is None else hidden
        return ResidualMLP(data_shape, width, num_classes=num_classes, outputs=outputs)
    width = 64 if hidden is None else hidden
    if width % 16:
        raise ValueError(f"expected hidden channels of a U-Net in multiples of 16, got {width}")
    return UNet(data_shape, (width // 2, width), num_classes=num_classes, outputs=outputs)
