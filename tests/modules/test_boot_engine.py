# SPDX-License-Identifier: GPL-3.0-or-later
"""The boot engine's library on the simulated host: installed, upgraded and mended, and by a run that is killed."""

from __future__ import annotations

import json

import pytest
from conftest import Host, warnings
from test_restore import COMMAND, ENGINE, install, restore

LINK = f"{ENGINE}/nodedev"
ANYBODY = ["sh", "-c", 'umask 000; exec "$@"', "sh"]


@pytest.fixture
def engine(host: Host) -> Host:
    """A host with the boot engine."""
    install(host)
    return host


def release(host: Host) -> str:
    """The folder of the release that runs."""
    return host.run(["realpath", LINK]).stdout.strip().removesuffix("/nodedev")


def entries(host: Host) -> list[str]:
    """All that is in the library, each with its owner, mode and type."""
    return sorted(host.run(["find", ENGINE, "-printf", "%p %u:%g %m %y\n"]).stdout.splitlines())


def expected(host: Host, files: list[str]) -> list[str]:
    """The same as it should be, with these files in the release."""
    root = release(host)
    folders = {ENGINE, root}
    for file in files:
        parts = file.split("/")[:-1]
        folders |= {"/".join([root, *parts[: number + 1]]) for number in range(len(parts))}
    return sorted(
        [
            f"{LINK} root:root 777 l",
            *(f"{folder} root:root 755 d" for folder in folders),
            *(f"{root}/{file} root:root 644 f" for file in files),
        ]
    )


@pytest.mark.parametrize("user", [[], ANYBODY, ["sh", "-c", 'umask 077; exec "$@"', "sh"]])
def test_it_is_installed_once_whatever_the_umask_is(host: Host, user: list[str]) -> None:
    host.user = user
    foretold = host.done("boot_engine", check_mode=True)
    assert host.run(["ls", ENGINE], check=False).returncode != 0
    done = host.done("boot_engine")
    assert foretold == done
    files = done["diff"]["after"]["files"]
    assert {"nodedev/__init__.py", "nodedev/boot/restore.py", "nodedev/host/__init__.py"} <= set(files)
    assert entries(host) == expected(host, files)
    name = done["diff"]["after"]["release"]
    assert release(host) == f"{ENGINE}/{name}"
    assert done["plan"] == [f"write {ENGINE}/{name}", f"have {LINK} lead to {name}"]
    assert done["diff"]["before"] == {"release": None, "files": [], "faults": []}
    again = host.done("boot_engine")
    assert (again["changed"], again["plan"]) == (False, [])
    assert again["diff"]["before"] == again["diff"]["after"] == done["diff"]["after"]


def test_it_leaves_no_compiled_file(engine: Host) -> None:
    before = entries(engine)
    assert engine.run(["env", "-u", "PYTHONDONTWRITEBYTECODE", COMMAND]).returncode == 0
    assert entries(engine) == before


def test_its_folder_comes_after_the_standard_library(engine: Host) -> None:
    """No file of it is taken for a module of Python's own, whoever put it there."""
    for folder in (ENGINE, f"{ENGINE}/nodedev/..", f"{ENGINE}/nodedev"):
        engine.write(f"{folder}/argparse.py", "raise SystemExit('shadowed')\n")
    assert restore(engine, "--list").returncode == 0


def test_nothing_of_the_callers_is_imported(engine: Host) -> None:
    engine.run(["sh", "-c", "mkdir -p /etc/planted/nodedev/boot"])
    for name in ("argparse", "nodedev/__init__", "nodedev/boot/restore"):
        engine.write(f"/etc/planted/{name}.py", "raise SystemExit('planted')\n")
    there = ["sh", "-c", f"cd /etc/planted && exec {COMMAND} --list"]
    done = engine.run(there, check=False, env={"PYTHONPATH": "/etc/planted"})
    assert (done.returncode, done.stderr) == (0, "")


