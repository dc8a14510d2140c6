"""Names and links of archive members, as unzip and tar would write them to disk.

`normal_name` gives the name of a member, and `resolve_links` finds the members that symbolic links lead to.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

M = TypeVar("M")

#: The largest image that is read. A corrupt archive may claim any size.
MAX_FILE_BYTES = 2**30

#: Links that are followed on the way to one member; the limit of Linux.
MAX_LINKS = 40

#: Members that links to folders may add, so that folders that link to each other do not fill the memory.
MAX_LINKED_MEMBERS = 10**6

#: The depth of folders below a link.
MAX_LINKED_FOLDERS = 200


class LinkError(ValueError):
    """A link leads to no member of its archive. The message is the reason."""


class _TooManyLinks(LinkError):
    """The links lead to more members, or deeper, than any archive of images needs."""


@dataclass(frozen=True)
class SymbolicLink:
    """A member that is a symbolic link to the path `target`, relative to the folder of the link."""

    target: str


def normal_name(name: str) -> str:
    """Return the name under which an archive tool extracts a member: without a leading `/` and without `.` and `..`.

    Like GNU tar, drop everything up to the last `..`. The result is empty if nothing remains.
    """
    if name[:1] not in ("/", ".") and "//" not in name and "/." not in name:
        return name
    parts = [part for part in name.split("/") if part not in ("", ".")]
    while ".." in parts:
        parts = parts[parts.index("..") + 1 :]
    return "/".join(parts)


def resolve_links(entries: Mapping[str, M | SymbolicLink]) -> tuple[dict[str, M], dict[str, str]]:
    """Replace the symbolic links among the members of an archive by the members that they lead to.

    A link to a folder gives a member for each one in that folder, under the name of the link. Returns the members in
    the order of `entries`, and the links that lead to no member, each with the reason.
    """
    links = {name: entry.target for name, entry in entries.items() if isinstance(entry, SymbolicLink)}
    resolver = _LinkResolver(entries, links) if links else None
    members: dict[str, M] = {}
    failures: dict[str, str] = {}
    for name, entry in entries.items():
        if not isinstance(entry, SymbolicLink):
            members[name] = entry
            continue
        assert resolver is not None
        try:
            for alias, target in resolver.follow(name):
                member = entries[target]
                # A member that has the same name as one in a linked folder comes first.
                if not isinstance(member, SymbolicLink) and (alias == name or alias not in entries):
                    members[alias] = member
        except LinkError as error:
            failures[name] = str(error)
    return members, failures


class _LinkResolver:
    """Follows the symbolic `links`, name -> target, of an archive with the members `names`."""

    def __init__(self, names: Collection[str], links: Mapping[str, str]) -> None:
        self._names = names
        self._links = links
        self._contents = _folder_contents(names)
        self._steps = 0

    def follow(self, name: str) -> Iterator[tuple[str, str]]:
        """Yield (alias, name of a file) for the file that the link `name` leads to, or for each file in that folder.

        As in folders on disk, links to a folder above are not followed. Raises LinkError if the link is broken.
        """
        yield from self._follow_file_or_folder(name, name, ())

    def _follow_file_or_folder(self, alias: str, path: str, ancestors: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        target = self._resolve(path)
        if target not in self._contents:
            if target not in self._names:
                raise LinkError(f"the link leads to {target}, which is not in the archive")
            yield alias, target
            return
        if target != path and (target in ancestors or not target or f"{path}/".startswith(f"{target}/")):
            return
        for item in self._contents[target]:
            self._steps += 1
            if self._steps > MAX_LINKED_MEMBERS or len(ancestors) > MAX_LINKED_FOLDERS:
                raise _TooManyLinks("the links of this archive lead to too many files")
            item_alias = alias + item[len(target) :]
            if item in self._contents or item in self._links:
                try:
                    yield from self._follow_file_or_folder(item_alias, item, (*ancestors, target))
                except _TooManyLinks:
                    raise
                except LinkError:
                    pass  # another broken link, which is reported under its own name
            else:
                yield item_alias, item

    def _resolve(self, path: str) -> str:
        """The path without links that `path` leads to. Raises LinkError if it leaves the archive or goes in circles."""
        rest = path.split("/")[::-1]
        resolved: list[str] = []
        followed = 0
        while rest:
            part = rest.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if not resolved:
                    raise LinkError("the link leads out of the archive")
                resolved.pop()
                continue
            resolved.append(part)
            target = self._links.get("/".join(resolved))
            if target is None:
                continue
            followed += 1
            if followed > MAX_LINKS:
                raise LinkError("the link leads in a circle")
            if target.startswith("/"):
                raise LinkError(f"the link leads out of the archive, to {target}")
            resolved.pop()
            rest += target.split("/")[::-1]
        return "/".join(resolved)


def _folder_contents(names: Iterable[str]) -> dict[str, list[str]]:
    """The paths of the files, links and folders in each folder. The top folder is called ''."""
    contents: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        path = name
        while path:
            folder, _, _ = path.rpartition("/")
            is_known = folder in contents
            contents[folder].append(path)
            if is_known or not folder:
                break
            path = folder
    return dict(contents)
