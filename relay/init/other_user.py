"""Does something as another user, in a process of its own: what root may read says nothing of what the service may.

Owns: that process. Leaves to others: who the user is (`folders`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable


def run(uid: int, gid: int, do: Callable[[], int]) -> int:
    """The exit code of `do`, done as that user. As this one, where this is no root or it is that user."""
    if os.geteuid() != 0 or uid == 0:
        return do()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        os.setgroups([gid])
        os.setgid(gid)
        os.setuid(uid)
        code = do()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except (
        ImportError,
        OSError,
    ) as error:  # as which the interpreter finds its own files, where they are not for everybody
        from relay import causes

        why = causes.at(error) if isinstance(error, OSError) else str(error)
        print(f"trackrelay init: the service's user can't run the program ({why}); let it read {sys.prefix}, {sys.base_prefix} and "
              f"{os.path.dirname(os.path.dirname(__file__))}, or install it where everybody can, as docs/install.md does",
              file=sys.stderr)  # fmt: skip
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
