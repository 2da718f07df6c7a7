# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the documentation site in .build/docs/html from modules, filters, roles and pages; make docs runs it.

Pages and their links stand as in the repository, so that a link that works there does here. One that leads nowhere, and
anything else that Sphinx or antsibull-docs has to say, fails the build. Nothing is fetched.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FOLDER = ROOT / ".build" / "docs"
SOURCE, HTML = FOLDER / "source", FOLDER / "html"
BIN = Path(sys.executable).parent
COLLECTION = "hostdev.nodedev"
# Pages, and what they lead to.
PAGES = (
    *("*.md", "CHANGELOG.rst", "LICENSE", "MAINTAINERS", "*.txt"),
    *("docs/*.md", "docs/*.svg", "docs/examples/*", "roles/*/README.md"),
)
# A link to a page of the repository, as the documentation of modules has them.
LINK = "`([^`<]*?) <{repository}/blob/main/([^>#]*)\\.md>`__?"


def build() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    for pattern in PAGES:
        for page in ROOT.glob(pattern):
            copy(page, SOURCE / page.relative_to(ROOT))
    for page in (*HERE.glob("*.md"), *HERE.glob("*.rst")):
        copy(page, SOURCE / page.name)
    reference()
    html()
    print(f"the site is {(HTML / 'index.html').relative_to(ROOT)}")


def copy(page: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(page, target)


def reference() -> None:
    """The pages of modules, filters and roles; what leads from there to pages of the repository leads to the site's."""
    run(
        "antsibull-docs",
        "collection",
        "--use-current",
        "--fail-on-error",
        "--no-add-antsibull-docs-version",
        "--no-indexes",
        "--dest-dir",
        str(SOURCE),
        COLLECTION,
    )
    repository = yaml.safe_load((ROOT / "galaxy.yml").read_text())["repository"]
    link = re.compile(LINK.format(repository=re.escape(repository)), re.DOTALL)
    for page in SOURCE.glob("collections/**/*.rst"):
        page.write_text(link.sub(r":doc:`\1 </\2>`", page.read_text()))


def html() -> None:
    run(
        "sphinx-build",
        "--fail-on-warning",
        "--nitpicky",
        "--quiet",
        "--builder",
        "html",
        "--conf-dir",
        str(HERE),
        "--doctree-dir",
        str(FOLDER / "doctrees"),
        str(SOURCE),
        str(HTML),
    )


def run(program: str, *arguments: str) -> None:
    path = f"{BIN}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "playbooks" / "collections")}
    done = subprocess.run([str(BIN / program), *arguments], env=environment, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        sys.exit(f"{program} has failed")


if __name__ == "__main__":
    build()
