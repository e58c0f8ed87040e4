"""Where a JSON object ends, found while its text is still coming."""


class ObjectScanner:
    """Follows the text of one JSON object up to its closing brace; does not check what is in it."""

    def __init__(self) -> None:
        """Expects the opening brace first."""
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self.done = False
        """Whether the object has ended."""

    def feed(self, text: str) -> str:
        """That beginning of `text` which belongs to the object."""
        if self.done:
            return ""
        for at, character in enumerate(text):
            if self._in_string:
                if self._escaped:
                    self._escaped = False
                elif character == "\\":
                    self._escaped = True
                elif character == '"':
                    self._in_string = False
            elif character == '"':
                self._in_string = True
            elif character in "{[":
                self._depth += 1
            elif character in "}]":
                self._depth -= 1
                if self._depth == 0:
                    self.done = True
                    return text[: at + 1]
        return text