def test_another_release_and_what_was_left_of_others_are_replaced(engine: Host) -> None:
    first = engine.done("boot_engine")["diff"]["after"]
    old = f"{ENGINE}/release-0123456789abcdef"
    engine.run(["sh", "-c", f"mv {ENGINE}/{first['release']} {old} && ln -sfn {old.rpartition('/')[2]}/nodedev {LINK}"])
    engine.write(f"{old}/nodedev/boot/restore.py", "raise ImportError\n")
    engine.run(["sh", "-c", f"mkdir -p {ENGINE}/release-half/nodedev {ENGINE}/foreign; ln -s x {ENGINE}/.nodedev-link"])
    done = engine.done("boot_engine")
    gone = [".nodedev-link", "foreign", "release-0123456789abcdef", "release-half"]
    assert done["plan"] == [
        f"write {ENGINE}/{first['release']}",
        f"have {LINK} lead to {first['release']}",
        *(f"remove {ENGINE}/{name}" for name in gone),
    ]
    assert done["diff"]["before"]["release"] == "release-0123456789abcdef"
    assert warnings(done) == []
    assert entries(engine) == expected(engine, first["files"])
    assert restore(engine).returncode == 0


def test_an_earlier_layout_is_upgraded(engine: Host) -> None:
    """Files in a folder where the link is now; a command that follows no link runs the new one too."""
    files = engine.done("boot_engine")["diff"]["after"]["files"]
    root = release(engine)
    engine.run(
        ["sh", "-c", f"rm {LINK} && mv {root}/nodedev {LINK} && rmdir {root} && echo older > {LINK}/boot/restore.py"]
    )
    foretold = engine.done("boot_engine", check_mode=True)
    done = engine.done("boot_engine")
    assert foretold == done
    assert done["diff"]["before"]["release"] is None
    assert done["diff"]["before"]["files"] == files
    assert done["plan"][2:] == [f"remove {ENGINE}/.nodedev-earlier"]
    assert entries(engine) == expected(engine, files)
    script = f"import sys; sys.path.insert(0, '{ENGINE}'); from nodedev.boot.restore import main; main(['--list'])"
    assert engine.run(["/usr/bin/python3", "-B", "-I", "-c", script]).returncode == 0


# What somebody did to the library, by a shell in the release's folder, and what is said of it.
FAULTS = [
    ("chmod 666 nodedev/boot/restore.py", "{root}/nodedev/boot/restore.py has mode 0666 instead of 0644"),
    ("chmod 4644 nodedev/boot/restore.py", "{root}/nodedev/boot/restore.py has mode 4644 instead of 0644"),
    ("chmod 777 nodedev/boot", "{root}/nodedev/boot has mode 0777 instead of 0755"),
    ("chmod 777 .", "{root} has mode 0777 instead of 0755"),
    ("chown 65534 nodedev/plan.py", "{root}/nodedev/plan.py belongs to user 65534 and group 0, not to root"),
    ("chown 0:65534 nodedev", "{root}/nodedev belongs to user 0 and group 65534, not to root"),
    ("echo >> nodedev/names.py", "{root}/nodedev/names.py has been changed"),
    ("rm nodedev/names.py", "{root}/nodedev/names.py is missing"),
    ("mv nodedev/names.py /run/n; ln -s /run/n nodedev/names.py", "{root}/nodedev/names.py is not a file"),
    ("mv nodedev/pools /run/p; ln -s /run/p nodedev/pools", "{root}/nodedev/pools is not a folder"),
    ("rm nodedev/names.py; mkfifo nodedev/names.py", "{root}/nodedev/names.py is not a file"),
    ("rm nodedev/names.py; mkdir nodedev/names.py", "{root}/nodedev/names.py is not a file"),
    ("truncate -s 3G nodedev/names.py", "{root}/nodedev/names.py has been changed"),
    ("mkdir nodedev/__pycache__", "{root}/nodedev/__pycache__ does not belong there"),
    ("touch nodedev/boot/restore.pyc", "{root}/nodedev/boot/restore.pyc does not belong there"),
    ("touch nodedev/other.py", "{root}/nodedev/other.py does not belong there"),
    ("ln -s x nodedev/link", "{root}/nodedev/link does not belong there"),
    ("touch outside.py", "{root}/outside.py does not belong there"),
    (f"chmod 1777 {ENGINE}", f"{ENGINE} has mode 1777 instead of 0755"),
    (f"chown 65534:65534 {ENGINE}", f"{ENGINE} belongs to user 65534 and group 65534, not to root"),
    (f"mv {ENGINE} /usr/lib/other; ln -s other {ENGINE}", f"{ENGINE} is not a folder"),
    (f"mv {ENGINE} /usr/lib/another; touch {ENGINE}", f"{ENGINE} is not a folder"),
]


