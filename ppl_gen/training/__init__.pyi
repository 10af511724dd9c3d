from . import memory as memory
from .history import History as History
from .loop import adam as adam
from .loop import fit as fit
from .run import NonFiniteLossError as NonFiniteLossError
from .trainable import Pair as Pair
from .trainable import Trainable as Trainable
