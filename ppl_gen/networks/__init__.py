"""Networks: tensors in, a tensor out.

============  ==================================================================================
module        what it holds
============  ==================================================================================
``plain``     encoders and decoders, fully connected or of convolutions
``residual``  :class:`ResidualMLP`, for denoisers: data, times and conditions in, data out
``unet``      :class:`UNet`, the same for images
============  ==================================================================================
"""

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
from ppl_gen.networks.unet import UNet

__all__ = [
    "MLP",
    "ConvDecoder",
    "ConvEncoder",
    "ResidualMLP",
    "Shape",
    "Shared",
    "UNet",
    "Widths",
    "decoder",
    "encoder",
    "join",
    "widths",
]
