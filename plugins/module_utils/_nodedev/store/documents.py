# SPDX-License-Identifier: GPL-3.0-or-later
"""What is kept in documents of our own: JSON with a version, one file each, in a folder of their kind below STORE.

What is not meant to outlast the boot is kept below RUNTIME. files.py reads them tolerantly and writes them whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from ..errors import NodedevError
from ..plan import Step
from . import files
from .files import DamagedDefinition, Document


class Kept(Protocol):
    """What can be kept."""

    @property
    def path(self) -> str:
        """Where it is kept."""

    def document(self) -> Document:
        """It as it is written, without the version."""


D = TypeVar("D", bound=Kept)


@dataclass(frozen=True)
class Documents(Generic[D]):
    """The documents of a kind. ``decode`` understands the one of a path; it raises DamagedDefinition.

    ``lasting`` says that some may stand below STORE, ``runtime`` that some may stand below RUNTIME.
    """

    kind: str
    decode: Callable[[str, Document], D]
    runtime: bool = False
    lasting: bool = True

    @property
    def roots(self) -> tuple[str, ...]:
        """Below what folders they may stand."""
        return (*((files.STORE,) if self.lasting else ()), *((files.RUNTIME,) if self.runtime else ()))

    def paths(self, name: str) -> list[str]:
        """Where the document of this name may stand."""
        return [files.document_path(self.kind, name, root) for root in self.roots]

    def read(self, path: str) -> D | None:
        """The document of this path; None where there is none. Raises DamagedDefinition."""
        document = files.document(path)
        return None if document is None else self.decode(path, document)

    def find(self, name: str) -> D | None:
        """The document of this name, the first where there are several. Raises DamagedDefinition."""
        return next((found for found in map(self.read, self.paths(name)) if found is not None), None)

    def look(self, name: str) -> tuple[D | None, DamagedDefinition | None]:
        """The same, or what cannot be understood of it."""
        try:
            return self.find(name), None
        except DamagedDefinition as error:
            return None, error

    def all(self) -> tuple[list[D], list[DamagedDefinition]]:
        """All of them by name, and the files that cannot be understood."""
        found: list[D] = []
        damaged: list[DamagedDefinition] = []
        for name in sorted({name for root in self.roots for name in files.document_names(self.kind, root)}):
            try:
                document = self.find(name)
            except DamagedDefinition as error:
                damaged.append(error)
            else:
                found += [] if document is None else [document]
        return found, damaged

    def clear_up(self, name: str) -> None:
        """Remove what a killed run left of writing this document, whose lock the caller holds."""
        for path in self.paths(name):
            files.clear_up(path)

    def change(self, described: str, name: str, target: D | None, former: D | None) -> Step:
        """The step after which ``target`` is the document of this name, or none; ``former`` is the one there is."""
        return Step(described, lambda: self._leave(name, target), lambda: self._leave(name, former))

    def _leave(self, name: str, target: D | None) -> None:
        """Have this document and no other: a killed run may have left one in each place."""
        if target is not None:
            files.write_document(target.path, target.document())
        for path in self.paths(name):
            if target is None or path != target.path:
                files.remove(path)

    def check(self, target: D, what: str, understood: Callable[[D], object] = lambda _target: None) -> None:
        """Raise NodedevError, saying ``what`` cannot be done, where a document could not be read again.

        ``understood`` raises DamagedDefinition for what ``decode`` leaves open.
        """
        try:
            text = json.dumps(target.document(), ensure_ascii=False)
            text.encode()
            again = self.decode(target.path, files.from_json(target.path, text))
            understood(again)
        except (DamagedDefinition, UnicodeEncodeError) as error:
            reason = error.reason if isinstance(error, DamagedDefinition) else "it is not UTF-8 text"
            raise NodedevError(f"{what} so that it can be read again: {reason}") from error
        if again != target:
            raise NodedevError(f"{what} so that it can be read again")


def name_of(path: str) -> str:
    """The name of the document that is kept there."""
    return os.path.basename(path)[: -len(files.SUFFIX)]
