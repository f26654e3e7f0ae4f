"""Writes the vectors anew: ``python -m tools.vectors``."""

from tools.vectors import FOLDER, text, vectors

for name, value in vectors().items():
    (FOLDER / name).write_text(text(value), encoding="utf-8")
    print(f"wrote {name}")
