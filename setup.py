"""What pyproject.toml cannot say: the page and the files that ship have other names in an installation.

`app` becomes `coladlm_page`, since other programs have an `app`, too, and `assets` becomes a folder of `coladlm`; see
coladlm/assets.py.
"""

from pathlib import Path

from setuptools import find_packages, setup

ASSETS = Path("assets")
page = [name.replace("app", "coladlm_page", 1) for name in find_packages(include=["app", "app.*"])]
shipped = [str(file.relative_to(ASSETS)) for file in sorted(ASSETS.rglob("*")) if file.is_file()]

setup(
    packages=[*find_packages(include=["coladlm", "coladlm.*"]), "coladlm.shipped", *page],
    package_dir={"coladlm_page": "app", "coladlm.shipped": "assets"},
    package_data={
        "coladlm": ["py.typed"],
        "coladlm.shipped": shipped,
        "coladlm_page": [f"**/*.{kind}" for kind in ("css", "html", "js", "svg")],
    },
)
