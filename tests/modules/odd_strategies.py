# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user, a file or a driver may say: arguments of modules, files of definitions, values in sysfs."""

from __future__ import annotations

import glob
import importlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from conftest import CARD, OTHER, OTHER_CARD, UUID
from hypothesis import strategies as st
from vhbas import HBAS, WWNN, WWPN

Arguments = dict[str, Any]
Entry = tuple[str, str, str]
Rule = dict[str, Any]

# Seconds for a wait of a module that has nothing to wait for.
SHORT = 0.2
NIC = "0000:3b:00.0"
FUNCTION = "0000:06:00.4"
WWNNS, WWPNS = (WWNN, "5001a4a1000000a3"), (WWPN, "5001a4a0000000a3")
DEVICE = "<device><parent>{}</parent><capability type='{}'>{}</capability></device>"
# What follows them in the capability is left open.
MDEV = DEVICE.format("pci_0000_3d_00_0", "mdev", f"<type id='nvidia-231'/><uuid>{UUID}</uuid>{{}}")
PORT = f"<capability type='fc_host'><wwnn>{WWNN}</wwnn><wwpn>{WWPN}</wwpn></capability>"
VHBA = DEVICE.format("scsi_host3", "scsi_host", f"{{}}{PORT}")
# A call of each module that is right, to be spoiled.
CALLS: dict[str, list[Arguments]] = {
    "mdev": [{"uuid": UUID, "parent": CARD, "type": "nvidia-231"}, {"uuid": UUID, "state": "absent"}],
    "mdev_pool": [{"name": "x", "type": "nvidia-231", "count": "2"}, {"name": "x", "state": "absent"}],
    "ap_mask": [{"adapters": ["5", "0x6"], "domains": ["4-7"]}, {"state": "absent", "queues": ["05.0047"]}],
    "driver": [{"device": CARD, "driver": "vfio-pci"}, {"device": CARD, "state": "absent"}],
    "mig": [
        {"device": CARD, "instances": {"1g.18gb": "3"}},
        {"device": CARD, "types": {"X-1-18C": 1}},
        {"device": CARD, "enabled": False, "state": "inactive"},
    ],
    "sriov": [
        {"device": NIC, "numvfs": "2", "vfs": [{"index": 0, "vlan": 5}]},
        {"device": "pci_0000_3b_00_0", "driver": "vfio-pci"},
        {"device": NIC, "state": "absent", "force": True},
    ],
    "vgpu": [
        {"device": FUNCTION, "type": "NVIDIA A16-4Q", "params": "frame_rate_limiter=0"},
        {"parent": "pci_0000_06_00_0", "index": 1, "type": "711", "placement_id": 4},
        {"device": FUNCTION, "state": "absent", "force": True},
    ],
    "vgpu_pool": [
        {"name": "x", "type": "711", "count": "2", "backend": "vfio", "params": "a=1"},
        {"name": "x", "type": "GRID T4-2Q", "count": "max", "backend": "mdev", "parents": {"numa_node": 0}},
        {"name": "x", "types": {"711": 1, "A16-2Q": "1"}, "in_use": "wait"},
        {"name": "x", "state": "absent", "migrate": True},
    ],
    "vhba": [{"wwnn": WWNN, "wwpn": WWPN}, {"name": "database"}, {"wwnn": WWNN, "wwpn": WWPN, "state": "absent"}],
    "vhba_pool": [{"name": "x", "count": "2"}, {"name": "x", "state": "absent"}],
    "nodedev": [
        {"xml": MDEV.format("")},
        {"xml": VHBA.format("")},
        {"name": f"mdev_{UUID.replace('-', '_')}_0000_3d_00_0"},
    ],
    "nodedev_facts": [{}, {"include": "all", "tree": True, "unlisted": True}, {"xml": True}],
    "mdev_types_facts": [{}, {"type": "GRID T4-2Q"}],
    "vgpu_facts": [{}, {"parent": CARD, "nvidia_smi": False}],
    "vhba_facts": [{}, {"parent": "scsi_host3"}],
    "definition_facts": [{}, {"kinds": ["mdev"]}],
    "boot_engine": [{}],
}
MODULES = tuple(CALLS)
FACTS = tuple(name for name in MODULES if name.endswith("_facts"))

