"""Finds the end of a JSON object while its text arrives."""


class ObjectScanner:
    """Follows the text of one JSON object up to its closing brace; does not validate it."""

    def __init__(self) -> None:
        """Expects text that starts with the opening brace."""
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self.done = False
        """Whether the object has ended."""

    def feed(self, text: str) -> str:
        """The leading part of `text` that belongs to the object."""
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
