# SPDX-License-Identifier: GPL-3.0-or-later
"""The cases of mdevctl's own test suite, as its repository has them after release 1.4: facts, in our words.

In commands, states and wishes U is the UUID of the device, P and Q are two parents, T and S two types, and DOC is a
file with MODIFIED in it. A case is of a suite (a function of theirs) and has its name there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

PARAMS = "nvidia/vgpu_params"
# What is defined where a case says so, and what another document has. The driver wants whole lines, and mdevctl writes
# a value as it is.
DEFINED: dict[str, Any] = {
    "mdev_type": "T",
    "start": "manual",
    "attrs": [{PARAMS: "a=1\n"}, {PARAMS: "b=2\n"}, {PARAMS: "c=3\n"}],
}
MODIFIED: dict[str, Any] = {"mdev_type": "T", "start": "auto", "attrs": [{PARAMS: "d=4\n"}, {PARAMS: "e=5\n"}]}
CHANGED: dict[str, Any] = {"attrs": MODIFIED["attrs"], "autostart": True}
OLD_ATTRS = DEFINED["attrs"]

# Why ours does something else; each of these stands in docs/mdev.md.
REASONS = {
    "identity": "A UUID is never made up",
    "one place": "A device has one place",
    "again": "The same wish twice is never an error",
    "known": "What is known need not be said",
    "options": "A wish is made of options",
    "ambiguous": "One of several is named",
    "both": "What runs and what is defined are one wish",
    "anew": "What cannot be changed while it runs is made anew",
    "kernel": "The kernel makes no such device",
    "spelling": "One address has several spellings",
}


@dataclass(frozen=True)
class Case:
    """A case that is a command.

    ``given`` is what there is before, ``command`` what mdevctl is told, ``fails`` whether it refuses that in release
    1.4. ``old`` is for 1.2 where that differs: "fails" or "ok", or "" where it has no such option or order of scripts.
    ``ours`` is the module's wish, None where there is none like it. ``why`` is the reason where ours differs, and then
    ``does`` says whether it refuses (fails), has nothing to do (nothing), or does something (ok) that leaves
    ``leaves``: definitions by place, and what runs.
    """

    suite: str
    name: str
    given: str
    command: str
    fails: bool
    ours: dict[str, Any] | None
    why: str = ""
    does: str = ""
    leaves: tuple[dict[str, dict[str, Any]], dict[str, str]] | None = None
    old: str | None = None
    module: str = "mdev"


def versions(
    actions: str = '"start","stop","define","undefine","modify","attributes","capabilities"', more: str = ""
) -> str:
    return f'{{"supports":{{"version":2,"actions":[{actions}],"events":["pre","post","notify","get"{more}]}}}}'


ATTRIBUTES = f'[{{"{PARAMS}": "a=1"}}]'
ALL = versions()
LIVE = versions(more=',"live"')


def script(capabilities: str = "", end: str = "exit 0", attributes: str = ATTRIBUTES, rest: str = "exit 0") -> str:
    """A script that answers so to get capabilities, to get attributes, and to all else."""
    return (
        f"if [ $6 = capabilities ]; then printf '%s' '{capabilities}'; {end}; fi\n"
        f"if [ $6 = attributes ]; then printf '%b' '{attributes}'; exit 0; fi\n{rest}\n"
    )


SCRIPTS = {
    "rc0": "exit 0",
    "rc1": "exit 1",
    "rc2": "exit 2",
    "type-a": '[ "$2" != other-a ] || exit 0; exit 2',
    "type-b": '[ "$2" != other-b ] || exit 0; exit 2',
    "type-c": '[ "$2" != T ] || exit 1; exit 2',
    "params": '[ "$2 ${10} ${12}" = "T U P" ] || exit 1; [ "$4 $8" = "pre none" ] || [ "$4 $8" = "post success" ]',
    "good": f"printf '%s' '{ATTRIBUTES}'",
    "null": f"printf '%s\\0' '{ATTRIBUTES}'",
    "bad": "printf 'not JSON'",
    "ver-rc0": script(ALL),
    "ver-rc1": script(ALL, rest="exit 1"),
    "ver-bad": script(ALL, attributes="not JSON", rest="exit 1"),
    "ver-exit-1": script(ALL, end="exit 1"),
    "ver-exit-2": script(ALL, end="exit 2"),
    "ver-text": script("This is not JSON"),
    "ver-actions": script(versions('"start","dummy"')),
    "ver-events": script(versions(more=',"dummy"')),
    "ver-no-modify": script(versions('"start","stop","define","undefine","attributes","capabilities"')),
    "ver-provides": script(ALL.replace('{"supports"', '{"provides":{},"supports"')),
    "ver-invalid": script('{"supports":{{{"version":1}}'),
    "live-rc0": script(LIVE, attributes="[]"),
    "live-rc1": script(LIVE, attributes="[]", rest="[ $4 != live ]"),
    "no-live-rc0": script(ALL, attributes="[]"),
}

# How ours is told the same as a command of mdevctl's.
DEFINE: dict[str, Any] = {"state": "inactive", "autostart": False}
UNDEFINE: dict[str, Any] = {"state": "absent", "type": None}
MODIFY: dict[str, Any] = {"state": "inactive", "type": None}
START: dict[str, Any] = {"persistent": False}
STOP: dict[str, Any] = {"state": "absent", "type": None}
D_TYPE = {"mdev_type": "T", "start": "manual", "attrs": []}


def _define() -> list[Case]:
    def case(
        name: str, given: str, command: str, fails: bool, ours: dict[str, Any] | None, *more: Any, **less: Any
    ) -> Case:
        return Case("define", name, given, command, fails, ours, *more, **less)

    plain = "define -u U -p P -t T"
    return [
        case("no-uuid-no-type", "", "define --auto -p P", True, {**DEFINE, "uuid": None, "type": None}),
        case("no-uuid", "", "define --auto -p P -t T", False, {**DEFINE, "uuid": None}, "identity", "fails"),
        case("uuid-auto", "", "define --auto -u U -p P -t T", False, {"state": "inactive", "autostart": True}),
        case("uuid-manual", "", plain, False, DEFINE),
        case(
            "jsonfile-type",
            "",
            f"{plain} --jsonfile DOC",
            True,
            {**DEFINE, **CHANGED},
            "options",
            "ok",
            ({"P": MODIFIED}, {}),
        ),
        case("jsonfile", "", "define -u U -p P --jsonfile DOC", False, {**DEFINE, **CHANGED}),
        case(
            *("uuid-running-no-parent", "active:P:T", "define -u U -t T", True),
            *({"autostart": False, "parent": None}, "known", "ok", ({"P": D_TYPE}, {"U": "P T"})),
        ),
        case("uuid-running-no-type", "active:P:T", "define -u U -p P", False, {"autostart": False, "type": None}),
        case("uuid-running-diff-parent", "active:Q:T", plain, False, {"autostart": False}, "one place", "fails"),
        case("uuid-running-diff-type", "active:P:S", plain, False, {"autostart": False}, "one place", "fails"),
        case(
            *("uuid-already-defined", "defined:P", plain, True),
            *({**DEFINE, "attrs": OLD_ATTRS}, "again", "nothing"),
        ),
        case("define-with-callout-all-pass", "script:rc0", plain, False, DEFINE),
        case("define-with-callout-all-fail", "script:rc1", plain, True, DEFINE),
        case("define-with-callout-all-good-json", "active:P:T script:good", plain, False, {"autostart": False}),
        case("define-with-callout-all-bad-json", "active:P:T script:bad", plain, True, {"autostart": False}),
        case(
            "define-with-callout-all-fail-force",
            "script:rc1",
            f"{plain} --force",
            False,
            {**DEFINE, "force": True},
            old="",
        ),
        case("define-with-version-callout-all-pass", "script:ver-rc0", plain, False, DEFINE),
        case("define-with-version-callout-all-fail", "script:ver-rc1", plain, True, DEFINE),
        case(
            "define-with-version-callout-multiple-with-version-pass",
            "script:rc0 script:ver-rc0",
            plain,
            False,
            DEFINE,
            old="",
        ),
        case(
            "define-with-version-callout-multiple-with-version-pass2",
            "script:rc1 script:ver-rc0",
            plain,
            False,
            DEFINE,
            old="",
        ),
        case(
            "define-with-version-callout-multiple-with-version-fail",
            "script:rc0 script:ver-rc1",
            plain,
            True,
            DEFINE,
            old="",
        ),
    ]


def _undefine() -> list[Case]:
    def case(name: str, given: str, command: str, fails: bool, *more: Any, **less: Any) -> Case:
        ours = {**UNDEFINE, "parent": "P" if "-p P" in command else None, "force": "--force" in command}
        return Case("undefine", name, given, command, fails, ours, *more, **less)

    plain = "undefine -u U -p P"
    # Release 1.2 does not say that a script refused; nothing is undefined all the same.
    return [
        case("single", "defined:P", plain, False),
        case("multiple-parent", "defined:P defined:Q", plain, False),
        case("multiple-noparent", "defined:P defined:Q", "undefine -u U", False, "ambiguous", "fails"),
        case("nonexistent", "", plain, True, "again", "nothing"),
        case("single-callout-all-pass", "defined:P script:rc0", plain, False),
        case("single-callout-pre-fail", "defined:P script:rc1", plain, True, old="ok"),
        case("single-callout-pre-fail-force", "defined:P script:rc1", f"{plain} --force", False, old=""),
        case("undefine-single-with-version-callout-all-pass", "defined:P script:ver-rc0", plain, False),
        case("undefine-single-with-version-callout-all-fail", "defined:P script:ver-rc1", plain, True, old="ok"),
        case(
            "define-with-version-callout-multiple-with-version-pass",
            "defined:P script:rc0 script:ver-rc0",
            plain,
            False,
            old="",
        ),
        case(
            "define-with-version-callout-multiple-with-version-pass2",
            "defined:P script:rc1 script:ver-rc0",
            plain,
            False,
            old="",
        ),
        case(
            "define-with-version-callout-multiple-with-version-fail",
            "defined:P script:rc0 script:ver-rc1",
            plain,
            True,
            old="",
        ),
    ]


def _modify() -> list[Case]:
    def case(
        name: str, given: str, command: str, fails: bool, ours: dict[str, Any] | None, *more: Any, **less: Any
    ) -> Case:
        return Case("modify", name, given, command, fails, ours, *more, **less)

    plain = "modify -u U -p P"
    auto = {**MODIFY, "autostart": True}
    as_file = {**MODIFY, **CHANGED}
    added = {PARAMS: "z=9"}
    by_file = f"{plain} --jsonfile DOC"
    live = f"{plain} --live --jsonfile DOC"
    live_ours = {"type": None, "replace": True, **CHANGED}
    running = "defined:P active:P:T"
    anew = ({"P": MODIFIED}, {"U": "P T e=5"})
    return [
        case("device-not-defined", "", "modify -u U", True, {**MODIFY, "parent": None}),
        case("auto", "defined:P", f"{plain} --auto", False, auto),
        case("manual", "defined:P", f"{plain} --manual", False, {**MODIFY, "autostart": False}),
        case(
            "delattr",
            "defined:P",
            f"{plain} --delattr --index 2",
            False,
            {**MODIFY, "autostart": False, "attrs": OLD_ATTRS[:2]},
        ),
        case(
            "delattr-noindex",
            "defined:P",
            f"{plain} --delattr",
            False,
            {**MODIFY, "autostart": False, "attrs": OLD_ATTRS[:2]},
        ),
        case(
            *("addattr", "defined:P", f"{plain} --addattr {PARAMS} --value z=9 --index 3", False),
            {**MODIFY, "autostart": False, "attrs": [*OLD_ATTRS, added]},
        ),
        case(
            *("addattr-noindex", "defined:P", f"{plain} --addattr {PARAMS} --value z=9", False),
            {**MODIFY, "autostart": False, "attrs": [*OLD_ATTRS, added]},
        ),
        # Release 1.4 wants another option beside the type, which its suite does not go through.
        case("mdev_type", "defined:P", f"{plain} --type S --manual", False, {**DEFINE, "type": "S", "replace": True}),
        case("multiple-noparent", "defined:P defined:Q", "modify -u U --auto", True, {**auto, "parent": None}),
        case("multiple-parent", "defined:P defined:Q", f"{plain} --auto", False, auto),
        case("auto-manual", "defined:P", f"{plain} --auto --manual", True, None, "options"),
        case("jsonfile", "defined:P", by_file, False, as_file, old=""),
        case("callout-pass", "defined:P script:rc0", f"{plain} --auto", False, auto),
        case("callout-fail", "defined:P script:rc1", f"{plain} --auto", True, auto),
        case(
            "callout-fail-force",
            "defined:P script:rc1",
            f"{plain} --auto --force",
            False,
            {**auto, "force": True},
            old="",
        ),
        case(
            "modify-jsonfile-with-version-callout-all-pass", "defined:P script:ver-rc0", by_file, False, as_file, old=""
        ),
        case(
            "modify-jsonfile-with-version-callout-all-fail", "defined:P script:ver-rc1", by_file, True, as_file, old=""
        ),
        case(
            *("modify-jsonfile-with-version-callout-multiple-with-version-pass", "defined:P script:rc0 script:ver-rc0"),
            *(by_file, False, as_file),
            old="",
        ),
        case(
            *(
                "modify-jsonfile-with-version-callout-multiple-with-version-pass2",
                "defined:P script:rc1 script:ver-rc0",
            ),
            *(by_file, False, as_file),
            old="",
        ),
        case(
            *("modify-jsonfile-with-version-callout-multiple-with-version-fail", "defined:P script:rc0 script:ver-rc1"),
            *(by_file, True, as_file),
            old="",
        ),
        case(
            *("live-event-supported", f"{running} script:live-rc0", live, False, live_ours, "both", "ok"),
            ({"P": MODIFIED}, {"U": "P T"}),
            old="",
        ),
        case(
            *(
                "live-event-unsupported-by-callout",
                f"{running} script:no-live-rc0",
                live,
                True,
                live_ours,
                "anew",
                "ok",
                anew,
            ),
            old="",
        ),
        case(
            *("live-unsupported-script-without-version-support", f"{running} script:live-rc0", f"{plain} --live", True),
            *(None, "options"),
            old="",
        ),
        case("live-supported-but-fails", f"{running} script:live-rc1", live, True, live_ours, old=""),
        case(
            "live-fail-without-jsonfile", f"{running} script:live-rc0", f"{plain} --live", True, None, "options", old=""
        ),
        case(
            *("live-defined-supported", f"{running} script:live-rc0", f"{live} --defined", False, live_ours),
            old="",
        ),
        case(
            *(
                "live-defined-live-event-unsupported",
                f"{running} script:no-live-rc0",
                f"{live} --defined",
                True,
                live_ours,
            ),
            *("anew", "ok", anew),
            old="",
        ),
        case(
            *("defined-only", f"{running} script:live-rc0", f"{plain} --defined --addattr {PARAMS} --value z=9", False),
            {"type": None, "autostart": False, "attrs": [*OLD_ATTRS, added]},
            old="",
        ),
    ]


def _start() -> list[Case]:
    def case(name: str, given: str, command: str, fails: bool, ours: dict[str, Any], *more: Any, **less: Any) -> Case:
        return Case("start", name, given, command, fails, ours, *more, **less)

    plain = "start -u U -p P -t T"
    two = "defined:P defined:Q"
    return [
        case("uuid-type-parent", "", plain, False, START),
        case("no-uuid", "", "start -p P -t T", False, {**START, "uuid": None}, "identity", "fails"),
        case("no-uuid-no-parent", "", "start -t T", True, {**START, "uuid": None, "parent": None}),
        case("no-uuid-no-type", "", "start -p P", True, {**START, "uuid": None, "type": None}),
        case("no-parent", "", "start -u U -t T", True, {**START, "parent": None}),
        case("no-type", "", "start -u U -p P", True, {**START, "type": None}),
        case("no-type-defined", "defined:P", "start -u U -p P", False, {**START, "type": None}),
        case("no-type-parent-defined", "defined:P", "start -u U", False, {**START, "type": None, "parent": None}),
        case("defined-with-type", two, plain, False, START),
        case("defined-multiple-underspecified", two, "start -u U", True, {**START, "type": None, "parent": None}),
        case("defined-multiple", two, "start -u U -p P", False, {**START, "type": None}),
        case("defined-diff-type", "defined:P", "start -u U -p P -t S", True, {**START, "type": "S"}),
        case("already-running", "active:P:T", plain, True, START, "again", "nothing"),
        case("no-instances", "full:P", plain, True, START),
        case("uuid-type-parent (a second time)", "", plain, False, START),
        case("defined-multiple-callout-success", f"{two} script:rc0", plain, False, START),
        case("defined-multiple-callout-fail", f"{two} script:rc1", plain, True, START),
        case(
            "defined-multiple-callout-fail-force",
            f"{two} script:rc1",
            f"{plain} --force",
            False,
            {**START, "force": True},
            old="",
        ),
        case("missing-parent", "", "start -u U -p 0000:99:00.0 -t T", True, {**START, "parent": "0000:99:00.0"}),
        case(
            *("parent-case", "", "start -u U -p UPPER -t T", True, {**START, "parent": "UPPER"}),
            *("spelling", "ok", ({}, {"U": "P T"})),
        ),
        case("start-single-with-version-callout-pass", "defined:P script:ver-rc0", plain, False, START),
        case("start-single-with-version-callout-fail", "defined:P script:ver-rc1", plain, True, START),
        case(
            "start-with-version-callout-multiple-with-version-pass",
            "defined:P script:rc0 script:ver-rc0",
            plain,
            False,
            START,
            old="",
        ),
        case(
            "start-with-version-callout-multiple-with-version-pass2",
            "defined:P script:rc1 script:ver-rc0",
            plain,
            False,
            START,
            old="",
        ),
        case(
            "start-with-version-callout-multiple-with-version-fail",
            "defined:P script:rc0 script:ver-rc1",
            plain,
            True,
            START,
            old="",
        ),
    ]


def _stop() -> list[Case]:
    def case(name: str, scripts: str, fails: bool = False, force: bool = False, old: str | None = None) -> Case:
        command = f"stop -u U{' --force' * force}"
        return Case("stop", name, f"active:P:T {scripts}", command, fails, {**STOP, "force": force}, old=old)

    return [
        case("default", ""),
        case("callout-success", "script:rc0"),
        case("callout-fail", "script:rc1", fails=True),
        case("callout-fail-force", "script:rc1", force=True, old=""),
        case("stop-single-callout-with-version-all-pass", "script:ver-rc0"),
        case("stop-single-callout-with-version-all-fail", "script:ver-rc1", fails=True),
        case("stop-single-callouts-mix-all-pass", "script:rc1 script:ver-rc0", old=""),
        case("stop-single-callouts-mix-all-fail", "script:rc0 script:ver-rc1", fails=True, old=""),
    ]


# By action: what there is before, the command, and our wish. Their suite asks the scripts with nothing in between.
DONE: dict[str, tuple[str, str, dict[str, Any]]] = {
    "define": ("", "define -u U -p P -t T", DEFINE),
    "modify": ("defined:P", "modify -u U -p P --auto", {**MODIFY, "autostart": True}),
    "start": ("", "start -u U -p P -t T", START),
    "stop": ("active:P:T", "stop -u U", STOP),
    "undefine": ("defined:P", "undefine -u U -p P", UNDEFINE),
    "attributes": ("active:P:T", "define -u U", {"autostart": False, "parent": None, "type": None}),
}


def _callouts() -> list[Case]:
    def case(name: str, scripts: str, fails: bool = False, action: str = "define", old: str | None = None) -> Case:
        given, command, ours = DONE[action]
        return Case("callouts", f"test_{name}", f"{given} {scripts}", command, fails, ours, old=old)

    def none(name: str) -> Case:
        return Case("callouts", f"test_{name}", "", "", True, None, "kernel")

    both = "script:rc1 script:VER"
    types = "script:type-a script:type-b script:type-c"
    return [
        none("invoke_callout_without_mdevtype"),
        none("get_callout_without_mdevtype"),
        case("callout_all_success", "script:rc0"),
        case("callout_all_fail", "script:rc1", fails=True),
        case("callout_wrong_type", "script:rc2"),
        case("callout_type_c", types, fails=True),
        case("callout_no_script", types.replace("type-c", "rc2")),
        *(case(f"callout_params_{action}", "script:params", action=action) for action in [*DONE][:5]),
        case("callout_good_json", "script:good", action="attributes"),
        case("callout_bad_json", "script:bad", fails=True, action="attributes"),
        case("callout_order_fail", "script:rc1:00 script:rc0:99", fails=True, old=""),
        case("callout_order_pass", "script:rc0:00 script:rc1:99", old=""),
        case("callout_location_priority_pass", "script:rc0 old:rc1", action="start", old=""),
        case("callout_location_priority_fail", "old:rc0 script:rc1", fails=True, action="start", old=""),
        case("callout_location_priority_skip_fail", "script:rc2 old:rc1", fails=True, action="start", old=""),
        case("callout_location_priority_skip_pass", "script:rc2 old:rc0", action="start", old=""),
        # Release 1.2 does not know that it may end in a NUL.
        case("callout_good_json_null", "script:null", action="attributes", old="fails"),
        case("callout_with_version_pass", "script:ver-rc0", action="start"),
        case("callout_with_version_fail", "script:ver-rc1", fails=True, action="start"),
        case("callout_with_version_mix_pass", both.replace("VER", "ver-rc0"), action="start", old=""),
        case("callout_with_version_mix_fail", "script:rc0 script:ver-rc1", fails=True, action="start", old=""),
        case("callout_with_version_good_json", "script:ver-rc0", action="attributes"),
        case("callout_with_version_bad_json", "script:ver-bad", fails=True, action="attributes"),
        case(
            "callout_get_capabilities_rc1_run_with_version_pass",
            both.replace("VER", "ver-exit-1"),
            action="start",
            old="",
        ),
        case(
            "callout_get_capabilities_rc2_run_without_version_fail",
            both.replace("VER", "ver-exit-2"),
            fails=True,
            action="start",
            old="",
        ),
        case(
            "callout_with_get_capabilities_bad_run_without_version_fail",
            both.replace("VER", "ver-text"),
            fails=True,
            action="start",
            old="",
        ),
        case(
            "callout_with_unknown_action_with_version_pass", both.replace("VER", "ver-actions"), action="start", old=""
        ),
        case("callout_with_unknown_event_with_verion_pass", both.replace("VER", "ver-events"), action="start", old=""),
        case("callout_with_version_missing_modify_run_start_pass", "script:ver-no-modify", action="start"),
        # Release 1.2 asks all the same.
        case(
            "callout_with_version_missing_modify_run_modify_fail",
            "script:ver-no-modify",
            fails=True,
            action="modify",
            old="ok",
        ),
        case(
            "callout_with_version_json_provides_with_version_pass",
            both.replace("VER", "ver-provides"),
            action="start",
            old="",
        ),
        case(
            "callout_with_version_json_invalid_with_version_without_version_fail",
            both.replace("VER", "ver-invalid"),
            fails=True,
            action="start",
            old="",
        ),
    ]


CASES = [*_define(), *_undefine(), *_modify(), *_start(), *_stop(), *_callouts()]


@dataclass(frozen=True)
class Listing:
    """A case that lists devices: of LISTED those that run or that are defined, of one UUID or parent alone."""

    name: str
    defined: bool = False
    options: str = ""
    scripts: str = ""
    nothing: bool = False


# The devices of the listings: U0 to U3 are their UUIDs.
LISTED = "active:P:T@U0 active:Q:S@U1 bare:P:S@U2 defined:Q@U3 defined:P@U3"
LISTINGS = [
    Listing("active-none", nothing=True),
    Listing("defined-none", defined=True, nothing=True),
    Listing("active"),
    Listing("active-verbose", options="-v"),
    Listing("active-parent", options="-p P"),
    Listing("active-parent-verbose", options="-p P -v"),
    Listing("active-uuid", options="-u U0"),
    Listing("active-uuid-verbose", options="-u U0 -v"),
    Listing("active-uuid-parent", options="-u U0 -p P"),
    Listing("active-uuid-parent-verbose", options="-u U0 -p P -v"),
    Listing("defined", defined=True),
    Listing("defined-verbose", defined=True, options="-v"),
    Listing("defined-parent", defined=True, options="-p P"),
    Listing("defined-parent-verbose", defined=True, options="-p P -v"),
    Listing("defined-uuid", defined=True, options="-u U3"),
    Listing("defined-uuid-verbose", defined=True, options="-u U3 -v"),
    Listing("defined-uuid-parent", defined=True, options="-u U3 -p P"),
    Listing("defined-uuid-parent-verbose", defined=True, options="-u U3 -p P -v"),
    Listing("no-match-uuid", defined=True, options="-u U9 -v"),
    Listing("no-match-parent", defined=True, options="-p nonexistent -v"),
    Listing("active-callout", scripts="script:good"),
    Listing("active-callout-bad-json", scripts="script:bad"),
]

# The cases of types by the scenario that has such parents, and the parent that is asked for.
TYPES = [
    ("empty", "no-mdev", None),
    ("full", "nvidia-mdev", None),
    ("parent-match-1", "nvidia-mdev", "P"),
    ("parent-match-2", "nvidia-mdev", "Q"),
    ("parent-match-3", "s390x", "0.0.0050"),
    ("parent-no-match", "nvidia-mdev", "missing"),
]


@dataclass(frozen=True)
class Document:
    """A case that reads a definition: ``text`` is the file's, ``attrs`` what is understood, None for nothing."""

    name: str
    text: str
    attrs: list[dict[str, str]] | None = field(default_factory=list)


