"""How far what was heard is from what was said."""

import re


def word_error_rate(said: str, heard: str) -> float:
    """Words that were changed, lost or added, as a part of those that were said (edit distance)."""
    wanted, found = (re.findall(r"[a-z0-9]+", text.lower().replace("'", "")) for text in (said, heard))
    row = list(range(len(found) + 1))
    for i, word in enumerate(wanted, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(found, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
    return row[-1] / max(1, len(wanted))
