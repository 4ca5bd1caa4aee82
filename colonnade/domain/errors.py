# SPDX-License-Identifier: Apache-2.0
"""What may go wrong, by what can be done about it.

Refused: the caller must change something. Unavailable: waiting may help. Broken: a person
or a replacement must help. Anything else that is raised is a bug, and loud. Errors are raised
where they are known and caught at two places: `api/app.py` and `controller/loop.py`.
"""

POLICY = "Policy does not allow this request to be performed."  # contract


class ColonnadeError(Exception):
    """An expected failure. `public` may be shown to users; `detail` is for the operator."""

    def __init__(self, public: str, *, detail: str = "") -> None:
        super().__init__(f"{public} ({detail})" if detail else public)
        self.public = public
        self.detail = detail


class Refused(ColonnadeError):
    """The caller must change something. Never retried."""


class Invalid(Refused):
    """A value breaks a rule. `field` is the name the user API uses."""

    def __init__(self, public: str, *, field: str = "", detail: str = "") -> None:
        super().__init__(public, detail=detail)
        self.field = field


class Malformed(Invalid):
    """Not a whole request. Nothing that follows on its connection can be read."""


class TooLarge(Refused):
    """The request is larger than the limit."""


class UnknownEncoding(Refused):
    """The body has an encoding that is not supported."""


class Forbidden(Refused):
    """The caller may not do this."""


class NotAuthenticated(Refused):
    """Nothing proves who calls. `challenge`: how it may be proved, where that is not as usual."""

    def __init__(self, public: str, *, challenge: str = "") -> None:
        super().__init__(public)
        self.challenge = challenge


class Throttled(Refused):
    """Too much at once. It may be asked again after `after_s` seconds."""

    def __init__(self, public: str, *, after_s: float = 1.0) -> None:
        super().__init__(public)
        self.after_s = after_s


class TooSlow(Refused):
    """The caller took too long to say what it wants."""


class NotFound(Refused):
    """No such object (for this caller)."""


class Conflict(Refused):
    """A duplicate, something in use, or a precondition that does not hold."""


class Unprocessable(Refused):
    """Valid by itself, but not together with an earlier request."""


class OverQuota(Refused):
    """The project's quota is met."""


class Incompatible(Refused):
    """The provider or flavor can never serve this."""


class Unavailable(ColonnadeError):
    """Waiting may help. Retried with backoff and jitter."""


class OutOfCapacity(Unavailable):
    """No spare, no address, no host."""


class Unplaceable(OutOfCapacity):
    """There is room, and none of it is where it was asked to be."""


class Unreachable(Unavailable):
    """A time-out or a refused connection."""


class Contended(Unavailable):
    """Someone else wrote first; look again."""


class Broken(ColonnadeError):
    """Waiting cannot help. Recorded on the object and shown."""


class Rejected(Broken):
    """haproxy said no; `public` says why in words a user may see, `detail` in haproxy's own."""


def require(field: str, holds: bool, rule: str) -> None:
    """Raise `Invalid` for `field` unless the rule holds."""
    if not holds:
        raise Invalid(f"{field} {rule}", field=field)
