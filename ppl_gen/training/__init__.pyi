from . import memory as memory
from .history import History as History
from .loop import fit as fit
from .pairs import Pair as Pair
from .players import adam as adam
from .run import NonFiniteLossError as NonFiniteLossError
from .trainable import Trainable as Trainable
from .trainable import Turn as Turn
