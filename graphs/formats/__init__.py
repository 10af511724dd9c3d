"""Readers and writers of the file formats, one module each.

Every module has ``read(data, tables)``, from bytes to :class:`graphs.tables.Tables` (or only the
networkx graph), and ``write(tables)``, to pieces of text. They know nothing of paths or of pgmpy;
:mod:`graphs.files` does.
"""
