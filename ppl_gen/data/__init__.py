"""Data to learn from: MNIST, the dSprites factor grid, images of one's own, and tables.

Every set of images is an :class:`ImageSet` or a :class:`Sprites` grid. Both have a length,
``batch(indices, generator)``, which is all a training loop needs, and a ``binarization`` that names
how pixels became 0 or 1, because likelihoods under different binarisations are not comparable. A
:class:`Table` has columns of several kinds and may lack cells.
"""

from .digits import mnist
from .idx import read_idx
from .image_set import ImageSet, Split
from .own import images
from .sprite_grid import Sprites, sprites
from .tables import Schema, Table, table

__all__ = [
    "ImageSet",
    "Schema",
    "Split",
    "Sprites",
    "Table",
    "images",
    "mnist",
    "read_idx",
    "sprites",
    "table",
]
