import doctest
import importlib
import pkgutil

import pytest

import marketdata.core
import marketdata.metrics

MODULES = [
    f"{room.__name__}.{module.name}"
    for room in (marketdata.core, marketdata.metrics)
    for module in pkgutil.iter_modules(room.__path__)
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_are_true(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples_to_run():
    modules = [importlib.import_module(name) for name in MODULES]
    finder = doctest.DocTestFinder()
    assert sum(len(found.examples) for module in modules for found in finder.find(module)) >= 3
