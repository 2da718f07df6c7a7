# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that asks NVIDIA's library where on its card a vGPU may stand, in a process of its own.

nvml.py hands its text to Python, so that it imports nothing of ours. Structures and functions are those of nvml.h from
NVML 12.8 on, which is that of driver 570: nvmlVgpuPlacementList_v2_t, and what it says of each function.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any

LIBRARY = "libnvidia-ml.so.1"
INIT, CARD = "nvmlInit_v2", "nvmlDeviceGetHandleByPciBusId_v2"
MOST = "nvmlVgpuTypeGetMaxInstances"
SUPPORTED, CREATABLE = "nvmlDeviceGetVgpuTypeSupportedPlacements", "nvmlDeviceGetVgpuTypeCreatablePlacements"
SUCCESS, INSUFFICIENT_SIZE, OTHER_VERSION = 0, 7, 25
HETEROGENEOUS = 0
# Ids are below 0xFFFF, which stands for none.
ROOM = 0xFFFF


class PlacementList(ctypes.Structure):
    _fields_ = (
        ("version", ctypes.c_uint),
        ("size", ctypes.c_uint),
        ("count", ctypes.c_uint),
        ("ids", ctypes.POINTER(ctypes.c_uint)),
        ("mode", ctypes.c_uint),
    )


VERSION = ctypes.sizeof(PlacementList) | 2 << 24


class Refused(Exception):
    """A function that did not succeed: its name, what it returned, None where the library lacks it, and in words."""


class Library:
    def __init__(self) -> None:
        self.functions = ctypes.CDLL(LIBRARY)
        self.ids = (ctypes.c_uint * ROOM)()

    def returned(self, name: str, *arguments: object) -> int:
        """What a function returns; Refused where there is none of this name."""
        try:
            return int(getattr(self.functions, name)(*arguments))
        except AttributeError:
            raise Refused(name, None, "") from None

    def call(self, name: str, *arguments: object) -> None:
        self.check(name, self.returned(name, *arguments))

    def check(self, name: str, code: int) -> None:
        if code != SUCCESS:
            raise Refused(name, code, self.words(code))

    def words(self, code: int) -> str:
        try:
            told = self.functions.nvmlErrorString
            told.restype = ctypes.c_char_p
            return bytes(told(code) or b"").decode("utf-8", "replace")
        except AttributeError:
            return ""

    def card(self, address: str) -> ctypes.c_void_p:
        card = ctypes.c_void_p()
        self.call(CARD, address.encode(), ctypes.byref(card))
        return card

    def placements(self, name: str, card: ctypes.c_void_p, type: int) -> tuple[int, int, list[int]]:
        """The slots that one of a type takes, how many ids the function of this name tells, and these."""
        most = ctypes.c_uint()
        self.call(MOST, card, ctypes.c_uint(type), ctypes.byref(most))
        found = PlacementList(VERSION, 0, min(most.value, ROOM), self.ids, HETEROGENEOUS)
        code = self.returned(name, card, ctypes.c_uint(type), ctypes.byref(found))
        if code == INSUFFICIENT_SIZE and found.count <= ROOM:
            code = self.returned(name, card, ctypes.c_uint(type), ctypes.byref(found))
        self.check(name, code)
        return found.size, found.count, self.ids[: min(found.count, ROOM)]


def type_of(library: Library, card: ctypes.c_void_p, type: int) -> Any:
    try:
        return [library.placements(name, card, type) for name in (SUPPORTED, CREATABLE)]
    except Refused as refusal:
        return {"refused": refusal.args}


def card_of(library: Library, address: str, types: Iterable[int]) -> dict[str, Any]:
    try:
        card = library.card(address)
    except Refused as refusal:
        return {"refused": refusal.args}
    return {"types": {type: type_of(library, card, type) for type in types}}


def answer(cards: Mapping[str, Iterable[int]]) -> dict[str, Any]:
    """What is told of types by their ids, of cards by their addresses, as data."""
    try:
        library = Library()
    except OSError as error:
        return {"lacking": str(error)}
    try:
        library.call(INIT)
    except Refused as refusal:
        return {"refused": refusal.args}
    return {"cards": {address: card_of(library, address, types) for address, types in cards.items()}}


def main(cards: Mapping[str, Iterable[int]]) -> None:
    # What the library itself prints is on the lines before, and at its end it prints nothing any more.
    sys.stdout.write(f"\n{json.dumps(answer(cards))}\n")
    sys.stdout.flush()
    os._exit(0)
