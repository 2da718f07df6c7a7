# SPDX-License-Identifier: GPL-3.0-or-later
"""What nvidia-smi says of MIG, and the plan for a card: what is wished, what is there; no host is touched."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.errors import BadInput, InUse, NodedevError
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host import mig, pci
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.mig import (
    Details,
    Instance,
    Modes,
    Profile,
)
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.processes import Holder
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.host.virtual_functions import Virtual
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.mig.definition import (
    DOCUMENTS,
    Division,
    decode,
)
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.kinds.mig.device import (
    Observation,
    Wish,
    plan,
)
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.plan import describe
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.store.files import DamagedDefinition

CARD = "0000:41:00.0"
CALLED = f"pci_0000_41_00_0 ({CARD})"
FUNCTION = pci.Function(CARD, f"/sys/devices/pci0000:40/{CARD}", "0x030200", pci.NVIDIA, "nvidia")
ON, OFF, PENDING = Modes(True, True), Modes(False, False), Modes(False, True)
PROFILES = (Profile(9, "3g.71gb", 2, 2), Profile(14, "2g.35gb", 3, 3), Profile(19, "1g.18gb", 7, 7))
HOPPER, AMPERE = Details("Hopper", PROFILES), Details("Ampere", PROFILES)
TWO = tuple(Instance(number, 19, "1g.18gb", (0,)) for number in (7, 8))
LARGE = Instance(1, 9, "3g.71gb", (0,))
ENABLE, DISABLE = f"enable MIG on {CALLED}", f"disable MIG on {CALLED}"
RESET = ", by a reset of this card where it needs one"

PROFILE_LIST = """\
+-------------------------------------------------------------------------------+
| GPU instance profiles:                                                        |
| GPU   Name               ID    Instances   Memory     P2P    SM    DEC   ENC  |
|                                Free/Total   GiB              CE    JPEG  OFA  |
|===============================================================================|
|   0  MIG 1g.18gb         19     5/7        16.00      No     16     1     0   |
|                                                               1     1     0   |
+-------------------------------------------------------------------------------+
|   0  MIG 1g.18gb+me      20     1/1        16.00      No     16     1     0   |
|                                                               1     1     1   |
+-------------------------------------------------------------------------------+
|   0  MIG 7g.141gb         0     0/1        140.00     No     132    7     0   |
|                                                               8     7     1   |
+-------------------------------------------------------------------------------+
"""
INSTANCE_LIST = """\
+-------------------------------------------------------+
| GPU instances:                                        |
| GPU   Name             Profile  Instance   Placement  |
|                          ID       ID       Start:Size |
|=======================================================|
|   3  MIG 1g.18gb          19       13          6:1    |
+-------------------------------------------------------+
|   3  MIG 3g.71gb           9        1          0:4    |
+-------------------------------------------------------+
"""
COMPUTE_LIST = """\
+--------------------------------------------------------------------+
| Compute instances:                                                 |
| GPU     GPU       Name             Profile   Instance   Placement  |
|       Instance                       ID        ID       Start:Size |
|         ID                                                         |
|====================================================================|
|   3      1       MIG 1c.3g.71gb       0         0          0:1     |
+--------------------------------------------------------------------+
|   3      1       MIG 2c.3g.71gb       1         1          1:2     |
+--------------------------------------------------------------------+
"""
QUERY = """\
GPU 00000000:41:00.0
    Product Name                                       : NVIDIA H200
    Product Architecture                               : Hopper
    Processes
        GPU instance ID                                : 1
        Compute instance ID                            : 0
        Process ID                                     : 4711
            Type                                       : C
            Name                                       : python3
            Used GPU Memory                            : 97 MiB
        GPU instance ID                                : N/A
        Compute instance ID                            : N/A
        Process ID                                     : 815
            Type                                       : G
            Name                                       : Xorg
    Capabilities
        EGM                                            : disabled
