"""Networks: tensors in, a tensor out.

=============  =================================================================================
module         what it holds
=============  =================================================================================
``plain``      encoders and decoders, fully connected or of convolutions
``residual``   :class:`ResidualMLP`, for denoisers: data, times and conditions in, data out
``unet``       :class:`UNet`, the same for images
``denoising``  either of them by its name
``text``       :class:`TextEncoder` of captions, and :class:`Captioned` networks that have one
=============  =================================================================================
"""

from ppl_gen.networks.denoising import denoising
from ppl_gen.networks.plain import (
    MLP,
    ConvDecoder,
    ConvEncoder,
    Shape,
    Shared,
    Widths,
    decoder,
    encoder,
    join,
    widths,
)
from ppl_gen.networks.residual import ResidualMLP
from ppl_gen.networks.text import Captioned, TextEncoder
from ppl_gen.networks.unet import UNet

__all__ = [
    "MLP",
    "Captioned",
    "ConvDecoder",
    "ConvEncoder",
    "ResidualMLP",
    "Shape",
    "Shared",
    "TextEncoder",
    "UNet",
    "Widths",
    "decoder",
    "denoising",
    "encoder",
    "join",
    "widths",
]
