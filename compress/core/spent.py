"""Where a run's time goes: seconds by what they were spent on, each second counted once."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextvars import ContextVar

OTHER = "other"


class Account:
    """Seconds by name, which add up to the time that has passed since it was made."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._open: list[tuple[str, bool]] = [(OTHER, False)]
        self._since = time.monotonic()

    def so_far(self) -> dict[str, float]:
        """What was spent up to now, in the order in which each name came up."""
        self._charge()
        return dict(self._seconds)

    def begin(self, name: str, *, whole: bool) -> None:
        """What follows is spent on `name`, until its `end`, and no more on what it was spent on before, unless that
        takes in all that is done inside it."""
        self._charge()
        before, takes_all = self._open[-1]
        self._open.append((before, True) if takes_all else (name, whole))

    def end(self) -> None:
        """What follows is spent on what came before."""
        self._charge()
        self._open.pop()

    def close(self) -> None:
        """From now on nothing is spent."""
        self._charge()
        self._open.clear()

    def take(self, inner: Account) -> None:
        """Count what another account has counted meanwhile, under its names."""
        for name, seconds in inner.so_far().items():
            self._seconds[name] = self._seconds.get(name, 0.0) + seconds
        self._since = time.monotonic()

    def _charge(self) -> None:
        if not self._open:
            return
        now, (name, _) = time.monotonic(), self._open[-1]
        self._seconds[name] = self._seconds.get(name, 0.0) + now - self._since
        self._since = now


# Of this thread: another that works beside it, or another process, spends the same seconds once more.
_account: ContextVar[Account | None] = ContextVar("account", default=None)


@contextlib.contextmanager
def spent() -> Iterator[Account]:
    """Inside, seconds are counted, by what `spending` says they are spent on. What one account inside another counts,
    the outer one counts too."""
    outer, account = _account.get(), Account()
    token = _account.set(account)
    try:
        yield account
    finally:
        account.close()
        _account.reset(token)
        if outer is not None:
            outer.take(account)


@contextlib.contextmanager
def spending(name: str, *, whole: bool = False) -> Iterator[None]:
    """What is done inside is spent on `name`; what is spent on other names inside it is not, unless it is `whole`.
    Where nobody counts it does nothing."""
    account = _account.get()
    if account is None:
        yield
        return
    account.begin(name, whole=whole)
    try:
        yield
    finally:
        account.end()
