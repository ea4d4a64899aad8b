"""Errors that are the user's to mend."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable


class UserError(Exception):
    """Bad input: the message says which file or key, what was found, what was expected, what to do."""


_REMEDIES = {
    errno.ENOSPC: "the disk is full; free some space and give the same command again",
    errno.EDQUOT: "the quota of disk space is used up; free some space and give the same command again",
    errno.EROFS: "the file system is read-only; mount it for writing or work elsewhere",
    errno.EACCES: "permission denied; let this user read and write there",
    errno.EPERM: "not permitted; let this user read and write there",
    errno.EMFILE: "too many open files; raise the limit (`ulimit -n 4096`) or run fewer jobs at once",
    errno.ENFILE: "too many open files on this machine; run fewer jobs at once",
    errno.EFBIG: "the file would be larger than this system or its limits allow; raise `ulimit -f`",
    errno.EEXIST: "a file is there, where a folder is needed; move it away",
    errno.EIO: "the disk gave an error; look at its health before going on",
    errno.ENOTDIR: "a part of the path is a file, where a folder is needed; move that file away",
    errno.EISDIR: "a folder, where a file is needed; move it away",
    errno.ENAMETOOLONG: "the path is too long; work in a folder nearer to the root",
}


def describe_os_error(error: OSError) -> str:
    """One line of what the operating system refused: file, cause, remedy."""
    where = error.filename2 or error.filename
    cause = _REMEDIES.get(error.errno or 0, (error.strerror or str(error)).lower())
    return f"{where}: {cause}" if where else cause


class Diverged(UserError):
    """Training left the finite numbers: the settings do not suit one another."""


SHOWN = 20
"""Allowed values that a message names; of more it names the nearest few."""


def did_you_mean(found: str, allowed: Iterable[str]) -> str:
    """A sentence that names the allowed values and the one nearest to `found`."""
    allowed = sorted(allowed)
    nearest = difflib.get_close_matches(found, allowed, n=1, cutoff=0.5)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    if len(allowed) > SHOWN:
        near = difflib.get_close_matches(found, allowed, n=SHOWN // 3, cutoff=0)
        return f"allowed: {', '.join(near)} and {len(allowed) - len(near)} more.{hint}"
    return f"allowed: {', '.join(allowed) or '(none)'}.{hint}"
