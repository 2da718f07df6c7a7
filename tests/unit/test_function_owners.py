# SPDX-License-Identifier: GPL-3.0-or-later
"""Who else has the functions of a card made, by the files that say so; they are read below a folder of the test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import function_owners
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.function_owners import Card, warnings

CARD = Card("0000:3b:00.0", ("eth0",), ("02:00:00:00:00:0a",), "igb")
GPU = Card("0000:3b:00.0", driver="nvidia", is_nvidia=True)
PROFILES, NETWORK, UNITS = "etc/NetworkManager/system-connections", "etc/systemd/network", "etc/systemd/system"
RULES = "etc/udev/rules.d"
SRIOV = "[connection]\nid=x\n{}[sriov]\ntotal-vfs=4\n"
NM = "has NetworkManager make 4 with the connection, and none without it"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which all places are looked for."""
    for name in ("NM_PROFILES", "NM_FOLDERS", "NETWORKD", "RULE_FOLDERS", "OPERATOR"):
        monkeypatch.setattr(
            function_owners, name, tuple(f"{tmp_path}{place}" for place in getattr(function_owners, name))
        )
    for name in ("NM_CONFIG", "UNITS", "GPU_OPERATOR"):
        monkeypatch.setattr(function_owners, name, f"{tmp_path}{getattr(function_owners, name)}")
    return tmp_path


def write(root: Path, path: str, text: str = "") -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def owners(root: Path, card: Card = CARD) -> str:
    """The warnings without the test's folder."""
    return " | ".join(warnings(card)).replace(f"{root}/", "/")


FOUND: list[tuple[str, str, str, str]] = [
    ("a profile of the interface", f"{PROFILES}/a", SRIOV.format("interface-name=eth0\n"), NM),
    ("a profile of any interface", f"{PROFILES}/a", SRIOV.format(""), NM),
    ("a profile of the MAC", f"{PROFILES}/a", SRIOV.format("[ethernet]\nmac-address=02:00:00:00:00:0A\n"), NM),
    ("a profile at run time", "run/NetworkManager/system-connections/a", SRIOV.format(""), NM),
    ("functions of a profile", f"{PROFILES}/a", "[sriov]\nvf.0=mac=02:00:00:00:00:01\n", NM.replace("4", "0")),
    ("NetworkManager.conf", "etc/NetworkManager/NetworkManager.conf", "[device]\nsriov-num-vfs=3\n", "make 3"),
    (
        "its folder",
        "etc/NetworkManager/conf.d/a.conf",
        "[device-x]\nmatch-device=interface-name:eth*\nsriov-num-vfs=3\n",
        "make 3",
    ),
    ("a link", f"{NETWORK}/a.link", "[Match]\nOriginalName=eth*\n[Link]\nSR-IOVVirtualFunctions=5\n", "udevd make 5"),
    (
        "a link of the path",
        f"{NETWORK}/a.link",
        "[Match]\nPath=pci-0000:3b:*\n[SR-IOV]\nVirtualFunction=0\n",
        "udevd set",
    ),
    (
        "a network",
        f"{NETWORK}/a.network",
        "[Match]\nName=eth0\n[SR-IOV]\nVirtualFunction=1\n",
        "networkd set function 1",
    ),
    ("a network of the driver", "usr/lib/systemd/network/a.network", "[Match]\nDriver=igb\n[SR-IOV]\n", "function ?"),
    ("a rule", f"{RULES}/9.rules", 'KERNEL=="eth0", ATTR{device/sriov_numvfs}="2"\n', "has udev write sriov_numvfs"),
    ("a rule with a program", f"{RULES}/9.rules", "RUN+=\"/bin/sh -c 'echo 2 > /x/sriov_numvfs'\"\n", "has udev write"),
    ("a rule in two lines", f"{RULES}/9.rules", 'KERNELS=="0000:3b:00.0", \\\n ATTR{sriov_numvfs}="2"\n', "has udev"),
    ("a rule for several", f"{RULES}/9.rules", 'KERNEL=="eth1|eth0", ATTR{device/sriov_numvfs}="2"\n', "has udev"),
    (
        "a rule for several addresses",
        f"{RULES}/9.rules",
        'KERNEL=="0000:3b:00.1|0000:3b:00.0", ATTR{sriov_numvfs}="2"\n',
        "has udev",
    ),
    ("a rule for both ports", f"{RULES}/9.rules", 'KERNEL=="0000:3b:00.[01]", ATTR{sriov_numvfs}="2"\n', "has udev"),
    ("a profile of several", f"{PROFILES}/a", SRIOV.format("[match]\ninterface-name=|eth7;|eth0;\n"), NM),
    ("a profile of all but one", f"{PROFILES}/a", SRIOV.format("[match]\ninterface-name=!eth1;\n"), NM),
    (
        "NetworkManager's pattern",
        "etc/NetworkManager/conf.d/a.conf",
        "[device-x]\nmatch-device=interface-name:~eth*\nsriov-num-vfs=3\n",
        "make 3",
    ),
    ("an operator", "etc/sriov-operator/x", "", "is of the sriov-network-operator"),
    ("an operator's unit", f"{UNITS}/sriov-config.service", "", "is of the sriov-network-operator"),
]


