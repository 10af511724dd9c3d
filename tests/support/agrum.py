"""pyAgrum as an oracle: ``from agrum import pyagrum``.

Its extension module warns while it is initialised and crashes where warnings are errors.
"""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import pyagrum

__all__ = ["pyagrum"]
