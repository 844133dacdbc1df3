"""The files of a small library to audit: good modules, and one of each way to be bad."""

BAD = {
    "bad/coding.py": b"# coding: no-such-thing\n",
    "bad/bytes.py": b"\n\n\n\n'\xf6'\n",
    "bad/null.py": b"x = 1\n\n\0",
    "bad/syntax.py": b"print 'hello'\n",
    "bad/future.py": b"from __future__ import yesterday\n",
}
GOOD = {
    "__init__.py": b"",
    "one.py": b'"""One."""\n\ndef f(a):\n    return a if a else None\n',
    "deep/two.py": b"if a:\n    while b:\n        pass\n",
}
