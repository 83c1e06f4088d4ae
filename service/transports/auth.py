"""API keys: kept as hashes, compared in constant time, each with its own rate.

A key itself is never stored, logged or named in an error.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from service.contract.bounds import PRIORITY
from service.contract.errors import InvalidArgument, RateLimited, Unauthenticated
from service.scheduling.clock import Clock, MonotonicClock

_PREFIX = "depth_"
ANONYMOUS = "anonymous"
"""The name that requests run under where no keys are asked for."""


def new_key() -> str:
    """Make a key of 256 random bits: so many that one round of SHA-256 hides them well enough."""
    return _PREFIX + secrets.token_urlsafe(32)


def hash_key(key: str) -> str:
    """Return what is stored of a key: its SHA-256, in hex."""
    return hashlib.sha256(key.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """One line of the key file."""

    name: str
    """Whose it is; appears in logs."""
    digest: str
    """``hash_key`` of the key."""
    images_per_s: float | None = None
    """How many images it may send a second in the long run; None: as many as it likes."""
    burst: float | None = None
    """How many it may send at once after a rest; one second's worth, and at least one, where None."""
    priority: int = 0
    """The highest that its requests may have; each step up doubles its share while others wait."""

    def line(self) -> str:
        """Return its line of the key file.

        Raises:
            ValueError: There is none.
        """
        if self.burst is not None and self.images_per_s is None:
            raise ValueError(f"the burst is {self.burst:g} without a rate; expected a rate beside it")
        numbers = [repr(number) for number in (self.images_per_s, self.burst) if number is not None]
        granted = [f"priority={self.priority}"] if self.priority else []
        words = [self.name, self.digest, *(number.removesuffix(".0") for number in numbers), *granted]
        line = " ".join(words)
        try:
            read = _parse_line(line)
        except InvalidArgument as error:
            raise ValueError(str(error)) from None
        if read != self:
            raise ValueError(f"the name is {self.name!r}; expected one word, without #")
        return line


class TokenBucket:
    """Lets ``rate_per_s`` through in the long run and ``burst`` at once.

    Args:
        clock: Measures rates.
    """

    def __init__(self, rate_per_s: float, burst: float, clock: Clock) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._clock = clock
        self._level = burst
        self._measured_at = clock.now()

    def take(self, amount: float) -> float:
        """Take ``amount`` and answer 0, or take nothing and answer in how many seconds it will be there.

        An amount above the burst is let through when the bucket is full, and leaves it in debt.
        """
        now = self._clock.now()
        self._level = min(self._burst, self._level + (now - self._measured_at) * self._rate_per_s)
        self._measured_at = now
        missing = min(amount, self._burst) - self._level
        if missing > 0:
            return missing / self._rate_per_s
        self._level -= amount
        return 0.0


class Caller:
    """A caller whose key is valid, and what it may still send."""

    def __init__(self, name: str, bucket: TokenBucket | None = None, priority: int = 0) -> None:
        self.name = name
        self.priority = priority
        """The highest that their requests may have."""
        self._bucket = bucket

    def charge(self, images: int) -> None:
        """Count images against the caller's rate.

        Raises:
            RateLimited: The caller sent too many requests too quickly.
        """
        wait_s = 0.0 if self._bucket is None else self._bucket.take(images)
        if wait_s > 0:
            raise RateLimited("this API key is over its rate", retry_after_s=wait_s)


current_caller: ContextVar[Caller] = ContextVar("current_caller")
"""The caller of the current request."""
current_peer: ContextVar[str] = ContextVar("current_peer", default="")
"""The other end of its connection, as text."""


def holder() -> str:
    """Return whose a request's bytes are: the API key's, or the connection's where there is none."""
    caller = current_caller.get(None)
    if caller is None or caller.name == ANONYMOUS:
        return f"peer {current_peer.get()}"
    return f"key {caller.name}"


class Keyring:
    """Every key that opens a transport; without any, the transports are open.

    Args:
        keys: The keys, as hashes.
        clock: Measures rates.
    """

    def __init__(self, keys: Iterable[ApiKey] = (), clock: Clock | None = None) -> None:
        clock = clock or MonotonicClock()
        self._callers: list[tuple[bytes, Caller]] = []
        for key in keys:
            bucket = None
            if key.images_per_s is not None:
                burst = max(1.0, key.images_per_s) if key.burst is None else key.burst
                bucket = TokenBucket(key.images_per_s, burst, clock)
            self._callers.append((bytes.fromhex(key.digest), Caller(key.name, bucket, key.priority)))
        self._anonymous = Caller(ANONYMOUS)

    @property
    def required(self) -> bool:
        """Whether a key is asked for at all."""
        return bool(self._callers)

    def admit(self, presented: str | None) -> Caller:
        """Find whose key it is, in a time that does not depend on which or whether.

        Raises:
            Unauthenticated: A key is asked for and this is none of them.
        """
        if not self._callers:
            return self._anonymous
        if not presented:
            raise Unauthenticated("an API key is required")
        digest = hashlib.sha256(presented.encode(errors="replace")).digest()
        found = None
        for known, caller in self._callers:
            if hmac.compare_digest(known, digest):
                found = caller
        if found is None:
            raise Unauthenticated("the API key is not valid")
        return found


class AdminKey:
    """The key of the admin calls, of which only a hash is kept.

    Args:
        key: The key itself.
    """

    def __init__(self, key: str) -> None:
        self._digest = hashlib.sha256(key.encode()).digest()

    def check(self, presented: str | None) -> None:
        """Compare a key with it, in a time that does not depend on how alike they are.

        Raises:
            Unauthenticated: It is another, or none.
        """
        digest = hashlib.sha256((presented or "").encode(errors="replace")).digest()
        if not hmac.compare_digest(self._digest, digest):
            raise Unauthenticated("the admin key is missing or not valid")


def bearer_key(authorization: str | None, api_key: str | None) -> str | None:
    """Take the key out of what a request carries: ``Authorization: Bearer KEY`` or ``X-API-Key: KEY``."""
    if authorization:
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() == "bearer":
            return key.strip()
    return api_key


def read_keys(path: Path) -> list[ApiKey]:
    """Read a key file: a line a key, ``NAME SHA256HEX [IMAGES_PER_S [BURST]] [priority=N]``.

    ``#`` opens a comment.

    Raises:
        ValueError: A line cannot be read; it is named by its number, never quoted.
    """
    keys = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            key = _parse_line(line)
        except (ValueError, InvalidArgument) as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
        if key is not None:
            keys.append(key)
    names = [key.name for key in keys]
    if len(set(names)) != len(names):
        raise ValueError(f"{path}: two keys have the same name")
    return keys


def _parse_line(line: str) -> ApiKey | None:
    """Return the key of a line; None where it holds none."""
    words = line.partition("#")[0].split()
    if not words:
        return None
    priority = 0
    if words[-1].startswith("priority="):
        priority = int(words.pop().partition("=")[2])
        PRIORITY.check("priority", priority)
    if not 2 <= len(words) <= 4:
        raise ValueError(f"{len(words)} words; expected NAME SHA256HEX [IMAGES_PER_S [BURST]] [priority=N]")
    digest = words[1].lower()
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise ValueError("the second word is not a SHA-256 in hex; never write the key itself here")
    numbers = [float(word) for word in words[2:]]
    if not all(0 < number < float("inf") for number in numbers):
        raise ValueError("a rate or burst is not positive")
    rates = dict(zip(("images_per_s", "burst"), numbers, strict=False))
    return ApiKey(name=words[0], digest=digest, priority=priority, **rates)