@pytest.mark.parametrize(("path", "text", "what"), [each[1:] for each in FOUND], ids=[each[0] for each in FOUND])
def test_an_owner_is_named(root: Path, path: str, text: str, what: str) -> None:
    write(root, path, text)
    told = owners(root)
    assert told.startswith("others have the virtual functions of pci_0000_3b_00_0 (0000:3b:00.0) made or removed too")
    assert what in told
    assert f"/{path}" in told or f"/{os.path.dirname(path)} " in told


PASSED: list[tuple[str, str, str]] = [
    ("a profile of another interface", f"{PROFILES}/a", SRIOV.format("interface-name=eth1\n")),
    ("a profile of another MAC", f"{PROFILES}/a", SRIOV.format("[ethernet]\nmac-address=02:00:00:00:00:0B\n")),
    ("a profile without functions", f"{PROFILES}/a", "[connection]\ninterface-name=eth0\n"),
    ("a comment", f"{PROFILES}/a", "#[sriov]\n[connection]\n#sriov=1\n"),
    (
        "another device",
        "etc/NetworkManager/conf.d/a.conf",
        "[device-x]\nmatch-device=interface-name:wl*\nsriov-num-vfs=3\n",
    ),
    ("another link", f"{NETWORK}/a.link", "[Match]\nOriginalName=wl*\n[Link]\nSR-IOVVirtualFunctions=5\n"),
    ("another path", f"{NETWORK}/a.link", "[Match]\nPath=pci-0000:af:*\n[SR-IOV]\nVirtualFunction=0\n"),
    ("a rule that only reads", f"{RULES}/9.rules", 'ATTR{sriov_numvfs}=="0", TAG+="x"\n'),
    ("a rule that is a comment", f"{RULES}/9.rules", '# ATTR{sriov_numvfs}="2"\n'),
    ("a rule for another card", f"{RULES}/9.rules", 'KERNELS=="0000:af:00.0", ATTR{sriov_numvfs}="2"\n'),
    ("a rule for other ports", f"{RULES}/9.rules", 'KERNEL=="0000:af:00.[01]", ATTR{sriov_numvfs}="2"\n'),
    ("a profile of all others", f"{PROFILES}/a", SRIOV.format("[match]\ninterface-name=&!eth0\n")),
    ("what belongs to no link", f"{NETWORK}/a.link.d/b.conf", "[Link]\nSR-IOVVirtualFunctions=5\n"),
    ("a rule for another interface", f"{RULES}/9.rules", 'NAME=="eth7", ATTR{device/sriov_numvfs}="2"\n'),
    ("no rule", f"{RULES}/readme", 'ATTR{sriov_numvfs}="2"\n'),
    ("Proxmox' unit of a GPU", f"{UNITS}/multi-user.target.wants/pve-nvidia-sriov@ALL.service", ""),
    ("odd text", f"{PROFILES}/a", "=\n[\n]\n[]\n[x\n\x00=\x00\n"),
]


