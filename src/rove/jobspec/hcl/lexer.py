"""The patterns that cut a source into tokens. The parser moves over the text with them; no list of tokens is made.

Two token patterns differ in one thing: whether a line end is a token or blank.
"""

from __future__ import annotations

import re

# A repeated group that may not be given back is written (?>(?:...)*) and never (?:...)*+: Python before 3.11.5, as in
# Debian 12, matches the latter wrongly (python/cpython issue 106052). Possessive repeats of one character are sound.

# Whatever is beyond ASCII may be part of a name here; the parser asks Unicode whether it really is. Written as what
# is left out, which compiles several times faster than what is let in.
IDENT = r"[^\x00-@\[-^`{-\x7f][^\x00-,./:-@\[-^`{-\x7f]*+"
NUMBER = r"[0-9](?>(?:\.*+(?:[0-9]|[eE][+-]?[0-9]))*)"
# A quoted text without escapes and interpolation: `$` and `%` are plain unless a brace follows.
_SIMPLE = r"[^\"\\$%\n\r]*+(?>(?:[$%](?!\{)[^\"\\$%\n\r]*+)*)"
_BLOCK_COMMENT = r"/\*(?s:.*?)\*/"
_LINE_COMMENT = r"(?:\#|//)[^\n]*+"

_TOKEN = rf"""
    (?:
      (?P<ident>{IDENT})
    | (?P<number>{NUMBER})
    | "(?P<text>{_SIMPLE})"
    | (?P<line>\r?\n | {_LINE_COMMENT}\n?)
    | <<(?P<flush>-?)(?P<heredoc>{IDENT})\r?\n
    | (?P<sign>==|!=|<=|>=|=>|&&|\|\||\.\.\.|~\}}|[={{}}\[\]().,:?+\-*/%<>!"])
    | (?P<end>\Z)
    | (?P<bad>(?s:.))
    )
"""

_BLANK = rf"(?>(?:[ \t]++|{_BLOCK_COMMENT})*)"
_BLANK_LINES = rf"(?>(?:[ \t\n]++|\r\n|{_LINE_COMMENT}|{_BLOCK_COMMENT})*)"

TOKEN = re.compile(rf"{_BLANK}{_TOKEN}", re.VERBOSE)
TOKEN_IN_BRACKETS = re.compile(rf"{_BLANK_LINES}{_TOKEN}", re.VERBOSE)

# One body item in one match, for the forms that nearly every line of a job has:
# a plain attribute, or the header of a block with at most one label.
ITEM = re.compile(
    rf"""
    {_BLANK_LINES}
    (?:
      (?P<name>[A-Za-z_][A-Za-z0-9_-]*+)(?![\x80-\U0010ffff])
      (?:
        [ \t]*+=[ \t]*+
        (?: "(?P<text>{_SIMPLE})" | (?P<number>[0-9]{{1,15}}+) | (?P<word>true|false) )
        [ \t]*+(?P<after>\r?\n|\#[^\n]*+\n)
      |
        (?:[ \t]*+"(?P<label>{_SIMPLE})")?[ \t]*+\{{[ \t]*+(?P<open>\r?\n)
      )?
    | (?P<close>\}})
    | (?P<end>\Z)
    )
    """,
    re.VERBOSE,
)
AFTER_BLOCK = re.compile(rf"{_BLANK}(?:\r?\n|{_LINE_COMMENT}\n?|\Z)")

# Inside quotes and heredocs.
QUOTED_TEXT = re.compile(r'(?>(?:[^"\\$%\n\r]++|\\[^\n\r]|\$\$\{|%%\{|[$%](?!\{))+)')
_HEREDOC_PART = r"[^$%\n]++|\$\$\{|%%\{|[$%](?!\{)"
HEREDOC_TEXT = re.compile(rf"(?>(?:{_HEREDOC_PART})*)\n|(?>(?:{_HEREDOC_PART})+)")
ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))|([$%])\4\{", re.DOTALL)
HEREDOC_ESCAPE = re.compile(r"([$%])\1\{")

# Where reading may go on after an error: a line that looks like an attribute, a block or a closing brace.
RESUME = re.compile(
    r'^[ \t]*+(?:[A-Za-z_][\w-]*+[ \t]*+(?:=(?![=>])|(?>(?:"[^"\n]*+"[ \t]*+)*)\{)|\}[ \t]*+\r?$)', re.MULTILINE
)

# What Go counts as blank.
GO_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
