r"""Networks that tell data from fakes, and how samples are shown to them.

A critic maps samples ``(B, *data_shape)`` to logits ``(B, K)``, one for each of K heads. Wrappers
nest: each shows its critic something else than the samples as they are, data and fakes alike, or
asks it a further question.

=============  ===================================================  ===============================
wrapper        what the critic is shown                             source
=============  ===================================================  ===============================
``Noisy``      samples with noise                                   Arjovsky and Bottou 2017
``Packed``     several samples at once                              Lin et al. 2018, PacGAN
``Views``      every image under maps with an inverse, by heads     Tran et al. 2021, DAG
``Rotations``  rotated images too, to tell by which angle           Chen et al. 2019, SSGAN
=============  ===================================================  ===============================

>>> from ppl_gen import critics, zoo
>>> def shown(critic):
...     return critics.Views(critics.Rotations(critics.Noisy(critic, 0.1)))
>>> zoo.wgan((1, 8, 8), 4, hidden=16, wrap=shown).sample(2, seed=0).shape
torch.Size([2, 1, 8, 8])
"""

from typing import TYPE_CHECKING

from graphs.language.suggestions import suggesting
from ppl_gen.critics.base import Critic, Joined, default
from ppl_gen.critics.noisy import Noisy
from ppl_gen.critics.packed import Packed, packed_shape
from ppl_gen.critics.rotations import Rotations
from ppl_gen.critics.views import Views
from ppl_gen.critics.wrapper import Wrapper, auxiliary, fewest, looks, require, total

__all__ = [
    "Critic",
    "Joined",
    "Noisy",
    "Packed",
    "Rotations",
    "Views",
    "Wrapper",
    "auxiliary",
    "default",
    "fewest",
    "looks",
    "packed_shape",
    "require",
    "total",
]

if not TYPE_CHECKING:
    __getattr__ = suggesting(__name__)
