"""Networks: tensors in, a tensor out.

===============  ===============================================================================
module           what it holds
===============  ===============================================================================
``plain``        encoders and decoders, fully connected or of convolutions
``residual``     :class:`ResidualMLP`, for denoisers: data, times and conditions in, data out
``unet``         :class:`UNet`, the same for images
``denoising``    either of them by its name
``text``         :class:`TextEncoder` of captions, and :class:`Captioned` networks that have one
``shuffled``     generators by pixel shuffle and critics of strided convolutions
``translating``  images in, images of the same size out
===============  ===============================================================================
"""

from typing import TYPE_CHECKING

from graphs.language.suggestions import suggesting
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
from ppl_gen.networks.shuffled import (
    ConvFeatures,
    MapDecoder,
    ShuffleDecoder,
    as_transposed,
    game_network,
    growing,
)
from ppl_gen.networks.text import Captioned, TextEncoder
from ppl_gen.networks.translating import Translator, translating
from ppl_gen.networks.unet import UNet

__all__ = [
    "MLP",
    "Captioned",
    "ConvDecoder",
    "ConvEncoder",
    "ConvFeatures",
    "MapDecoder",
    "ResidualMLP",
    "Shape",
    "Shared",
    "ShuffleDecoder",
    "TextEncoder",
    "Translator",
    "UNet",
    "Widths",
    "as_transposed",
    "decoder",
    "denoising",
    "encoder",
    "game_network",
    "growing",
    "join",
    "translating",
    "widths",
]

if not TYPE_CHECKING:
    __getattr__ = suggesting(__name__)
