# SPDX-License-Identifier: GPL-3.0-or-later
"""Others who have a card's virtual functions made or removed, by the files in which that is said.

Two owners remove each other's functions, and the devices on them. NetworkManager: nm-settings-keyfile(5) and
NetworkManager.conf(5); systemd: systemd.link(5) and systemd.network(5); udev(7); Proxmox's pve-nvidia-vgpu-helper; the
sriov-network-operator and the gpu-operator of Kubernetes.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..errors import NodedevError
from ..names import called
from ..store import files
from ..store.files import DamagedDefinition
from ..store.restorers import RULE_FOLDERS
from ..text import shown
from . import sysfs

NM_PROFILES = tuple(f"{root}/NetworkManager/system-connections" for root in ("/etc", "/run", "/usr/lib"))
NM_CONFIG = "/etc/NetworkManager/NetworkManager.conf"
NM_FOLDERS = tuple(f"{root}/NetworkManager/conf.d" for root in ("/etc", "/run", "/usr/lib"))
NETWORKD = tuple(f"{root}/systemd/network" for root in ("/etc", "/run", "/usr/local/lib", "/usr/lib"))
UNITS = "/etc/systemd/system"
PROXMOX = re.compile(r"pve-nvidia-sriov@(.+)\.service")
OPERATOR = ("/etc/sriov-operator", "/var/lib/sriov", f"{UNITS}/sriov-config.service")
GPU_OPERATOR = "/run/nvidia/driver"
# A rule that sets the number itself, or has a program do it.
RULE = re.compile(r"sriov_numvfs\}\s*=(?!=)|(RUN|PROGRAM|IMPORT)[^,]*sriov_numvfs")
ADDRESS = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", re.IGNORECASE)
# Files of a kind that are read at most, and what a warning names of what is found.
MOST, NAMED = 1000, 5

Section = tuple[str, dict[str, str]]
Settings = Mapping[str, str]


@dataclass(frozen=True)
class Card:
    """A physical function as such files name it; ``macs`` are the addresses of its network interfaces."""

    address: str
    interfaces: tuple[str, ...] = ()
    macs: tuple[str, ...] = ()
    driver: str | None = None
    is_nvidia: bool = False


def card(address: str, interfaces: Sequence[str], driver: str | None, is_nvidia: bool) -> Card:
    """The card with the addresses of its interfaces, which are read."""
    macs = [sysfs.read(f"/sys/class/net/{interface}/address") for interface in interfaces]
    return Card(address, tuple(interfaces), tuple(mac.lower() for mac in macs if mac), driver, is_nvidia)


def warnings(of: Card) -> list[str]:
    """One warning that names all others that own this card's functions, and one of what could not be read."""
    unread: list[str] = []
    # A GPU has no interface by which these could mean it.
    found = [] if of.is_nvidia else [*_network_manager(of, unread), *_networkd(of, unread)]
    told = _told(of.address, [*found, *_rules(of, unread), *_installed(of)])
    if unread:
        told.append(f"whether others own virtual functions could not be read in {', '.join(unread[:NAMED])}")
    return told


def of_gpus(addresses: Collection[str]) -> list[str]:
    """The same of these GPUs of NVIDIA's, as far as services that are installed for such own them."""
    return [text for each in addresses for text in _told(each, [*_installed(Card(each, is_nvidia=True))])]


def _told(address: str, found: Sequence[tuple[str, str]]) -> list[str]:
    named = [f"{shown(path)} {what}" for path, what in found[:NAMED]]
    named += [f"and {len(found) - NAMED} more"] if len(found) > NAMED else []
    if not named:
        return []
    return [
        f"others have the virtual functions of {called(address)} made or removed too, and with them what is on"
        f" them: {'; '.join(named)}: leave them to one"
    ]


def sections(text: str) -> list[Section]:
    """The sections of a file of that form, with their keys; one that comes twice is two."""
    found: list[Section] = []
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("[") and line.endswith("]"):
            found.append((line[1:-1], {}))
        elif found and "=" in line and line[0] not in "#;":
            key, _equals, value = line.partition("=")
            found[-1][1].setdefault(key.strip(), value.strip())
    return found


def _read(path: str, unread: list[str]) -> str:
    """The text of a file; none where it cannot be read, which is noted."""
    try:
        data = files.content(path)
    except DamagedDefinition as error:
        # A file of this name that is /dev/null switches off what stands in the folders behind.
        if os.path.realpath(path) != "/dev/null":
            unread.append(f"{shown(path)} ({shown(error.reason)})")
        return ""
    except NodedevError:
        unread.append(f"{shown(path)} (root is needed)")
        return ""
    return "" if data is None else data.decode("utf-8", "replace")


def _listed(folders: Sequence[str], suffixes: Sequence[str], unread: list[str]) -> Iterator[str]:
    """The files of these folders, of each name the first."""
    names: set[str] = set()
    for folder in folders:
        try:
            entries = files.entries(folder)
        except NodedevError:
            unread.append(shown(folder))
            continue
        for name in entries[:MOST]:
            if name.endswith(tuple(suffixes)) and name not in names:
                names.add(name)
                yield f"{folder}/{name}"


def _network_manager(of: Card, unread: list[str]) -> Iterator[tuple[str, str]]:
    for path in _listed(NM_PROFILES, ("",), unread):
        profile = dict(sections(_read(path, unread)))
        if "sriov" in profile and _is_profile_of(of, profile):
            count = profile["sriov"].get("total-vfs", "0")
            yield path, f"has NetworkManager make {shown(count)} with the connection, and none without it"
    for path in (NM_CONFIG, *_listed(NM_FOLDERS, (".conf",), unread)):
        for name, keys in sections(_read(path, unread)):
            if name.startswith("device") and "sriov-num-vfs" in keys and _is_device(of, keys):
                yield path, f"has NetworkManager make {shown(keys['sriov-num-vfs'])}"


