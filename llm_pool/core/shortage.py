"""What it means when the system gives this process no more of something."""

from __future__ import annotations

import errno

_LACKING = {
    errno.EMFILE: "file descriptors for this process (ulimit -n, LimitNOFILE=)",
    errno.ENFILE: "file descriptors on this machine (fs.file-max)",
    errno.ENOBUFS: "memory for sockets",
    errno.ENOMEM: "memory",
}


def lacking(error: BaseException | None) -> str | None:
    """
    What there is none left of, for a person; None where *error*, and what it came from, says nothing of the kind.

    Source: the errors of accept(2), connect(2), open(2) and socket(2) that are about the caller's side.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in _LACKING:
            return _LACKING[error.errno]
        error = error.__cause__
    return None
