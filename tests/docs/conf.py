# SPDX-License-Identifier: GPL-3.0-or-later
"""How Sphinx makes the documentation site of what build.py has laid out; nothing of it needs a network."""

from __future__ import annotations

project = "hostdev.nodedev"
author = "The hostdev.nodedev authors"
extensions = ["myst_parser", "sphinx_antsibull_ext"]
root_doc = "index"
# The collection has no variables of the environment.
exclude_patterns = ["*.txt", "collections/environment_variables.rst"]
# As GitHub and other hosts of repositories name the headings of a page: links lead to those.
myst_heading_anchors = 4
highlight_language = "none"
pygments_style = "sphinx"
html_theme = "alabaster"
html_title = "hostdev.nodedev"
html_show_copyright = False
html_copy_source = False
html_theme_options = {
    "description": "A Linux host's virtual devices, declarative",
    "fixed_sidebar": True,
    "page_width": "1240px",
    "sidebar_width": "290px",
}
html_sidebars = {"**": ["about.html", "searchbox.html", "navigation.html"]}