def _is_profile_of(of: Card, profile: Mapping[str, Settings]) -> bool:
    """Whether a profile is, or may be, for an interface of the card; of a host without one for each."""
    name = profile.get("connection", {}).get("interface-name") or profile.get("match", {}).get("interface-name")
    mac = profile.get("ethernet", profile.get("802-3-ethernet", {})).get("mac-address")
    # An element may say by a sign in front whether all of them have to fit.
    names = [each.lstrip("|&") for each in (name or "").split(";") if each]
    return _fits(names, of.interfaces) and _fits(mac and [mac.lower()], of.macs)


def _is_device(of: Card, keys: Settings) -> bool:
    """Whether match-device of NetworkManager.conf fits, as far as it goes by the interface."""
    wanted = keys.get("match-device", "")
    names = re.findall(r"(?:^|[,;])\s*interface-name:[=~]?([^,;]+)", wanted)
    return _fits(names, of.interfaces)


def _networkd(of: Card, unread: list[str]) -> Iterator[tuple[str, str]]:
    for path in _listed(NETWORKD, (".link", ".network"), unread):
        text = _read(path, unread)
        found = [(path, *section) for section in sections(text)]
        # What stands in folders beside it belongs to it, unless it is switched off.
        beside = [f"{folder}/{os.path.basename(path)}.d" for folder in NETWORKD] if text else []
        for other in _listed(beside, (".conf",), unread):
            found += [(other, *section) for section in sections(_read(other, unread))]
        if not all(_is_match(of, keys) for _file, name, keys in found if name == "Match"):
            continue
        for file, name, keys in found:
            if name == "Link" and "SR-IOVVirtualFunctions" in keys and path.endswith(".link"):
                yield file, f"has systemd-udevd make {shown(keys['SR-IOVVirtualFunctions'])}"
            elif name == "SR-IOV":
                service = "udevd" if path.endswith(".link") else "networkd"
                yield file, f"has systemd-{service} set function {shown(keys.get('VirtualFunction', '?'))}"


def _is_match(of: Card, keys: Settings) -> bool:
    """Whether a [Match] is, or may be, of an interface of the card."""
    mac = keys.get("MACAddress") or keys.get("PermanentMACAddress")
    return (
        _fits(_words(keys.get("OriginalName")), of.interfaces)
        and _fits(_words(keys.get("Name")), of.interfaces)
        and _fits(_words(keys.get("Path")), (f"pci-{of.address}",))
        and _fits(_words(keys.get("Driver")), (of.driver or "",))
        and _fits(_words(mac and mac.lower()), of.macs)
    )


def _words(value: str | None) -> list[str] | None:
    # What begins so says what it is not.
    return None if not value or value.startswith("!") else value.split()


def _fits(patterns: Collection[str] | str | None, names: Collection[str]) -> bool:
    """Whether one of the names fits one of the patterns, or none that ! precedes; without either, that may be."""
    if not patterns or not names:
        return True
    return any(
        fnmatch.fnmatchcase(name, pattern.lstrip("!")) is not pattern.startswith("!")
        for pattern in patterns
        for name in names
    )


def _rules(of: Card, unread: list[str]) -> Iterator[tuple[str, str]]:
    for path in _listed(RULE_FOLDERS, (".rules",), unread):
        text = _read(path, unread)
        if "sriov_numvfs" not in text:
            continue
        lines = text.replace("\\\n", " ").splitlines()
        if any(RULE.search(line) and not line.lstrip().startswith("#") and _is_rule_of(of, line) for line in lines):
            yield path, "has udev write sriov_numvfs"


def _is_rule_of(of: Card, line: str) -> bool:
    """Whether a rule is, or may be, for the card: it names no address, or this one, and so with interfaces."""
    named = {each.lower() for each in ADDRESS.findall(line)}
    values = re.findall(r'(?:NAME|KERNEL|INTERFACE\})=="([^"]*)"', line)
    plain = [each for value in values for each in value.split("|") if not ADDRESS.fullmatch(each)]
    return (not named or of.address in named) and _fits(plain, of.interfaces and (of.address, *of.interfaces))


def _installed(of: Card) -> Iterator[tuple[str, str]]:
    """Services that own functions, by what they leave on a host."""
    if of.is_nvidia:
        for path, instance in _proxmox():
            if instance in ("ALL", of.address):
                yield path, "has Proxmox enable them by sriov-manage at boot"
        if os.path.isdir(GPU_OPERATOR):
            yield GPU_OPERATOR, "is of the gpu-operator, which enables them for its vGPUs"
    for path in OPERATOR:
        if os.path.lexists(path):
            yield path, "is of the sriov-network-operator, which makes as many as its policies say"
            return


def _proxmox() -> Iterator[tuple[str, str]]:
    """The enabled units, and what each is for."""
    for folder in _entries(UNITS, lambda name: name.endswith(".wants")):
        for path in _entries(folder, lambda name: PROXMOX.fullmatch(name) is not None):
            found = PROXMOX.fullmatch(os.path.basename(path))
            if found is not None:
                yield path, found[1].replace("\\x3a", ":")


def _entries(folder: str, wanted: Callable[[str], bool]) -> list[str]:
    try:
        return [f"{folder}/{name}" for name in files.entries(folder)[:MOST] if wanted(name)]
    except NodedevError:
        return []
