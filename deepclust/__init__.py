"Deep clustering as notebooks: five papers and their baselines behind one fit / predict"
__version__ = "0.1.0"

from importlib import import_module

from deepclust.registry import PUBLIC

__all__ = ["__version__", *PUBLIC]


def __getattr__(name):
    "Public names, imported when first used, so that `import deepclust` does not import torch"
    if name not in PUBLIC: raise AttributeError(f"module 'deepclust' has no attribute {name!r}; it has {', '.join(PUBLIC)}")
    value = globals()[name] = getattr(import_module(PUBLIC[name]), name)
    return value


def __dir__(): return sorted(__all__)
