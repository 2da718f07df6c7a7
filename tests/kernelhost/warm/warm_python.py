# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs Python scripts in forks of one interpreter that has imported Ansible's library for modules.

Under emulation four fifths of a task are the start of Python, and the compilation and import of that library, which
Ansible sends with each task, and of ours. Here this is done once. Of our library only that is used which the payload
has too, with the same content; where one file of it differs, and for all else, our modules among it, the payload itself
is imported, but what was compiled once is kept by its content. The script gets the caller's arguments, streams,
environment, folder and umask, and its exit code is the caller's.

systemd starts this at the first request (warm-python.socket). A request is the process id of a caller, which waits
for its exit code on a FIFO of its own (warm-python).
"""

from __future__ import annotations

import _imp
import ctypes
import importlib
import importlib.util
import marshal
import os
import select
import signal
import sys
import zipfile
import zipimport
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType

from forked_script import end, status_of

REQUESTS = 3
REPLIES = Path("/run/warm-python")
LIBRARY = str(Path(__file__).parent / "library")
COMPILED = Path("/var/cache/warm-python")
SYS_PIDFD_GETFD = 438
OURS = "ansible_collections.hostdev.nodedev.plugins.module_utils"
# These import most others that modules need.
IMPORTS = (
    "ansible.module_utils._internal._ansiballz._loader",
    "ansible.module_utils.basic",
    "base64",
    "configparser",
    "encodings.cp437",
    "lxml.etree",
    "pyudev",
    "runpy",
    "shutil",
    "tempfile",
    "uuid",
)

compile_source = zipimport._compile_source
module_code = zipimport._get_module_code
seen: dict[tuple[str, str], tuple[object, ...]] = {}


@dataclass(frozen=True)
class Source:
    """A file of our library that was imported: its path in a payload, its size, and its checksum as of zip."""

    path: str
    size: int
    checksum: int


ours: dict[str, Source] = {}


def compiled(path: str, source: bytes) -> CodeType:
    """What zipimport compiles, from the last time that it had this source to compile."""
    kept = f"{COMPILED}/{importlib.util.source_hash(source).hex()}"
    try:
        with open(kept, "rb") as stream:
            code: CodeType = marshal.load(stream)
    except FileNotFoundError:
        code = compile_source(path, source)
        with open(f"{kept}.{os.getpid()}", "wb") as stream:
            marshal.dump(code, stream)
        os.rename(stream.name, kept)
    else:
        _imp._fix_co_filename(code, path)
    return code


def code_of(importer: zipimport.zipimporter, name: str) -> tuple[object, ...]:
    """What zipimport makes of a module: it asks for it twice, once to find it and once to run it."""
    key = importer.archive, importer.prefix + name
    if key[1] == OURS.partition(".")[0]:
        take_ours_for_those_of(importer)
    if key not in seen:
        seen[key] = module_code(importer, name)
    return seen[key]


def import_ours() -> None:
    """Import our library, and remember of what files; what is above it comes from the payload."""
    root = Path(LIBRARY, *OURS.split("."))
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(LIBRARY).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        importlib.import_module(name)
        content = path.read_bytes()
        ours[name] = Source(str(path.relative_to(LIBRARY)), len(content), zlib.crc32(content))
    above = OURS
    while above := above.rpartition(".")[0]:
        del sys.modules[above]


def take_ours_for_those_of(payload: zipimport.zipimporter) -> None:
    """Have what a payload has of our library as if imported from there: all of it, or none if one file differs."""
    with zipfile.ZipFile(payload.archive) as archive:
        there = {entry.filename: Source(entry.filename, entry.file_size, entry.CRC) for entry in archive.infolist()}
    kept = {name: source for name, source in ours.items() if source.path in there}
    if any(there[source.path] != source for source in kept.values()):
        kept = {}
    for name in ours.keys() - kept.keys():
        del sys.modules[name]
        package, _dot, own = name.rpartition(".")
        if package in kept:
            delattr(sys.modules[package], own)
    for name, source in kept.items():
        module = sys.modules[name]
        spec = module.__spec__
        assert spec is not None
        module.__file__ = spec.origin = os.path.join(payload.archive, source.path)
        module.__loader__ = spec.loader = payload
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations[:] = [os.path.dirname(module.__file__)]
    ours.clear()


def take_the_place_of(pid: int) -> list[str]:
    """Have the streams, environment, folder and umask of a process; returns its arguments, which a shell script has."""
    process = os.pidfd_open(pid)
    for stream in range(3):
        taken = ctypes.CDLL(None).syscall(SYS_PIDFD_GETFD, process, stream, 0)
        os.dup2(taken, stream)
        os.close(taken)
    os.close(process)
    of = Path(f"/proc/{pid}")
    os.chdir(of / "cwd")
    os.umask(int((of / "status").read_text().partition("Umask:")[2].split()[0], 8))
    os.environ.clear()
    for entry in filter(None, (of / "environ").read_bytes().split(b"\0")):
        name, value = entry.split(b"=", 1)
        os.environb[name] = value
    # As Python does where nothing else is set (PEP 538).
    if not os.environ.keys() & {"LANG", "LC_ALL", "LC_CTYPE"}:
        os.environ["LC_CTYPE"] = "C.UTF-8"
    return [os.fsdecode(word) for word in (of / "cmdline").read_bytes().split(b"\0")[2:-1]]


def fork_for(pid: int) -> list[str] | None:
    """Fork twice. The process that is to run the script has its arguments; its parent waits for it and answers."""
    if os.fork():
        return None
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    os.close(REQUESTS)
    script = os.fork()
    if script == 0:
        return take_the_place_of(pid)
    status = os.waitstatus_to_exitcode(os.waitpid(script, 0)[1])
    reply = REPLIES / f"reply.{pid}"
    with reply.open("w") as stream:
        reply.unlink()
        # A signal as a shell says it.
        stream.write(f"{status if status >= 0 else 128 - status}\n")
    os._exit(0)


def serve() -> list[str]:
    """Take requests for ever; returns in the processes that are to run a script, with its arguments."""
    requests = select.poll()
    requests.register(REQUESTS, select.POLLIN)
    while True:
        requests.poll()
        for pid in os.read(REQUESTS, 4096).split():
            arguments = fork_for(int(pid))
            if arguments is not None:
                return arguments


def main_of(arguments: list[str]) -> tuple[CodeType, dict[str, object]]:
    """A script's code and its module's names: a file, or standard input where there are no arguments."""
    sys.argv[:] = arguments or [""]
    name = arguments[0] if arguments else "<stdin>"
    source = Path(name).read_bytes() if arguments else sys.stdin.buffer.read()
    sys.path.insert(0, os.path.dirname(os.path.realpath(name)) if arguments else "")
    main = sys.modules["__main__"] = ModuleType("__main__")
    main.__file__ = name
    return compile(source, name, "exec"), main.__dict__


sys.path[0] = LIBRARY
for name in IMPORTS:
    importlib.import_module(name)
import_ours()
# What else is below it, such as ansible.modules, comes from the payload, whose package of this name is small.
del sys.modules["ansible"], sys.path[0]
COMPILED.mkdir(exist_ok=True)
zipimport._compile_source = compiled
zipimport._get_module_code = code_of
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
code, names = main_of(serve())
end(status_of(lambda: exec(code, names)))