@pytest.mark.parametrize(("path", "text"), [each[1:] for each in PASSED], ids=[each[0] for each in PASSED])
def test_who_is_none(root: Path, path: str, text: str) -> None:
    write(root, path, text)
    assert owners(root) == ""


@pytest.mark.parametrize(("instance", "named"), [("ALL", True), ("0000:3b:00.0", True), ("0000:af:00.0", False)])
def test_proxmox(root: Path, instance: str, named: bool) -> None:
    write(root, f"{UNITS}/multi-user.target.wants/pve-nvidia-sriov@{instance}.service")
    assert ("has Proxmox enable them by sriov-manage at boot" in owners(root, GPU)) == named


def test_the_gpu_operator(root: Path) -> None:
    (root / "run/nvidia/driver").mkdir(parents=True)
    assert "/run/nvidia/driver is of the gpu-operator" in owners(root, GPU)
    assert owners(root) == ""
    # Also for whoever makes vGPUs of the functions, once for each card.
    told = function_owners.of_gpus([GPU.address, "0000:af:00.0"])
    assert [each.partition(" made or removed")[0] for each in told] == [
        "others have the virtual functions of pci_0000_3b_00_0 (0000:3b:00.0)",
        "others have the virtual functions of pci_0000_af_00_0 (0000:af:00.0)",
    ]


def test_what_is_for_network_cards_is_for_no_gpu(root: Path) -> None:
    """A GPU has no interface, as a network card has none while its driver is not there."""
    write(root, f"{PROFILES}/a", SRIOV.format(""))
    write(root, f"{NETWORK}/a.link", "[Match]\n[Link]\nSR-IOVVirtualFunctions=5\n")
    assert owners(root, GPU) == ""
    assert "NetworkManager" in owners(root, Card(GPU.address))


def test_what_is_switched_off_is_no_owner(root: Path) -> None:
    write(root, "usr/lib/systemd/network/a.link", "[SR-IOV]\nVirtualFunction=0\n")
    (root / NETWORK).mkdir(parents=True)
    (root / NETWORK / "a.link").symlink_to("/dev/null")
    assert owners(root) == ""


@pytest.mark.parametrize(
    ("main", "named"),
    [("[Match]\nOriginalName=*\n", True), ("[Match]\nOriginalName=wl*\n", False), ("", False)],
    ids=["of the card", "of another", "switched off"],
)
def test_what_stands_in_a_folder_beside_it_belongs_to_a_link(root: Path, main: str, named: bool) -> None:
    write(root, "usr/lib/systemd/network/99-default.link", main)
    write(root, f"{NETWORK}/99-default.link.d/vfs.conf", "[Link]\nSR-IOVVirtualFunctions=5\n")
    write(root, "usr/lib/systemd/network/99-default.link.d/vfs.conf", "[Link]\nSR-IOVVirtualFunctions=6\n")
    told = owners(root)
    assert (f"/{NETWORK}/99-default.link.d/vfs.conf has systemd-udevd make 5" in told, "make 6" in told) == (
        named,
        False,
    )


def test_all_stand_in_one_warning(root: Path) -> None:
    for number in range(8):
        write(root, f"{PROFILES}/{number}", SRIOV.format(""))
    (told,) = warnings(CARD)
    assert told.count(NM) == 5
    assert "; and 3 more: leave them to one" in told


def test_what_cannot_be_read_is_passed_over_with_a_warning(root: Path) -> None:
    write(root, f"{PROFILES}/a", SRIOV.format(""))
    (root / PROFILES / "b").mkdir()
    write(root, f"{RULES}/1.rules", "x" * (1 << 20) + "y")
    others, unread = warnings(CARD)
    assert NM in others
    assert f"{PROFILES}/b (it is not a regular file)" in unread
    assert "1.rules (it has more than" in unread
