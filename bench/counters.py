"""What the counters cost: processor time per event, per message and per reply of the upstream, with them and without, the
same statements over the same batches in the same run.

Without is a database whose counting has not come to these messages yet, as it is behind an upgrade: it is asked in the
same way, and adds nothing. Beside it stands what the sums cost to read that are made of them.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from bench import _database, _load
from relay.core import floods
from relay.store import UpstreamReply
from relay.store.sql import appending, counts, knowledge, messages
from relay.store.sql.program import Program
from relay.store.sqlite import database, schema
from relay.store.sqlite.programs import run

MESSAGES, PER_MESSAGE = 1_000, 5
SIZES = (8, 128)  # operations in a transaction


def measured(folder: Path, size: int, *, counted: bool) -> dict[str, float]:
    """Microseconds of CPU per operation, by what it is."""
    dice, now = random.Random(3), time.time()
    path = folder / f"{size}-{counted}-{time.monotonic_ns()}.db"
    with closing(database.connect(path, busy=1.0)) as db:
        schema.migrate(db)
        db.execute("PRAGMA synchronous = OFF")
        if not counted:
            db.execute(counts.CAME_TO, ("",))
        mail = [_database.message(n, now - 86400 * (1 - n / MESSAGES), dice) for n in range(MESSAGES)]
        made = [_database.hit(sent, n, dice).event for sent in mail for n in range(5, 5 + PER_MESSAGE)]
        dice.shuffle(made)  # hits of one moment are of many messages, and all of one hour
        hits = [appending.Hit(event.with_(at=now), None) for event in made]
        replies = [
            messages.Replies((UpstreamReply(s.message_id, (s.copies[0].recipient,), "never", "550 no"),)) for s in mail
        ]
        how = appending.How(knowledge.Asking(), now, floods.Limits(0, 0))

        def each(count: int, work: Callable[[int], Program[object]]) -> float:
            began = time.process_time()
            for at in range(0, count, size):
                db.execute("BEGIN")
                run(db, work(at))
                db.execute("COMMIT")
            return (time.process_time() - began) / count * 1e6

        found = {
            "a message with two recipients": each(MESSAGES, lambda at: messages.record_all(mail[at : at + size])),
            "a reply of the upstream": each(MESSAGES, lambda at: messages.record_replies(replies[at : at + size])),
            "an event": each(len(hits), lambda at: appending.append(hits[at : at + size], how)),
        }
        rows = db.execute("SELECT count(*) FROM counts").fetchone()[0]
        if bool(rows) != counted:
            sys.exit(f"there are {rows} rows of counters")
    os.unlink(path)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.counters", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    _load.header()
    print(f"\ncounters, us of CPU per operation, {options.rounds} rounds, medians")
    with tempfile.TemporaryDirectory() as name:
        for size in SIZES:
            found: dict[bool, list[dict[str, float]]] = {False: [], True: []}
            for _ in range(options.rounds + 1):
                for counted, results in found.items():
                    results.append(measured(Path(name), size, counted=counted))
            for what in found[True][0]:
                without, with_ = (statistics.median(one[what] for one in found[it][1:]) for it in (False, True))
                print(
                    f"  {size:4} in a transaction: {what:30} {without:7.1f} -> {with_:7.1f} us"
                    f"   +{with_ - without:5.1f} us   {with_ / without:5.2f} x"
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
