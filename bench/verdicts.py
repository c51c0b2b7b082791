"""The table of confusion of docs/verdicts.md: made-up hits of gateways and people, by kind, and what they are taken for.
No clock is looked at."""

from __future__ import annotations

import argparse

from relay import network_list
from relay.core import neighbours, traces
from tests.core import hit_traces


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--copies", type=int, default=400, help="of each kind")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    network = network_list.load().of
    total: dict[bool, list[int]] = {False: [0, 0], True: [0, 0]}
    for kind in [*hit_traces.MACHINES, *hit_traces.PEOPLE]:
        found: dict[bool, list[int]] = {False: [0, 0], True: [0, 0]}
        for hits in hit_traces.scenes(kind, args.copies, args.seed):
            judged = traces.judge([traces.read(line) for line in hit_traces.lines(hits)], network)
            for (_, machine), one in zip(hits, judged, strict=True):
                taken = one.verdict not in neighbours.PEOPLE
                found[machine][taken] += 1
                total[machine][taken] += 1
        print(f"{kind.__name__:28}" + "".join(line(who, found[who]) for who in (False, True)))
    print(f"{'all':28}" + "".join(line(who, total[who]) for who in (False, True)))


def line(machine: bool, counts: list[int]) -> str:
    people, machines = counts
    who, wrong = ("machines", people) if machine else ("people", machines)
    share = f"{100 * wrong / sum(counts):.2f}%" if sum(counts) else "-"
    return f"  {who} {sum(counts):6}, taken for {'people' if machine else 'machines'} {wrong:4} ({share:>6})"


if __name__ == "__main__":
    main()
