"""Passwords and tokens inside settings and commands: what is written down, or told to others, goes without them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MASK = "***"
# What stands before the `@` of an address: a user with a password, or a token alone. A password may hold a slash or an
# `@` that nobody escaped; a port before a path is none.
ADDRESS = re.compile(r"(?P<scheme>\b[A-Za-z][A-Za-z0-9+.-]*://)(?:[^\s/@:]*:(?!\d+(?:[/?#]|$))\S*@|[^\s/?#]*@)")
NAME = r"(?:password|passwd|pwd|secret|api_?key|access_?key|secret_?key|credentials?|token)"
# As a setting, in a query of an address, or as a variable of the environment: the last word of the name tells.
ASSIGNED = re.compile(rf"(?P<name>(?<![A-Za-z0-9])(?:[\w.-]*[._-])?{NAME}=)[^\s&\"']+", re.IGNORECASE)
NAMED = re.compile(rf"(?:.*[._-])?{NAME}", re.IGNORECASE)
# Numbers are called that which count or measure tokens of a text.
TOKEN = re.compile(r"(?:.*[._-])?token", re.IGNORECASE)


def masked(value: Any) -> Any:
    """The same text, or the same mapping or sequence of such values, with `***` for every password and token.

    Found are the user and password of an address (`http://me:secret@host`), and values whose name ends with a word
    such as `password`, `token` or `api_key`; numbers too, unless the word is `token`. Other values stay as they are.
    """
    if isinstance(value, str):
        return ASSIGNED.sub(rf"\g<name>{MASK}", ADDRESS.sub(rf"\g<scheme>{MASK}@", value))
    if isinstance(value, Mapping):
        return {name: _of(str(name), inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [masked(inner) for inner in value]
    if type(value) is tuple:
        return tuple(masked(inner) for inner in value)
    return value


def _of(name: str, value: Any) -> Any:
    if not NAMED.fullmatch(name) or isinstance(value, bool):
        return masked(value)
    # A password of digits is a number in YAML.
    secret = (isinstance(value, str) and value) or (isinstance(value, int | float) and not TOKEN.fullmatch(name))
    return MASK if secret else masked(value)
