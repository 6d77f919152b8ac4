"""Sphinx' configuration for the course's site: https://www.sphinx-doc.org/en/master/usage/configuration.html

Whatever would be fetched from another host is left out or lies in the site: it is read in a folder, without a network.
"""

from importlib.resources import files

from sphinx.application import Sphinx

from labkit.maintain.site.reading import CourseLexer

project = "Istio, live"
language = "en"
extensions = ["myst_nb"]
exclude_patterns = ["notebooks/data"]

nb_execution_mode = "off"
nb_custom_formats = {".ipynb": "labkit.maintain.site.reading.read"}
nb_ipywidgets_js: dict[str, dict[str, str]] = {}
nb_render_error_lexer = "none"  # a LabError has no traceback
myst_enable_extensions: list[str] = []
myst_heading_anchors = 3

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["static", str(files("plotly") / "package_data" / "plotly.min.js")]
html_css_files = ["course.css"]
html_copy_source = False
html_use_index = False
html_show_sphinx = False
html_show_copyright = False
html_show_search_summary = False  # it asks for each page by fetch, which a browser forbids in a folder
html_context = {"default_mode": "auto"}  # without one, each page says in its console that there is none
html_theme_options = {
    "home_page_in_toc": True,
    "navbar_persistent": [],
    "use_download_button": False,
    "show_toc_level": 2,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}


def setup(app: Sphinx) -> None:
    """Have the notebooks' cells highlighted by the course's lexer."""
    app.add_lexer("ipython3", CourseLexer)
