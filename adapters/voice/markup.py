"""Markdown and HTML to the text that a reader sees.

Chat models write Markdown, and read aloud its marks are noise. Every pattern takes time linear in the length of a line.
"""

import html
import re

_TAGS = (
    "a|abbr|b|blockquote|br|cite|code|dd|del|div|dl|dt|em|h[1-6]|hr|i|img|ins|kbd|li|mark|ol|p|pre|q|s|small|span|strong|"
    "sub|sup|table|tbody|td|th|thead|tr|u|ul"
)
_TAG = re.compile(rf"</?(?:{_TAGS})(?:\s[^<>]{{0,500}})?/?>", re.I)
_BREAK = re.compile(r"<(?:br|hr|/p|/div|/li|/h[1-6]|/tr)\s?/?>", re.I)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z]{2,8}\d{0,2});", re.I)
_FENCE = re.compile(r"\s{0,3}(?:`{3,12}|~{3,12})[\w+#.-]{0,40}\s*$")
_RULE = re.compile(r"\s{0,3}(?:(?:\*\s?){3,}|(?:-\s?){3,}|(?:_\s?){3,}|={3,})$")
_TABLE_RULE = re.compile(r"\s*\|?(?:\s*:?-{2,}:?\s*\|)+(?:\s*:?-{2,}:?)?\s*$")
_PREFIX = re.compile(
    r"\s{0,12}(?:(?:>\s?){1,9})?\s{0,12}(?:#{1,6}(?=\s)|[*+•‣▪◦·](?=\s)|-(?=\s))?\s*(?:\[[ xX]\](?=\s))?"
)
_CLOSING_MARKS = re.compile(r"(?<=\S)\s+#{1,6}\s*$")
_TARGET = r"\((?:<[^<>]{0,2000}>|[^()\s]{0,2000})(?:\s+\"[^\"]{0,300}\")?\)"
_LINK = re.compile(rf"!?\[([^\[\]]{{0,500}})\](?:{_TARGET}|\[[^\[\]]{{0,100}}\])")
_AUTOLINK = re.compile(r"<((?:https?://|mailto:)[^<>\s]{1,2000})>", re.I)
_FOOTNOTE = re.compile(r"\[\^[\w-]{1,40}\]")
_MARKS = (
    re.compile(r"(?<![\w`])(`{1,2})(?=\S)([^`]{1,1000}?)(?<=\S)\1(?![\w`])"),
    re.compile(r"(?<!\*)(\*{1,3})(?=[^\s*])([^*]{1,1000}?)(?<=[^\s*])\1(?!\*)"),
    re.compile(r"(?<![\w_])(_{1,3})(?=[^\s_])([^_]{1,1000}?)(?<=[^\s_])\1(?![\w_])"),
    re.compile(r"(?<!~)(~~)(?=[^\s~])([^~]{1,1000}?)(?<=[^\s~])\1(?!~)"),
)


def without_markup(text: str) -> str:
    """The text without Markdown and HTML: a heading, a list item or a table row is a line of its own."""
    text = _TAG.sub("", _BREAK.sub("\n", text))
    text = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
    return "\n".join(_line(line) for line in text.split("\n"))


def _line(line: str) -> str:
    if _FENCE.match(line) or _RULE.match(line) or _TABLE_RULE.match(line):
        return ""
    if line.lstrip().startswith("|") and line.rstrip().endswith("|"):
        line = ", ".join(filter(None, (cell.strip() for cell in line.split("|"))))
    if (prefix := _PREFIX.match(line)) and prefix[0].strip():
        line = _CLOSING_MARKS.sub("", line[prefix.end() :])
    line = _AUTOLINK.sub(lambda match: match[1].removeprefix("mailto:"), line)
    line = _FOOTNOTE.sub("", _LINK.sub(lambda match: match[1], line))
    for marks in _MARKS:
        line = marks.sub(lambda match: match[2], line)
    return line
