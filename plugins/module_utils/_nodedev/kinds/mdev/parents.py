# SPDX-License-Identifier: GPL-3.0-or-later
"""The parents of mediated devices that a pool may use: those that a selector chooses and that have its types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from ...errors import BadInput
from ...host import mdev_parents, vgpu_types
from ...host.oddities import Oddities
from ...names import called
from ...pools import selector as selectors
from ...pools.selector import Candidate, Chosen, Selector


@dataclass(frozen=True)
class Parent:
    """A parent that can be used; ``type`` is the kernel's id there of the type that is wished.

    ``free`` is what it says it can take now, ``most`` what its whole card can take, None where that is not told. For a
    mix, ``title`` is the type's name, and ``framebuffer`` the memory that one takes, in MiB.
    """

    address: str
    name: str
    card: str
    type: str
    device_api: str | None
    free: int
    most: int | None = None
    title: str | None = None
    framebuffer: int | None = None


@dataclass(frozen=True)
class Choice:
    """The parents that have the type, and of those that are chosen but lack it what they offer instead.

    ``offers`` are the vendors' names of their types by id; ``chosen`` says what became of the rest. ``instead`` is what
    is there where no parent is. ``oddities`` are warnings of what parents say that makes no sense.
    """

    parents: tuple[Parent, ...]
    offers: Mapping[str, Mapping[str, str | None]]
    chosen: Chosen = field(default_factory=Chosen)
    instead: tuple[str, ...] = ()
    oddities: tuple[str, ...] = ()


def choose(selector: Selector, wanted: str | None) -> Choice:
    """The registered parents that the selector takes and that have the wished type, by its id or its vendor's name.

    Raises BadInput where several types of a parent have the name.
    """
    parents: list[Parent] = []
    offers: dict[str, dict[str, str | None]] = {}
    titles: dict[str, str | None] = {}
    oddities = Oddities()
    registered, chosen = _chosen(selector, oddities)
    kinds_of = {parent.address: mdev_parents.kinds(parent.path) for parent in chosen.candidates}
    for parent in chosen.candidates:
        kinds = kinds_of[parent.address]
        for kind in () if wanted in kinds else kinds:
            # Parents of one kind have the same, and one that does not tell may be such a one.
            titles[kind] = titles.get(kind) or mdev_parents.title(parent.path, kind, oddities)
    for parent in chosen.candidates:
        kinds = kinds_of[parent.address]
        found = wanted if wanted in kinds else _called(wanted, parent.address, kinds, titles)
        if found is None:
            offers[parent.address] = {kind: titles.get(kind) for kind in kinds}
        else:
            parents.append(_parent(parent, found))
    return _choice(parents, offers, registered, chosen, oddities)


def every_type(selector: Selector) -> Choice:
    """The registered parents that the selector takes, each once for each of its types that has a number."""
    parents: list[Parent] = []
    offers: dict[str, dict[str, str | None]] = {}
    # What the parents of one card have alike.
    alike: dict[tuple[str, str], Parent] = {}
    oddities = Oddities()
    registered, chosen = _chosen(selector, oddities)
    for candidate in chosen.candidates:
        path, kinds = candidate.path, mdev_parents.kinds(candidate.path)
        numbered = [kind for kind in kinds if vgpu_types.number(kind) is not None]
        if not numbered:
            offers[candidate.address] = mdev_parents.titles(path, oddities)
        for kind in numbered:
            key = candidate.card, kind
            if key not in alike:
                alike[key] = _with_memory(candidate, kind)
            free = candidate.oddities.number(f"{path}/mdev_supported_types/{kind}/available_instances") or 0
            parents.append(replace(alike[key], address=candidate.address, name=candidate.name, free=free))
    return _choice(parents, offers, registered, chosen, oddities)


def _with_memory(candidate: Candidate, kind: str) -> Parent:
    """A parent with one of its types, as far as that can be read: of others in the way, no more is needed."""
    folder = f"{candidate.path}/mdev_supported_types/{kind}"
    title, api, description = (
        candidate.oddities.text(f"{folder}/{file}") for file in ("name", "device_api", "description")
    )
    return Parent(
        address=candidate.address,
        name=candidate.name,
        card=candidate.card,
        type=kind,
        device_api=api,
        free=0,
        most=mdev_parents.most_of(description),
        title=title,
        framebuffer=mdev_parents.framebuffer_of(description) or vgpu_types.framebuffer(title or ""),
    )


def _chosen(selector: Selector, oddities: Oddities) -> tuple[dict[str, str], Chosen]:
    """The folders of all registered parents, and those that are chosen."""
    registered = mdev_parents.paths()
    return registered, selectors.choose(selector, registered, mdev_parents.why_not, oddities)


def _choice(
    parents: Iterable[Parent],
    offers: Mapping[str, Mapping[str, str | None]],
    registered: Mapping[str, str],
    chosen: Chosen,
    oddities: Oddities,
) -> Choice:
    return Choice(
        parents=tuple(parents),
        offers=offers,
        chosen=replace(chosen, candidates=()),
        instead=() if registered else tuple(oddities.attempt(mdev_parents.why_none) or ()),
        oddities=tuple(oddities.warnings),
    )


def _called(wanted: str | None, address: str, kinds: Iterable[str], titles: Mapping[str, str | None]) -> str | None:
    """The type of this name, by the names of all."""
    ids = [kind for kind in kinds if wanted is not None and titles[kind] == wanted]
    if len(ids) > 1:
        raise BadInput("type", wanted, f"{called(address)} has several types of that name, use an id: {', '.join(ids)}")
    return ids[0] if ids else None


def _parent(candidate: Candidate, kind: str) -> Parent:
    address, path, card = candidate.address, candidate.path, candidate.card
    return Parent(
        address=address,
        name=candidate.name,
        card=card,
        type=kind,
        device_api=candidate.oddities.text(f"{path}/mdev_supported_types/{kind}/device_api"),
        free=mdev_parents.free(path, kind, candidate.oddities) or 0,
        # A parent that is its own card knows what is free.
        most=mdev_parents.most_on_card(path, kind, candidate.oddities) if candidate.is_function else None,
    )
