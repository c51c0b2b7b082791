"""What a crash leaves on disk: nothing. The memory of the service holds passwords, keys and mail.

Owns: two settings of the process. Without a size limit of zero the kernel writes a core file; a program that takes
dumps over a pipe (systemd-coredump, apport) may not heed that limit, and gets none from a process that is not dumpable.
Such a process can't be debugged by its own user either, only by root.
"""

from __future__ import annotations

import contextlib
import ctypes
import resource

PR_SET_DUMPABLE = 4  # <sys/prctl.h>


def forbid() -> None:
    """No core of this process from now on, nor of one that it forks."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, AttributeError):  # no Linux: the limit has to do
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
