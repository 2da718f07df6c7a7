# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps what Python compiles of the payloads that Ansible sends, in the folder COMPILED_PAYLOADS, by its content.

A module's library comes in an archive with each task, and its compilation takes longer than most modules. What runs is
what was sent: a file that differs in one byte is another one. Python imports this as it starts (plays.py).
"""

import _imp
import marshal
import os
import zipimport
from importlib.util import source_hash
from types import CodeType

FOLDER = os.environ["COMPILED_PAYLOADS"]

compile_source = zipimport._compile_source


def compiled(path: str, source: bytes) -> CodeType:
    """What zipimport compiles, from the last time that it had this source to compile."""
    kept = f"{FOLDER}/{source_hash(source).hex()}"
    try:
        with open(kept, "rb") as stream:
            code: CodeType = marshal.load(stream)
    except FileNotFoundError:
        code = compile_source(path, source)
        # Process ids are those of one host, and the folder is for all.
        with open(f"{kept}.{os.urandom(8).hex()}", "wb") as stream:
            marshal.dump(code, stream)
        os.rename(stream.name, kept)
    else:
        _imp._fix_co_filename(code, path)
    return code


zipimport._compile_source = compiled
