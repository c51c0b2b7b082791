"""Writes what comes with the program: each library with its version and its licence, and the text of that."""

import importlib.metadata
import sysconfig
from pathlib import Path

TEXTS = ("LICEN", "COPYING", "NOTICE", "AUTHORS")

for folder in sorted(Path(sysconfig.get_path("purelib")).glob("*.dist-info"), key=lambda path: path.name.lower()):
    library = importlib.metadata.PathDistribution(folder)
    about = library.metadata
    if library.name == "trackrelay":
        continue
    told = [name.rpartition(" :: ")[2] for name in about.get_all("Classifier", []) if name.startswith("License ::")]
    licence = about.get("License-Expression") or ", ".join(told) or str(about.get("License")).partition("\n")[0]
    print(f"{'=' * 79}\n{library.name} {library.version}: {licence}")
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name.upper().startswith(TEXTS):
            print(f"\n--- {path.name}\n{path.read_text(encoding='utf-8', errors='replace').rstrip()}")
    print()