# Does each damage to the release that runs; tells what the installer says of it in check mode, else, and afterwards.
MEND = """
import json, os, subprocess, sys
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.boot import engine, prefix

FOLDER, WISH = prefix.library("/usr"), {"state": "present", "prefix": None}

told = []
for damage in json.load(sys.stdin):
    root = os.path.dirname(os.path.realpath(FOLDER + "/nodedev"))
    subprocess.run(["sh", "-c", damage], cwd=root, check=True)
    results = [engine.ensure(WISH, check_mode) for check_mode in (True, False, False)]
    found = subprocess.run(["find", FOLDER, "-printf", "%p %u:%g %m %y\\n"], capture_output=True, text=True)
    told.append({"root": root, "results": results, "entries": sorted(found.stdout.splitlines())})
print(json.dumps(told))
"""


def test_each_fault_of_it_is_told_and_mended(engine: Host) -> None:
    files = engine.done("boot_engine")["diff"]["after"]["files"]
    right = [line.replace(release(engine), "{root}") for line in expected(engine, files)]
    damages = json.dumps([damage for damage, _fault in FAULTS])
    script = ["/usr/bin/python3", "-c", MEND]
    done = engine.run(script, input=damages, env=engine.engine_environment)
    for (damage, fault), told in zip(FAULTS, json.loads(done.stdout), strict=True):
        foretold, mended, again = told["results"]
        assert foretold == mended, damage
        found = mended["diff"]["before"]["faults"]
        assert found[0] == fault.format(root=told["root"]), damage
        (warning,) = mended["warnings"]
        named = found if len(found) <= 5 else [*found[:5], f"and {len(found) - 5} more"]
        assert warning == f"the boot engine was not as it had been installed, and is installed anew: {'; '.join(named)}"
        root = f"{ENGINE}/{mended['diff']['after']['release']}"
        assert told["entries"] == sorted(line.format(root=root) for line in right), damage
        assert (again["changed"], again["plan"], again["warnings"]) == (False, [], []), damage
    assert restore(engine).returncode == 0


# What somebody did to the link, by a shell.
LINKS = [
    f"rm {LINK}",
    f"chown -h 65534 {LINK}",
    f"ln -sfn /run/release {LINK}",
    f"ln -sfn ../nodedev/release-0123456789abcdef/nodedev {LINK}",
    f"rm {LINK}; touch {LINK}",
    f"rm {LINK}; mkfifo {LINK}",
    f"rm {LINK}; ln -s nodedev {LINK}",
]


def test_a_link_that_leads_to_no_release_of_roots_is_mended(engine: Host) -> None:
    files = engine.done("boot_engine")["diff"]["after"]["files"]
    for damage in LINKS:
        engine.run(["sh", "-c", damage])
        assert engine.done("boot_engine")["changed"], damage
        assert entries(engine) == expected(engine, files), damage
    assert not engine.done("boot_engine")["changed"]


@pytest.mark.parametrize("folder", ["made by a unit", ""])
def test_a_compiled_file_that_somebody_planted_is_found_and_not_run(engine: Host, folder: str) -> None:
    """Python would take it for the library's own: it names the source's time and size."""
    root = release(engine)
    script = (
        "import importlib.util, os, py_compile, sys\n"
        f"source, planted = '{root}/nodedev/boot/restore.py', '/run/planted.py'\n"
        "status = os.stat(source)\n"
        "with open(planted, 'w') as file: file.write(\"raise SystemExit('planted')\".ljust(status.st_size))\n"
        "os.utime(planted, (status.st_atime, status.st_mtime))\n"
        "py_compile.compile(planted, importlib.util.cache_from_source(source), doraise=True)\n"
    )
    engine.run(["/usr/bin/python3", "-I", "-c", script])
    engine.run(["mkdir", "-p", "/run/nodedev"] if folder else ["rm", "-rf", "/run/nodedev"])
    assert restore(engine, "--list").returncode == 0
    done = engine.done("boot_engine")
    assert done["diff"]["before"]["faults"][0] == f"{root}/nodedev/boot/__pycache__ does not belong there"


