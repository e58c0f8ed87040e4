"""Directives in a prompt, as `adapters.fake` lists them."""

import re

DIRECTIVE = re.compile(r"\[(delay_ms|fail_after|tokens|sound_ms)=(\d{1,7})\]")
THINK = re.compile(r"\[think=([^\]]{1,1000})\]")
ANSWER = re.compile(r"\[answer=([^\]]{1,100})\]")
CALL = re.compile(r"\[call=([\w-]+) (\{.*?\})\]")
