"""How Sphinx builds these pages: ``sphinx-build -n -W -b html docs docs/_build``."""

from __future__ import annotations

from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING, Any

from docutils.nodes import Node, TextElement
from sphinx.addnodes import pending_xref

import flujo_core

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

project = "Flujo"
author = "The Flujo authors"
copyright = "The Flujo authors, Apache-2.0"
version = release = installed_version("flujo-core")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "changelog.d"]
nb_execution_mode = "off"  # the tests execute the notebooks; they are committed without outputs
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"Flujo {release}"

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
napoleon_use_ivar = True

# What is not one of our public names is not linked to: other projects' inventories would need a network.
PUBLIC = "|".join(flujo_core.__all__)
nitpick_ignore_regex = [("py:.*", rf"(?!(.*\.)?({PUBLIC})$).*")]


def public_name(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: TextElement) -> Node | None:
    """Links a name that is written as in its module (``flujo_core.model.step.Step``) to the public one."""
    name = node.get("reftarget", "").rpartition(".")[2]
    if node.get("refdomain") != "py" or name not in flujo_core.__all__:
        return None
    domain = env.get_domain("py")
    target = f"flujo_core.{name}"
    found = domain.resolve_any_xref(env, node["refdoc"], app.builder, target, node, content)
    return found[0][1] if found else None


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("missing-reference", public_name)
    return {"parallel_read_safe": True}
