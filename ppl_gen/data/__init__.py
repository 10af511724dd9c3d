"""Images to learn from: MNIST, the dSprites factor grid, and arrays or folders of one's own.

Every set is an :class:`ImageSet` or a :class:`Sprites` grid. Both have a length, ``batch(indices,
generator)``, which is all a training loop needs, and a ``binarization`` that names how pixels
became 0 or 1, because likelihoods under different binarisations are not comparable.
"""

from .digits import mnist
from .idx import read_idx
from .image_set import ImageSet, Split
from .own import images
from .sprite_grid import Sprites, sprites

__all__ = [
    "ImageSet",
    "Split",
    "Sprites",
    "images",
    "mnist",
    "read_idx",
    "sprites",
]
