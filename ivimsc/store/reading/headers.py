"""Objects, which are lists of messages, and groups, which are lists of names."""

from typing import NamedTuple

from ivimsc.store.reading.source import NOWHERE, Damaged, Source, number

__all__ = ["ATTRIBUTE", "LAYOUT", "SHAPE", "SYMBOLS", "TYPE", "Message", "read_links", "read_messages", "walk_tree"]

SHAPE, TYPE, LAYOUT, ATTRIBUTE, SYMBOLS = 0x01, 0x03, 0x08, 0x0C, 0x11
_CONTINUED = 0x10
_UNUSED = {0x00, 0x04, 0x05, 0x0D, 0x0E, 0x12, 0x16}  # space, fill values, comments, times, counts
_REFUSED = {
    0x02: "links of a newer kind",
    0x06: "links of a newer kind",
    0x07: "data in another file",
    0x0A: "groups of a newer kind",
    0x0B: "compressed or filtered data",
    0x15: "attributes of a newer kind",
}
MOST_MESSAGES, MOST_LINKS = 1000, 1000
_LINK = 40  # bytes of an entry of a symbol table


class Message(NamedTuple):
    """A part of an object header."""

    kind: int
    data: bytes


def read_messages(source: Source, address: int) -> list[Message]:
    """The messages of the object at `address`, from the header and the blocks that go on with it."""
    head = source.bytes(address, 16)
    count = number(head, 2, 2)
    if head[0] != 1 or count > MOST_MESSAGES:
        raise Damaged("an object header that ivimsc does not write")
    blocks, seen, messages = [(address + 16, number(head, 8, 4))], set(), []
    while blocks:
        start, length = blocks.pop(0)
        if start in seen or len(seen) > MOST_MESSAGES:
            raise Damaged("an object header that goes round in a circle")
        seen.add(start)
        block, at = source.bytes(start, length), 0
        while at + 8 <= len(block) and len(messages) < count:
            kind, size, flags = number(block, at, 2), number(block, at + 2, 2), block[at + 4]
            data = block[at + 8 : at + 8 + size]
            if len(data) < size or flags & 2:
                raise Damaged("an object header that is cut short or shared")
            if kind in _REFUSED or kind not in {SHAPE, TYPE, LAYOUT, ATTRIBUTE, SYMBOLS, _CONTINUED} | _UNUSED:
                raise Damaged(f"{_REFUSED.get(kind, f'a message of kind {kind}')}, which ivimsc does not write")
            if kind == _CONTINUED:
                blocks.append((number(data, 0, 8), number(data, 8, 8)))
            messages.append(Message(kind, data))
            at += 8 + size
    if len(messages) != count:
        raise Damaged(f"{len(messages)} of {count} parts of an object header")
    return messages


def walk_tree(source: Source, root: int, kind: int, key: int, most: int) -> list[tuple[bytes, int]]:
    """The entries of a tree, in order: pairs of the key before a child, and the child's address.

    Parameters
    ----------
    source, root : where the tree is
    kind : 0 for groups, 1 for chunks
    key : bytes of a key
    most : entries, and nodes, that there may be
    """
    entries, todo, seen = [], [(root, None)], set()
    while todo:
        address, expected = todo.pop()
        if address in seen or max(len(seen), len(entries), len(todo)) > most:
            raise Damaged("a tree that goes round in a circle, or is too large")
        seen.add(address)
        head = source.bytes(address, 24)
        level, used = head[5], number(head, 6, 2)
        if head[:4] != b"TREE" or head[4] != kind or level != (level if expected is None else expected):
            raise Damaged("a damaged tree")
        body = source.bytes(address + 24, used * (key + 8))
        steps = range(0, len(body), key + 8)
        children = [(body[at : at + key], number(body, at + key, 8)) for at in steps]
        if level:
            todo += [(child, level - 1) for _, child in reversed(children)]
        else:
            entries += children
    return entries


def read_links(source: Source, symbols: bytes) -> dict[str, int]:
    """Name -> address of the objects of a group, from its message of kind `SYMBOLS`."""
    tree, heap = number(symbols, 0, 8), number(symbols, 8, 8)
    head = source.bytes(heap, 32)
    if head[:5] != b"HEAP\0":
        raise Damaged("no names where those of a group should be")
    names = source.bytes(number(head, 24, 8), number(head, 8, 8))
    links: dict[str, int] = {}
    for _, address in walk_tree(source, tree, 0, 8, MOST_LINKS):
        node = source.bytes(address, 8)
        if node[:5] != b"SNOD\1":
            raise Damaged("a damaged group")
        entries = source.bytes(address + 8, number(node, 6, 2) * _LINK)
        for at in range(0, len(entries), _LINK):
            place, target, cache = number(entries, at, 8), number(entries, at + 8, 8), number(entries, at + 16, 4)
            end = names.find(b"\0", place)
            if place >= len(names) or end < 0:
                raise Damaged("a name that is cut short")
            name = names[place:end].decode("utf-8")
            if cache > 1 or target == NOWHERE:
                raise Damaged(f"{name} as a link, which ivimsc does not write")
            if name in links or len(links) >= MOST_LINKS:
                raise Damaged(f"{name} twice, or too many names")
            links[name] = target
    return links
