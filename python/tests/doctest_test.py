"""The examples in docstrings run, and print what they say."""

import doctest
import importlib
import inspect
import pkgutil
import types
import uuid

import pytest

import strata


def _docstrings():
    """(name, text) of all that has an example: modules, functions, classes and their members."""
    found, seen = {}, set()

    def visit(name, thing):
        if id(thing) in seen:
            return
        seen.add(id(thing))
        text = inspect.getdoc(thing) if isinstance(thing, type) else getattr(thing, "__doc__", None)
        if isinstance(text, str) and ">>>" in text:
            found[name] = text
        if isinstance(thing, (type, types.ModuleType)):
            for member, value in vars(thing).items():
                is_here = getattr(value, "__module__", None) == thing.__name__
                if isinstance(thing, type) or is_here:
                    visit("%s.%s" % (name, member), value)

    for module in [strata.__name__] + [
        "strata." + module.name
        for module in pkgutil.iter_modules(strata.__path__)
        if module.name not in ("__main__", "_pmdk")
    ]:
        visit(module, importlib.import_module(module))
    return found


DOCSTRINGS = _docstrings()


@pytest.mark.parametrize("name", sorted(DOCSTRINGS))
def test_an_example_prints_what_it_says(name):
    # Segments of this run alone: others on this machine may run it too.
    mark = "doctest-%s-" % uuid.uuid4().hex
    text = DOCSTRINGS[name].replace("shm:", "shm:" + mark)
    test = doctest.DocTestParser().get_doctest(text, {"strata": strata}, name, name, 0)
    said = []
    try:
        doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=said.append)
    finally:
        left = [found["uri"] for found in strata.ls("shm:%s*" % mark)]
        for uri in left:
            strata.remove(uri, force=True)
    assert said == [], "".join(said)
    assert left == [], "the example leaves segments behind"


def test_there_are_examples():
    assert len(DOCSTRINGS) >= 5