TEXTS = st.one_of(
    st.sampled_from(["", " ", "\n", "\0", "a\nb", "\x1b[31mred", "\u202etxt", "\ufeff", "x" * 5000, "9" * 5000, "nan"]),
    st.sampled_from(
        ["../../etc/passwd", "/", ".", "..", "a/../b", "-1", "0x10", "1e999", "{{ x }}", "%n", "'; ls", "<&>"]
    ),
    st.sampled_from([UUID, UUID.upper(), OTHER, CARD, OTHER_CARD, "pci_0000_3d_00_0", "nvidia-232", "GRID T4-2Q", "x"]),
    st.sampled_from([WWPN, WWNN, "0x" + WWPN, "0" * 16, "f" * 16, *HBAS.values(), "scsi_host3", "scsi_host99", "max"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)
NUMBERS = st.one_of(
    st.sampled_from([0, 1, -1, 4096, 4097, 1 << 31, 1 << 63, 1 << 64, 10**40]),
    st.floats(width=16),
    st.integers(-5, 70),
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)
ANYTHING = st.one_of(
    SCALARS,
    st.recursive(
        SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=6
    ),
    st.sampled_from([50, 200]).map(lambda depth: json.loads("[" * depth + "]" * depth)),
)
OF_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "str": TEXTS,
    "path": TEXTS | st.sampled_from(["/usr", "/opt/nodedev/", "/run", "usr", "/var/../usr"]),
    "bool": st.booleans() | st.sampled_from(["yes", "no", "maybe", 2]),
    "int": NUMBERS,
    # What is longer would be waited for.
    "float": st.sampled_from([0, SHORT, -1, math.nan, -math.inf, "1", "long"]),
}


@st.composite
def values(draw: st.DrawFn, spec: Mapping[str, Any]) -> Any:
    """A value for an option: mostly of its type, which says little of whether it makes sense."""
    kind = spec.get("type", "str")
    if draw(st.integers(0, 5)) == 0:
        return draw(ANYTHING)
    if "choices" in spec:
        return draw(st.sampled_from(spec["choices"]) | TEXTS)
    if kind == "list":
        return draw(st.lists(values({"type": spec["elements"]}), max_size=3))
    if kind == "dict" and "options" in spec:
        known = {name: values(each) for name, each in spec["options"].items()}
        return draw(st.fixed_dictionaries({}, optional=known))
    if kind == "dict":
        return draw(
            st.dictionaries(st.sampled_from(["nvidia/vgpu_params", "remove", "a"]) | TEXTS, SCALARS, max_size=2)
        )
    return draw(OF_TYPE[kind])


@st.composite
def documents(draw: st.DrawFn) -> str:
    """A device's document, right or with something odd in it, or no document at all."""
    inside = draw(
        st.one_of(
            st.sampled_from(
                ["", "<attr name='a' value='1'/>", "<attr name='remove' value='1'/>", "<!-- x -->", "<x/>"]
            ),
            st.sampled_from(["<host>" + "9" * 5000 + "</host>", "<uuid>x</uuid>", "<capability/>", "<type/>", "&#x0;"]),
            TEXTS,
        )
    )
    text = draw(st.sampled_from([MDEV, VHBA])).format(inside)
    start, length = draw(st.integers(0, len(text))), draw(st.sampled_from([0, 0, 1, 5, 40]))
    return text[:start] + draw(st.just("") | TEXTS) + text[start + length :] if draw(st.booleans()) else text


def options(module: str) -> Mapping[str, Any]:
    """The options that a module takes."""
    found = importlib.import_module(f"ansible_collections.hostdev.nodedev.plugins.modules.{module}")
    known: Mapping[str, Any] = getattr(found, "OPTIONS", {})
    return known


@st.composite
def calls(draw: st.DrawFn, module: str, most: int = 3) -> Arguments:
    """Arguments of a module, of which some are not what they should be: ``most`` at most, and one that is unknown."""
    known = options(module)
    given = dict(draw(st.sampled_from(CALLS[module])))
    if "wait_timeout" in known:
        given["wait_timeout"] = SHORT
    for name in draw(st.lists(st.sampled_from(sorted(known)), max_size=most, unique=True)) if known else ():
        given[name] = draw(documents() if name == "xml" else values(known[name]))
    if most and draw(st.integers(0, 20)) == 0:
        given[draw(TEXTS)] = draw(SCALARS)
    return {**given, "_ansible_check_mode": draw(st.booleans())}


# Files of definitions, by the folder that they are in.
FOLDERS = {
    f"/etc/mdevctl.d/{CARD}": (UUID, OTHER, UUID.upper(), "notes.txt", f".{UUID}.swp", f"{UUID}~", "\udcff"),
    "/etc/mdevctl.d/0000:99:00.0": (UUID, OTHER),
    "/etc/mdevctl.d": (CARD, "0000:99:00.0", "README", "a\nb", ".hidden", "scripts.d"),
    "/etc/nodedev.d/vhba": (f"{WWPN}.json", f"{WWPN.upper()}.json", "x.json", ".nodedev-x.json", "a\nb.json", ".json"),
    "/etc/nodedev.d/sriov": (f"{NIC}.json", "3b:00.0.json", "x.json", "a\nb.json", ".json"),
    "/etc/nodedev.d/vgpu": (f"{FUNCTION}.json", "06:00.4.json", "x.json", "a\nb.json", ".json"),
    "/run/nodedev.d/vgpu": (f"{FUNCTION}.json",),
    "/etc/nodedev.d/pool": ("x.json", "y.json", "a\nb.json", ".json", "x"),
    "/run/nodedev.d/pool": ("x.json",),
    "/etc/nodedev.d": ("vhba", "sriov", "vgpu", "pool", "other"),
}
RIGHT: list[dict[str, Any]] = [
    {"mdev_type": "nvidia-231", "start": "auto", "attrs": [{"nvidia/vgpu_params": "a=1"}]},
    {"mdev_type": "nvidia-999", "start": "manual", "attrs": []},
    {"version": 1, "wwnn": WWNN, "wwpn": WWPN, "parent_wwpn": HBAS[3], "require_online": True},
    {"version": 1, "numvfs": 2, "driver": "vfio-pci", "vfs": [{"index": 0, "mac": "02:00:00:00:00:01"}]},
    {"version": 1, "type": 711, "title": "NVIDIA A16-4Q", "params": "frame_rate_limiter=0", "placement_id": 4},
    {
        "version": 1,
        "kind": "mdev",
        "wish": {"type": "nvidia-231", "count": 1, "parents": {}, "attrs": []},
        "instances": [{"index": 0, "id": UUID, "parent": CARD}],
    },
    {
        "version": 1,
        "kind": "vgpu",
        "type": "A16-4Q",
        "type_id": 711,
        "count": 1,
        "most": {"0000:06:00.0": 4},
        "instances": [{"index": 0, "id": FUNCTION, "parent": FUNCTION}],
    },
    {"version": 1, "kind": "vhba", "wish": {"count": 1}, "instances": [{"index": 0, "id": WWPN, "parent": HBAS[3]}]},
]


@st.composite
def texts_of_files(draw: st.DrawFn) -> str:
    """What stands in a file, as Latin-1: right, spoiled, or no JSON at all."""
    if draw(st.integers(0, 3)) == 0:
        return draw(st.binary(max_size=20)).decode("latin-1")
    found: Any = draw(st.sampled_from(RIGHT))
    for key in draw(st.lists(st.sampled_from(sorted(found)), max_size=2, unique=True)):
        found = {**found, key: draw(ANYTHING)}
    deep = draw(st.integers(0, 30)) == 0
    text = "[" * 100000 if deep else json.dumps(draw(st.just(found) | ANYTHING))
    return text[: draw(st.integers(0, len(text)))] if draw(st.integers(0, 4)) == 0 else text


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    """Something in a folder of definitions: its path, what it is and what is in it."""
    folder = draw(st.sampled_from(sorted(FOLDERS)))
    path = f"{folder}/{draw(st.sampled_from(FOLDERS[folder]))}"
    kind = draw(st.sampled_from(["file", "file", "file", "file", "link", "folder", "fifo"]))
    if kind == "link":
        return path, kind, draw(st.sampled_from([path.rpartition("/")[2], "/dev/zero", "/etc/passwd", "gone", "/"]))
    return path, kind, draw(texts_of_files()) if kind == "file" else ""


# Files of sysfs that no module reads, and those that modules write.
UNREAD = frozenset(("control", "modalias", "subsystem_vendor", "subsystem_device", "revision", "dev_loss_tmo", "power"))
WRITTEN = frozenset(("create", "remove", "vport_create", "vport_delete", "scan"))
ERRNOS = ["EIO", "EACCES", "EPERM", "ENODEV", "ENXIO", "ENOENT", "EINVAL", "ELOOP", "ENOMEM", "EBUSY"]
CONTENTS = st.one_of(
    st.sampled_from(["", "\n", "N/A\n", "-1\n", "0x10\n", "4294967296\n", "\0\0", "a\nb\n", "9" * 4096, "x" * 4096]),
    st.sampled_from(["\udcff\udcfe\n", "\x1b[31m\n", "\u202e\n", "1.5\n", "no\n", "=\n", "DEVTYPE=disk\nMAJOR=x\n"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
)
TARGETS = st.sampled_from(["", ".", "/", "gone", "../gone", "../../7x", "/dev/null", "\udcff", "a\nb", "x" * 255])


def rules(files: Sequence[str], links: Sequence[str], folders: Sequence[str]) -> st.SearchStrategy[Rule]:
    """A file, a link or a folder of sysfs that answers oddly or not at all, of one device or of all that have it."""

    def rule(paths: Sequence[str], op: str, said: st.SearchStrategy[str] | None) -> st.SearchStrategy[Rule]:
        answers = [st.sampled_from(ERRNOS).map(lambda name: {"errno": name})]
        if said is not None:
            answers.append(said.map(lambda text: {"content": text}))
        read = [path for path in paths if path.rpartition("/")[2] not in UNREAD]
        names = sorted({path.rpartition("/")[2] for path in read})
        one = st.sampled_from(read).map(glob.escape)
        every = st.sampled_from(names).map(lambda name: f"*/{glob.escape(name)}")
        places = (one | every).map(lambda path: {"path": path, "op": op})
        return st.tuples(places, st.one_of(answers)).map(lambda pair: {**pair[0], **pair[1]})

    written = rule([path for path in files if path.rpartition("/")[2] in WRITTEN], "write", None)
    files_and_links = [rule(files, "read", CONTENTS), rule(files, "read", CONTENTS), rule(links, "read", TARGETS)]
    return st.one_of(*files_and_links, rule(folders, "list", None), written)