"""
# What has been seen of driver 580, and of older ones.
NOTHING = [
    "No MIG-enabled devices found.\n",
    "No MIG-supported devices found.\n",
    "No GPU instances found: Not Found\n",
]
ODD = [
    "",
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n",
    INSTANCE_LIST.replace("6:1", "6"),
    INSTANCE_LIST.replace("|   3  MIG 1g", "|   4  MIG 1g"),
    INSTANCE_LIST.replace("19       13", "19       ?!"),
]


def test_the_lists_that_the_tool_prints() -> None:
    assert mig.profiles_of(PROFILE_LIST, CARD) == (
        Profile(0, "7g.141gb", 0, 1),
        Profile(19, "1g.18gb", 5, 7),
        Profile(20, "1g.18gb+me", 1, 1),
    )
    first = Instance(1, 9, "3g.71gb", (0, 1))
    assert mig.instances_of(INSTANCE_LIST, COMPUTE_LIST, CARD) == (first, Instance(13, 19, "1g.18gb"))
    assert mig.instances_of(INSTANCE_LIST, "No compute instances found: Not Found\n", CARD)[0].compute == ()
    assert mig.described(QUERY) == (
        "Hopper",
        [(Holder("the card", "python3", "used by", 4711), 1), (Holder("the card", "Xorg", "used by", 815), None)],
    )


@pytest.mark.parametrize("text", NOTHING)
def test_what_is_nothing(text: str) -> None:
    assert (mig.instances_of(text, "", CARD), mig.profiles_of(text, CARD)) == ((), ())


@pytest.mark.parametrize("text", ODD)
def test_what_is_not_understood_is_not_nothing(text: str) -> None:
    with pytest.raises(NodedevError, match=r"what nvidia-smi mig -lgi lists of .* is not understood; it said: "):
        mig.instances_of(text, COMPUTE_LIST, CARD)
    with pytest.raises(NodedevError, match="what nvidia-smi mig -lci lists"):
        mig.instances_of(INSTANCE_LIST, text, CARD)


def wished(**options: Any) -> Wish:
    return Wish.checked(CARD, **options)


def seen(wish: Wish, modes: Modes = OFF, *instances: Instance, **more: Any) -> Observation:
    """The card as it is there, with the wish over what is defined."""
    known = {"function": FUNCTION, "details": HOPPER, **more}
    return Observation(wish.division.over(known.get("definition")), modes=modes, instances=instances, **known)


DEFINED = Division(CARD, True, {"1g.18gb": 2})
COUNTED = ", on, with 2 of 1g.18gb GPU instances"
DEFINE = f"define the MIG mode of {CALLED}{COUNTED}"
UNDEFINE = f"undefine the MIG mode of {CALLED}"
CREATE = f"create 2 GPU instances 1g.18gb on {CALLED}"
REMOVE = [f"remove GPU instance {number} (1g.18gb) from {CALLED}" for number in (7, 8)]
BY_NAME = wished(instances={"1g.18gb": 2})
CASES: list[tuple[str, Wish, list[Any], dict[str, Any], list[str]]] = [
    ("new", BY_NAME, [OFF], {}, [ENABLE, CREATE, DEFINE]),
    ("it is so already", BY_NAME, [ON, *TWO], {"definition": DEFINED}, []),
    ("it is so by itself", BY_NAME, [ON, *TWO], {}, [DEFINE]),
    ("by id", wished(instances={19: "2"}, persistent=False), [ON, *TWO], {}, []),
    ("as defined", wished(), [ON], {"definition": DEFINED}, [CREATE]),
    ("for now", replace(BY_NAME, persistent=False), [OFF], {}, [ENABLE, CREATE]),
    ("the mode alone", wished(enabled=True), [ON, *TWO], {}, [f"define the MIG mode of {CALLED}, on"]),
    ("none of them", wished(instances={}, persistent=False), [ON, *TWO], {}, REMOVE),
    ("none, and the mode as it is", wished(instances={}), [OFF], {}, [f"define the MIG mode of {CALLED}, off"]),
    (
        "large ones first, whatever the order of the wish",
        wished(instances={"1g.18gb": 1, "3g.71gb": 1, "14": 1}, persistent=False),
        [ON, TWO[1]],
        {},
        [f"create 1 GPU instances {profile} on {CALLED}" for profile in ("3g.71gb", "2g.35gb")],
    ),
    (
        "of another profile",
        replace(BY_NAME, persistent=False),
        [ON, LARGE],
        {},
        [f"remove GPU instance 1 (3g.71gb) from {CALLED}", CREATE],
    ),
    (
        "one that a killed run has left without its compute instance",
        BY_NAME,
        [ON, TWO[0], replace(TWO[1], compute=())],
        {"definition": DEFINED},
        [f"create the compute instance of GPU instance 8 (1g.18gb) on {CALLED}"],
    ),
    (
        "one too many: the one that nobody works on goes",
        wished(instances={"1g.18gb": 1}, persistent=False),
        [ON, *TWO],
        {"details": replace(HOPPER, clients=((Holder("the card", "python3", "used by", 1), 8),))},
        REMOVE[:1],
    ),
    ("only defined", replace(BY_NAME, state="inactive"), [ON, *TWO], {}, [*REMOVE, DISABLE, DEFINE]),
    ("no more", wished(state="absent"), [ON, *TWO], {"definition": DEFINED}, [*REMOVE, DISABLE, UNDEFINE]),
    ("no more, and it is not", wished(state="absent"), [OFF], {}, []),
    ("no more, and no card", wished(state="absent"), [Modes(None, None)], {"function": None}, []),
    ("off", wished(enabled=False), [ON], {}, [DISABLE, f"define the MIG mode of {CALLED}, off"]),
    (
        "with a reset",
        wished(enabled=True, persistent=False, allow_reset=True),
        [OFF],
        {"details": AMPERE},
        [f"{ENABLE}{RESET}"],
    ),
    (
        "what is pending is taken back with a reset",
        wished(enabled=False, persistent=False, allow_reset=True),
        [PENDING],
        {"details": AMPERE},
        [f"{DISABLE}{RESET}"],
    ),
    (
        "the mode alone, at boot",
        replace(wished(), mode_only=True, persistent=False),
        [OFF],
        {"definition": DEFINED},
        [ENABLE],
    ),
]


@pytest.mark.parametrize(
    ("wish", "there", "more", "steps"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_the_plan(wish: Wish, there: list[Any], more: dict[str, Any], steps: list[str]) -> None:
    """After its steps, nothing is left to do."""
    planned = plan(wish, seen(wish, *there, **more))
    assert describe(planned.steps) == steps
    assert plan(wish, planned.then).steps == ()


def vgpu(index: int, **more: Any) -> Virtual:
    return Virtual(index, f"0000:41:00.{index + 4}", vgpu="1380", **more)


FULL = Details("Hopper", (replace(PROFILES[2], free=1),))
REFUSED: list[tuple[str, Wish, list[Any], dict[str, Any], str]] = [
    ("a reset", BY_NAME, [OFF], {"details": AMPERE}, "changes with a reset of the card on this generation (Ampere)"),
    ("not told", BY_NAME, [OFF], {"details": Details(None, PROFILES)}, "on this generation (not told)"),
    ("pending", wished(enabled=False), [PENDING], {"details": AMPERE}, "is off now and on after a reset, and changes"),
    (
        "functions",
        wished(enabled=True, allow_reset=True),
        [OFF],
        {"details": AMPERE, "functions": (Virtual(0, "0000:41:00.4"),)},
        "a reset would take the 1 virtual functions of",
    ),
    ("a vGPU", wished(instances={}), [ON, *TWO], {"functions": (vgpu(0),)}, "(0000:41:00.4) is a vGPU of type 1380"),
    (
        "a vGPU of one of them",
        wished(instances={}),
        [ON, *TWO],
        {"functions": (vgpu(1),), "places": {"0000:41:00.5": 8}},
        "which is in use",
    ),
    (
        "a process",
        wished(enabled=False),
        [ON],
        {"details": replace(HOPPER, clients=((Holder("the card", "Xorg", "used by", 815), None),))},
        f"the MIG mode would change on {CALLED}, which is in use: process 815 (Xorg): end that first",
    ),
    ("a service", BY_NAME, [ON], {"manager": "/etc/x"}, "nvidia-mig-manager.service divides the cards of this host"),
    ("no such profile", wished(instances={"2g.24gb": 1}), [ON], {}, "the profiles of pci_0000_41_00_0"),
    (
        "no profiles",
        BY_NAME,
        [OFF],
        {"details": Details("Hopper")},
        "lists no profiles while MIG is off: enable it first, by a task without instances",
    ),
    ("twice", wished(instances={"1g.18gb": 1, "19": 1}), [ON], {}, "it is profile 1g.18gb, which is named already"),
    ("no room", BY_NAME, [ON], {"details": FULL}, "has room for 1 more GPU instances 1g.18gb, and 2 are missing"),
    ("nothing said", wished(), [OFF], {}, "enabled is required: the MIG mode of"),
    ("not capable", wished(enabled=True), [Modes(None, None)], {}, "MIG cannot divide this card"),
    ("not told", wished(enabled=True), [Modes(None, None)], {"untold": NodedevError("it hangs")}, "it hangs"),
    ("not told", wished(state="absent"), [Modes(None, None)], {"untold": NodedevError("it hangs")}, "it hangs"),
    ("no card", wished(enabled=True), [OFF], {"function": None}, "there is no such device"),
    (
        "a function",
        wished(enabled=True),
        [OFF],
        {"function": replace(FUNCTION, physical="0000:41:00.0")},
        "it is a virtual function: MIG divides the card,",
    ),
    ("another card", wished(enabled=True), [OFF], {"function": replace(FUNCTION, vendor="0x8086")}, "not a GPU of"),
    (
        "of a guest",
        wished(enabled=True),
        [OFF],
        {"function": replace(FUNCTION, driver="vfio-pci")},
        f"the driver of {CALLED} is vfio-pci, and MIG is nvidia's: bind nvidia to it",
    ),
    ("damaged", wished(enabled=True), [OFF], {"damaged": DamagedDefinition("/x", "it is not JSON")}, "it is not JSON"),
]


@pytest.mark.parametrize(
    ("wish", "there", "more", "message"), [case[1:] for case in REFUSED], ids=[c[0] for c in REFUSED]
)
def test_what_is_refused(wish: Wish, there: list[Any], more: dict[str, Any], message: str) -> None:
    with pytest.raises((NodedevError, BadInput, InUse)) as error:
        plan(wish, seen(wish, *there, **more))
    assert message in str(error.value)


def test_a_vgpu_keeps_its_own_instance_alone() -> None:
    wish = wished(instances={"1g.18gb": 1}, persistent=False)
    found = seen(wish, ON, *TWO, functions=(vgpu(0),), places={"0000:41:00.4": 8})
    assert describe(plan(wish, found).steps) == REMOVE[:1]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({}, "it does not say whether MIG is enabled"),
        ({"enabled": "yes"}, "enabled: 'yes' cannot be used: true or false"),
        ({"enabled": True, "instances": [1]}, "profiles, each with a number, as 1g.18gb: 3"),
        ({"enabled": True, "instances": {"../x": 1}}, "a profile is named like"),
        ({"enabled": True, "instances": {"19": True}}, "a number from 0 to 64"),
    ],
)
def test_a_definition_that_is_none(document: dict[str, Any], reason: str) -> None:
    with pytest.raises(DamagedDefinition, match=r".") as error:
        decode(DOCUMENTS.paths(CARD)[0], document)
    assert reason in str(error.value)
    assert decode(DOCUMENTS.paths(CARD)[0], DEFINED.document()) == DEFINED


def test_a_definition_is_of_a_card() -> None:
    for name in ("x", CARD.replace("0000", "00000000")):
        with pytest.raises(DamagedDefinition):
            decode(DOCUMENTS.paths(name)[0], DEFINED.document())
