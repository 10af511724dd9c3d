"""Networks in files: :func:`load` and :func:`save`, and one module for each format.

Every format has ``read(data, tables, policy)``, from bytes to
:class:`~graphs.parameters.tables.Tables` (or only the networkx graph), and ``write(tables)``, to
pieces of text. Formats know nothing of paths or of pgmpy; ``load_save`` does.
"""

from graphs.files.load_save import MissingFileError, load, save

__all__ = ["MissingFileError", "load", "save"]
