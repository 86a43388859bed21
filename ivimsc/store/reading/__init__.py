"""Reading the HDF5 files that ivimsc writes, without the HDF5 library.

A few changed bytes make the HDF5 library loop without end, crash or open other files: it was made for files that one
trusts. What ivimsc writes is a small part of the format, the same since its first version. That part is read here, and
nothing else: superblock 0, groups of symbol tables, object headers of version 1, numbers and texts, tables that are
contiguous or in chunks. There are no filters, links, external or virtual data. Every address and every length is checked
against the size of the file before it is used, and the tables of a file together are no larger than the file. So reading
costs no more memory than the content, ends, and opens no other file.

`source`: the bytes. `headers`: objects and groups. `attributes`: types and attributes. `tables`: arrays. `file`: the whole.
"""

from ivimsc.store.reading.file import File, Group
from ivimsc.store.reading.source import Damaged
from ivimsc.store.reading.tables import Table

__all__ = ["Damaged", "File", "Group", "Table"]
