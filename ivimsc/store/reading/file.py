"""A file as a tree of groups and tables."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ivimsc.store.reading.attributes import Texts, read_attribute
from ivimsc.store.reading.headers import ATTRIBUTE, SYMBOLS, Message, read_links, read_messages
from ivimsc.store.reading.source import Damaged, Source, number
from ivimsc.store.reading.tables import Table

__all__ = ["File", "Group"]

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_VERSIONS = bytes([0, 0, 0, 0, 0, 8, 8, 0])  # superblock 0 with what belongs to it; addresses and lengths of 8 bytes
_DEEPEST, _MOST_OBJECTS = 4, 200  # groups in groups; groups and tables


class Group:
    """Names and what they stand for: ``group["f"]``, ``"f" in group``, ``group.items()``."""

    def __init__(self, members: dict[str, "Group | Table"]) -> None:
        self._members = members

    def __contains__(self, name: str) -> bool:
        try:
            self[name]
        except KeyError:
            return False
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __getitem__(self, name: str) -> Any:
        """The table or group of that name, which may be a path: ``truth/f``."""
        first, _, rest = name.partition("/")
        if first not in self._members:
            raise KeyError(f"no {name}")
        found = self._members[first]
        if not rest:
            return found
        if not isinstance(found, Group):
            raise KeyError(f"no {name}")
        return found[rest]

    def items(self) -> list[tuple[str, "Group | Table"]]:
        """Names and what they stand for."""
        return list(self._members.items())

    def tables(self, before: str = "") -> dict[str, Table]:
        """All tables in here and below, by their paths."""
        found: dict[str, Table] = {}
        for name, member in self._members.items():
            found |= member.tables(f"{before}{name}/") if isinstance(member, Group) else {before + name: member}
        return found


class File(Group):
    """A file of ivimsc, open for reading.

    Attributes
    ----------
    attrs : name -> str, int, float or array

    Raises
    ------
    InputError
        for a file that cannot be opened
    Damaged
        for one that ivimsc has not written, or that was changed since
    """

    def __init__(self, path: Path, refuse: Callable[[str], Exception]) -> None:
        self._source, self._refuse = Source(path), refuse
        try:
            self._texts, self._seen, self._total = Texts(self._source), set(), 0
            messages = read_messages(self._source, self._root())
            super().__init__(self._members_of(messages, "", 0))
            self.attrs = self._attributes_of(messages)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    def __enter__(self) -> "File":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _root(self) -> int:
        """The address of the root group."""
        if self._source.size < 96 or self._source.bytes(0, 8) != _SIGNATURE:
            raise Damaged("no HDF5 file")
        head = self._source.bytes(8, 88)
        base, end = number(head, 16, 8), number(head, 32, 8)
        if head[:8] != _VERSIONS or base:
            raise Damaged("an HDF5 file of a newer kind than ivimsc writes")
        if end > self._source.size:
            raise Damaged(f"{self._source.size:,} of {end:,} bytes: it is truncated")
        return number(head, 56, 8)

    def _members_of(self, messages: list[Message], before: str, depth: int) -> dict[str, Group | Table]:
        """The groups and tables of a group, from its messages."""
        symbols = [message.data for message in messages if message.kind == SYMBOLS]
        if len(symbols) != 1 or depth > _DEEPEST:
            raise Damaged("a damaged group")
        members: dict[str, Group | Table] = {}
        for name, address in read_links(self._source, symbols[0]).items():
            if address in self._seen:
                raise Damaged(f"{before}{name} under a second name, which ivimsc does not write")
            self._seen.add(address)
            if len(self._seen) > _MOST_OBJECTS:
                raise Damaged(f"more than {_MOST_OBJECTS} groups and tables")
            own = read_messages(self._source, address)
            if any(message.kind == SYMBOLS for message in own):
                members[name] = Group(self._members_of(own, f"{before}{name}/", depth + 1))
                continue
            table = Table(self._source, before + name, own, self._refuse)
            self._total += table.nbytes
            self._source.require(0, self._total)
            members[name] = table
        return members

    def _attributes_of(self, messages: list[Message]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for message in messages:
            if message.kind == ATTRIBUTE:
                name, value = read_attribute(message.data, self._texts)
                if name in found:
                    raise Damaged(f"the attribute {name} twice")
                found[name] = value
        return found