def test_it_is_not_installed_by_a_user(host: Host) -> None:
    host.user = ["setpriv", "--reuid=65534", "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    assert f"writing to {ENGINE} needs root: run the task with 'become: true'" in host.module("boot_engine")["msg"]


def test_what_cannot_be_switched_to_is_taken_back(engine: Host) -> None:
    root = release(engine)
    engine.run(["sh", "-c", f"rm {LINK} && mv {root}/nodedev {LINK} && rmdir {root} && mount --bind {LINK} {LINK}"])
    before = entries(engine)
    result = engine.module("boot_engine")
    assert f"{LINK} could not be changed: EBUSY (Device or resource busy). undone: write {root}" in result["msg"]
    assert entries(engine) == before
    engine.run(["umount", LINK])
    assert engine.done("boot_engine")["changed"]


def test_what_cannot_be_removed_does_not_bring_the_old_one_back(engine: Host) -> None:
    root = release(engine)
    engine.run(["sh", "-c", f"mkdir {root}/nodedev/x && mount --bind {root}/nodedev/x {root}/nodedev/x"])
    result = engine.module("boot_engine")
    assert result["msg"] == f"could not remove {root}: {root} could not be changed: EBUSY (Device or resource busy)"
    assert release(engine) == f"{root}-2"
    assert restore(engine).returncode == 0
    engine.run(["umount", f"{root}/nodedev/x"])
    assert engine.done("boot_engine")["plan"] == [f"remove {root}"]
    assert not engine.done("boot_engine")["changed"]


# A run of the installer that is killed at one step of it, in a child of a process that then looks at what is there.
KILLS = r"""
import json, os, random, signal, sys, time
from ansible_collections.hostdev.nodedev.plugins.module_utils._nodedev.boot import install, prefix

FOLDER = prefix.library("/usr")
WATCHED = {"open", "os.mkdir", "os.rename", "os.symlink", "os.remove", "os.rmdir", "os.chown", "os.chmod"}
LINK = FOLDER + "/nodedev"

def run(wanted, step=0, seconds=0.0):
    "Install these files, killed at a step or after so long; whether it came to its end."
    child = os.fork()
    if child == 0:
        steps = iter(range(1, sys.maxsize))
        def watch(event, _arguments):
            if event in WATCHED and next(steps) == step:
                os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(watch)
        install.install(wanted, "/usr", False)
        os._exit(0)
    if seconds:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), code
    return code == 0

def there():
    "The files that run, None where there is no engine."
    if not os.path.isdir(LINK):
        return None
    base = os.path.dirname(os.path.realpath(LINK))
    return {
        os.path.relpath(os.path.join(folder, name), base): open(os.path.join(folder, name)).read()
        for folder, _folders, names in os.walk(os.path.join(base, "nodedev"))
        for name in names
    }

def settled(wanted):
    "The next run completes, and nothing else is left."
    assert run(wanted)
    assert there() == wanted
    release = os.path.basename(os.path.dirname(os.path.realpath(LINK)))
    assert sorted(os.listdir(FOLDER)) == ["nodedev", release], os.listdir(FOLDER)

def lay(files):
    "An earlier layout."
    os.system("rm -rf " + FOLDER)
    for path, text in files.items():
        os.makedirs(os.path.dirname(os.path.join(FOLDER, path)), exist_ok=True)
        with open(os.path.join(FOLDER, path), "w") as file:
            file.write(text)

def small(mark):
    return {"nodedev/__init__.py": "", "nodedev/a.py": mark, "nodedev/b/__init__.py": "", "nodedev/b/c.py": mark * 2}

seen = {"old": 0, "new": 0, "none": 0}
def count(old, new, may_lack=False):
    found = there()
    assert found in (old, new) or (may_lack and found is None), found
    seen["old" if found == old else "new" if found == new else "none"] += 1

old, new = small("old"), small("new")
settled(old)
step = 1
while not run(new, step):
    count(old, new)
    settled(old)
    step += 1
steps = step

step = 1
lay(old)
while not run(new, step):
    count(old, new, may_lack=True)
    settled(new)
    lay(old)
    step += 1

chance = random.Random(20261127)
old = install.sources()
new = {**old, "nodedev/boot/restore.py": old["nodedev/boot/restore.py"] + "# A later release.\n"}
settled(new)
start = time.monotonic()
settled(old)
length = time.monotonic() - start
killed = 0
for _number in range(30):
    killed += not run(new, seconds=chance.uniform(0.001, length))
    count(old, new)
    settled(old)
print(json.dumps({"steps": steps, "killed": killed, **seen}))
"""


def test_a_run_that_is_killed_at_any_step_leaves_one_release(engine: Host) -> None:
    done = engine.run(["/usr/bin/python3", "-c", KILLS], check=False, env=engine.engine_environment)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    print(f"killed at each of {told['steps']} steps, and {told['killed']} times at random: {told}")
    # Else the steps say nothing of a run.
    assert told["steps"] > 20
    assert told["killed"] > 5
    assert told["old"] > 10
    assert told["new"] > 5
    # The one moment between the two renames that an earlier layout needs.
    assert told["none"] <= 2
    assert restore(engine).returncode == 0
