"""Puts stand-ins where tensorflowjs imports packages that this toolchain leaves out.  Run by install: stubs.py SITE_PACKAGES.

tensorflowjs imports TensorFlow Decision Forests, TensorFlow Hub and (through its JAX converter) jax and flax at start, and
uses them only for models of those kinds.  A stand-in imports, and says so when such a model is met.
"""

import sys
from pathlib import Path

PACKAGE = '''"""Stand-in: {title} is not part of Portolan's tensorflow toolchain."""


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    raise ImportError("{title} is not part of this toolchain: {name}." + name + " was asked for")
'''

JAX = '''"""Stand-in: jax and flax are not part of Portolan's tensorflow toolchain."""


def convert_jax(*args, **kwargs):
    raise ImportError("jax is not part of this toolchain: convert_jax was asked for")
'''


def main(site: Path) -> None:
    for name, title in (
        ("tensorflow_decision_forests", "TensorFlow Decision Forests"),
        ("tensorflow_hub", "TensorFlow Hub"),
    ):
        (site / name).mkdir()
        (site / name / "__init__.py").write_text(PACKAGE.format(name=name, title=title), encoding="utf-8")
    (site / "tensorflowjs" / "converters" / "jax_conversion.py").write_text(JAX, encoding="utf-8")


main(Path(sys.argv[1]))
