"""python -m tests.fuzz TARGET [SECONDS]: one target guided by coverage, by atheris (`pip install -e '.[fuzz]'`).

An input that fails is written to crash-… in the folder that --keep names (a temporary one without it) and belongs into
`seeds.FOUND`. Further arguments go to libFuzzer.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path


def main() -> None:
    try:
        import atheris
    except ImportError:
        sys.exit("atheris is not here: pip install -e '.[fuzz]'")
    with atheris.instrument_imports(include=["relay.core"]):
        from tests.fuzz import seeds, targets
    if len(sys.argv) < 2 or sys.argv[1] not in targets.TARGETS:
        sys.exit(
            f"usage: python -m tests.fuzz TARGET [SECONDS] [libFuzzer options]\ntargets: {' '.join(targets.TARGETS)}"
        )
    target, rest = sys.argv[1], sys.argv[2:]
    seconds = rest.pop(0) if rest and rest[0].isdigit() else "60"
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{target}-"))
    (folder / "corpus").mkdir()
    for number, seed in enumerate(seeds.SEEDS[target]):
        (folder / "corpus" / str(number)).write_bytes(seed)
    words = folder / "words"
    quoted = ["".join(map(r"\x{:02x}".format, word)) for word in seeds.WORDS if len(word) < 60]
    words.write_text("".join(f'"{word}"\n' for word in quoted))
    print(f"what is found: {folder}", file=sys.stderr)
    options = [
        f"-max_total_time={seconds}",
        f"-artifact_prefix={folder}/",
        f"-dict={words}",
        "-max_len=8000",
        "-timeout=10",
    ]
    atheris.Setup([sys.argv[0], *options, *rest, str(folder / "corpus")], targets.TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
