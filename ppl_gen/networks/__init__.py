"""Networks: tensors in, a tensor out.

============  ==================================================================================
module        what it holds
============  ==================================================================================
``plain``     encoders and decoders, fully connected or of convolutions
``residual``  :class:`ResidualMLP`, for denoisers: data, times and labels in, data out
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

__all__ = [
    "MLP",
    "ConvDecoder",
    "ConvEncoder",
    "ResidualMLP",
    "Shape",
    "Shared",
    "Widths",
    "decoder",
    "encoder",
    "join",
    "widths",
]
