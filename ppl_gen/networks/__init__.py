"""Networks: tensors in, a tensor out.

===============  ===============================================================================
module           what it holds
===============  ===============================================================================
``plain``        encoders and decoders, fully connected or of convolutions
``residual``     :class:`ResidualMLP`, for denoisers: data, times and labels in, data out
``shuffled``     generators by pixel shuffle and critics of strided convolutions
``translating``  images in, images of the same size out
===============  ===============================================================================
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
from ppl_gen.networks.shuffled import (
    ConvFeatures,
    MapDecoder,
    ShuffleDecoder,
    as_transposed,
    game_network,
    growing,
)
from ppl_gen.networks.translating import Translator, translating

__all__ = [
    "MLP",
    "ConvDecoder",
    "ConvEncoder",
    "ConvFeatures",
    "MapDecoder",
    "ResidualMLP",
    "Shape",
    "Shared",
    "ShuffleDecoder",
    "Translator",
    "Widths",
    "as_transposed",
    "decoder",
    "encoder",
    "game_network",
    "growing",
    "join",
    "translating",
    "widths",
]
