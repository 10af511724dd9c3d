"""Data to learn from: MNIST, the dSprites factor grid, images of one's own, and tables.

Every set of images is an :class:`ImageSet` or a :class:`Sprites` grid. Both have a length,
``batch(indices, generator)``, which is all a training loop needs, and a ``binarization`` that names
how pixels became 0 or 1, because likelihoods under different binarisations are not comparable. A
:class:`Table` has columns of several kinds and may lack cells. :func:`captions` puts digits into
words.
"""

from typing import TYPE_CHECKING

from graphs.language.suggestions import suggesting
from ppl_gen.data.digit_captions import VOCABULARY, captions, stroke, words
from ppl_gen.data.digits import mnist
from ppl_gen.data.idx import read_idx
from ppl_gen.data.image_set import ImageSet, Split
from ppl_gen.data.own import images
from ppl_gen.data.sprite_grid import Sprites, sprites
from ppl_gen.data.stacked import stacked_mnist
from ppl_gen.data.streams import Unpaired, Weighted
from ppl_gen.data.tables import Schema, Table, table

__all__ = [
    "VOCABULARY",
    "ImageSet",
    "Schema",
    "Split",
    "Sprites",
    "Table",
    "Unpaired",
    "Weighted",
    "captions",
    "images",
    "mnist",
    "read_idx",
    "sprites",
    "stacked_mnist",
    "stroke",
    "table",
    "words",
]

if not TYPE_CHECKING:
    __getattr__ = suggesting(__name__)
