"""Clinical: words of medicine that look like names or numbers and identify nobody."""

from __future__ import annotations

import re
from itertools import takewhile

from flujo_deidentifier.codes import is_amount, is_code, is_device, is_measure
from flujo_deidentifier.lexicon import entries, lowered
from flujo_deidentifier.span import Span

_DRUG = re.compile(
    r"[a-z]*(?:pril|sartan|statin|olol|mab|nib|xaban|gatran|arone|azole|cillin|mycin|micin|floxacin|cycline"
    r"|tidine|prazole|dipine"
    r"|thiazide|semide|lactone|gliptin|gliflozin|glutide|formin|zepam|zolam|pidem|oxetine|triptyline|azine"
    r"|apine|idone|triptan"
    r"|profen|coxib|sone|solone|onide|terol|tropium|lukast|parin|platin|taxel|rubicin|vastin|vir|mide|zide"
    r"|limus|dronate|caine"
    r"|codone|morphone|phylline|bital|toin|gabalin|racetam|setron|bilirubin|globin|phosphatase|emia|itis|osis"
    r"|opathy|ectomy|oma|uria"
    r"|algia|plasty|scopy|otomy|ase|feron|cept|grel|fibrate|zumab|ximab|tinib|ciclib|parib)s?"
)
_AFTER = re.compile(
    r"['\u2019]?s?[- ](?:\w+\s){0,2}?(?i:disease|syndrome|lymphoma|sign|reflex|score|scale|criteria|test"
    r"|phenomenon|palsy|sarcoma|anemia|tumou?r|contracture"
    r"|esophagus|oesophagus|thyroiditis|dystrophy|chorea|ulcer|fracture|procedure|operation|manoeuvre|maneuver"
    r"|classification|study|protocol"
    r"|index|stage|staging|grade|cell|cells|body|bodies|dementia|encephalopathy|encephalitis|arthritis"
    r"|granulomatosis|ataxia|carcinoma"
    r"|rules?|guidelines?|equation|formula|curve|analysis|regression|model|coefficient|catheter|line|position"
    r"|fever|virus|infection|trials?|cohort|registry|habitus|rings?|crisis|node|nodules?|drain|shunt|repair|bypass|hernia"
    r"|angina|gangrene|triad|tetralogy|stain|blot|tube|tubes|wires?|nail|plate|screws?|block|joint|canal|ligament|duct"
    r"|pouch|membrane|gait|pupils?|positive|negative|prosthesis|valve|graft|angle|ratio|technique|approach|incision"
    r"|clamp|forceps|bag|spots?|lines|crystals|tremor|type)\b|['\u2019]?s? [IVX]{2,4}\b"
)
_PART = re.compile(r"[^\W_]+?(?=(?:['\u2019]s)?(?![^\W_]))")
_NAMED = re.compile(r"(?i:(?:name|surname|patient|pt|client|applicant|re)\s*:|case of)\s*$")
_SMALL = frozenset(("de", "du", "en", "le", "van", "von", "y"))
_ABBREVIATION = re.compile(
    r"(?i:t[12]dm|cha2ds2?(?:-?vasc)?|hba1c|a1c|spo2|fio2|p[ao]2|pco2|hco3|g6pd|b12|her2|brca[12]|cyp\w+|cd\d+"
    r"|il-?\d+|p53|h\d+n\d+|covid-?\d*"
    r"|sars-cov-2|c\d-?\d*|l\d-?l?\d*|s1|t\d{1,2}|vo2|fev1|ft[34]|ca-?125|ca19-9|igg4|apoe4?|jak2|kras|braf"
    r"|egfr|loc|gcs|bmi|bp|hr|rr|mrn|dob|ssn|npi|dx|tx|hx|rx|pt|yo|\d{1,3}\s?-?(?:yo|y/o|yrs?|years?)(?:-?\s?old)?)"
)
# The rules whose finds may be words of medicine; others have more to go by than the look of a word.
DOUBTED = frozenset(
    {"model", "place", "given-name", "unlisted", "care-words", "given-and-surname", "surname", "long-number", "id-form"}
)
_SHORT = 5
_LONGEST = 16


def is_clinical(word: str) -> bool:
    """Whether a word alone is one of medicine: an abbreviation, a drug, or somebody after whom a disease is called."""
    lower = word.lower()
    if _ABBREVIATION.fullmatch(word) is not None or lower in lowered("eponyms"):
        return True
    if lower in entries("drugs"):
        return True
    return _DRUG.fullmatch(lower) is not None and (word.islower() or lower not in entries("surnames"))


def _abbreviates(text: str, span: Span) -> bool:
    """Whether what a model has found is an abbreviation: a few capitals that nothing says are a name."""
    found = text[span.start : span.end]
    if span.label == "LOCATION" or span.rule != "model" or not found.isalpha() or len(found) >= _SHORT:
        return False
    return not _NAMED.search(text[max(0, span.start - 20) : span.start])


def harmless(text: str, span: Span) -> bool:
    """Whether what was taken for a name or a place is a word of medicine: an eponym, a drug, a test.

    Spans that a title or other words before them make names are names all the same.
    """
    if span.rule not in DOUBTED or span.label not in ("ADDRESS", "ID", "LOCATION", "PERSON", "PHONE"):
        return False
    if is_code(text, span) or is_measure(text, span) or is_amount(text, span):
        return True
    found = text[span.start : span.end]
    spoken = found.lower().replace("-", " ").split()
    if is_device(text, span, spoken):
        return True
    if span.label == "PHONE" or span.detector == "patterns":
        return False
    words = [word.removesuffix("'s") for word in spoken]
    if not lowered("eponyms").isdisjoint(words) and _is_eponym(text, span):
        return True
    if text[span.start - 1 : span.start] == "-" and text[max(0, span.start - 5) : span.start].lower() == "anti-":
        return True
    if found.isupper() and (_AFTER.match(text, span.end) or (_abbreviates(text, span) and not text.isupper())):
        return True
    if found[:1].islower() and all(_is_plain(word) for word in words):
        return True
    if words and entries("drugs").issuperset(words):
        return True
    return not words or (len(found) < _LONGEST and _ABBREVIATION.fullmatch(found) is not None)


def _is_eponym(text: str, span: Span) -> bool:
    """Whether a name is that of a disease, a sign or a procedure.

    A word that is also a family's name is so only before the word for one; hyphens join several that are.
    """
    known = lowered("eponyms")
    start, end = span.start, span.end
    while span.start - start < _LONGEST and start and (text[start - 1].isalnum() or text[start - 1] == "-"):
        start -= 1
    while end - span.end < _LONGEST and end < len(text) and (text[end].isalnum() or text[end] == "-"):
        end += 1
    parts = list(_PART.finditer(text, start, end))
    keys = [part[0].lower() for part in parts]
    count = len(list(takewhile(lambda key: key in known or key in _SMALL, keys)))
    if count < len(parts):
        return _is_followed(text, parts[count - 1].end()) if count else keys[-1] in known and _is_followed(text, end)
    if _is_followed(text, end) or (count > 1 and "-" in text[start:end]):
        return True
    if count > 1 or span.label == "LOCATION":
        return False
    key = keys[0]
    return key in entries("eponyms-alone") or not (key in entries("surnames") or key in entries("given-names"))


def _is_followed(text: str, at: int) -> bool:
    return _AFTER.match(text, at) is not None


def _is_plain(word: str) -> bool:
    word = word.removeprefix("non")
    return word in entries("words") or _ABBREVIATION.fullmatch(word) is not None or _DRUG.fullmatch(word) is not None
