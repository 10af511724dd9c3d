"""The one training loop, and what it trains.

===============  =================================================================================
module           what it does
===============  =================================================================================
``loop``         :func:`fit`
``run``          the steps of every player, and the complete state to continue from
``hooks``        what is done after steps: validations, checkpoints, progress, Ctrl-C
``trainable``    players and their losses
``pairs``        a model/guide pair as a player
``players``      settings by player
``rates``        learning rates over a run
``trackers``     callbacks that write metrics to a CSV file or for TensorBoard
``statistics``   statistics of batch normalisation for averaged weights
``batches``      data as batches in an order fixed by a seed
``processes``    several processes that train one model
``history``      what happened, step by step
``overrides``    settings that a resumed run may change
``checks``       what is refused before any work is done
``generators``   the random generators as one
``memory``       memory that one step frees, kept for the next
===============  =================================================================================
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
