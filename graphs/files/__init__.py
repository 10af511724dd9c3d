"""Networks in files: :func:`load`, :func:`save`, :func:`read_evidence`; a module for each format.

Every format has ``read(data, tables, policy)``, from bytes to
:class:`~graphs.parameters.tables.Tables` (or only the networkx graph), and ``write(tables)``, to
pieces of text. Formats know nothing of paths or of pgmpy; ``load_save`` does.
"""

from typing import TYPE_CHECKING

from graphs.files.load_save import MissingFileError, load, read_evidence, save
from graphs.language.suggestions import suggesting

__all__ = ["MissingFileError", "load", "read_evidence", "save"]

if not TYPE_CHECKING:
    __getattr__ = suggesting(__name__)