DOCUMENTS = [
    Document(
        "c07ab7b2",
        '{\n    "mdev_type": "T",\n        "start": "auto",\n  "attrs": [ {"a":"1"},\n {"b": "c d"} ]}\n',
        [{"a": "1"}, {"b": "c d"}],
    ),
    Document(
        "783e6dbb",
        '{"mdev_type": "T", "start": "auto", "attrs": [{"a": "5"}, {"a": "6"}, {"b": "0xab"}]}',
        [{"a": "5"}, {"a": "6"}, {"b": "0xab"}],
    ),
    Document("5269fe7a", '{"mdev_type": "T", "start": "auto"}'),
    Document("5269fe7a (a second time)", '{"mdev_type": "T", "start": "auto"}'),
    Document("b6f7e33f", '{"mdev_type": "T", "start": "auto", "attrs": [{"a": "1", "b": "2"}]}', None),
    Document("fe7a39db", '{"mdev_type": "T", "start": "auto", "attrs": ["a", "b"]}', None),
    Document("37ccb149", '{"mdev_type": "T", "start": "auto", "attrs": {"a": "1"}}', None),
]

# Two more: a device or a file whose name is not a UUID. The kernel makes no such device; such a file is passed by.
INVALID = ["invalid-active", "invalid-defined"]
# One more looks whether mdevctl's own command line contradicts itself; ours has none.
COMMAND_LINE = ["test_cli"]
