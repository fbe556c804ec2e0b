"""Reads JSON bodies as servers in Python do, and says what it read: one line in, one line out.

A line in is a body in base64. A line out is `null` when Python refuses the body, else
  document   the body with nothing lost: see `told`
  doubles    whether every number with a fraction or an exponent is the double that Python's own reader makes of it
  first, last, loose
             method, tool and arguments as a reader finds them that keeps the first of two equal keys, the last, or ignores case and
             Unicode form in keys and keeps the last
"""

import base64
import json
import struct
import sys
import unicodedata
from decimal import Decimal


class Members(list):
    """The members of an object in order, none merged."""


def told(value):
    """A value with its kind, so that nothing is changed on the way back: numbers by their exact digits."""
    if value is None:
        return ["null"]
    if isinstance(value, bool):
        return ["bool", value]
    if isinstance(value, int):
        return ["number", str(value)]
    if isinstance(value, Decimal):
        return ["number", str(value)]
    if isinstance(value, str):
        return ["text", value]
    if isinstance(value, Members):
        return ["object", [[key, told(member)] for key, member in value]]
    return ["array", [told(element) for element in value]]


def merged(value, keep, see):
    """The same value in dictionaries: `keep` chooses between two equal keys, `see` is how keys are compared."""
    if isinstance(value, Members):
        result = {}
        for key, member in value:
            key = see(key)
            if keep == "last" or key not in result:
                result[key] = merged(member, keep, see)
        return result
    if isinstance(value, list):
        return [merged(element, keep, see) for element in value]
    return value


def call(document):
    """What a JSON-RPC server makes of it: method, tool, arguments; null for what it does not find."""
    if not isinstance(document, dict):
        return [None, None, None]
    params = document.get("params")
    params = params if isinstance(params, dict) else {}
    return [document.get("method"), params.get("name"), params.get("arguments")]


def plain(value):
    """Dictionaries and lists as `told` writes objects and arrays."""
    if isinstance(value, dict):
        return ["object", [[key, plain(member)] for key, member in value.items()]]
    if isinstance(value, list):
        return ["array", [plain(element) for element in value]]
    return told(value)


def folded(key):
    """A key to a reader that ignores case and compatibility forms."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", key).casefold())


def doubles(value):
    """The doubles of a document, in order, by their bits."""
    if isinstance(value, float):
        return [struct.pack(">d", value).hex()]
    if isinstance(value, dict):
        value = list(value.values())
    return [bits for element in value for bits in doubles(element)] if isinstance(value, list) else []


def decimals(value):
    """The numbers with a fraction or an exponent, in order, as the doubles nearest to them, by their bits."""
    if isinstance(value, Decimal):
        return [struct.pack(">d", float(value)).hex()]
    if isinstance(value, Members):
        value = [member for _, member in value]
    return [bits for element in value for bits in decimals(element)] if isinstance(value, list) else []


def read(body):
    try:
        exact = json.loads(body, parse_float=Decimal, object_pairs_hook=Members)
        usual = json.loads(body)
    except (ValueError, RecursionError):
        return None

    def seen(keep, see=lambda key: key):
        return [plain(part) for part in call(merged(exact, keep, see))]

    return {
        "document": told(exact),
        "doubles": doubles(usual) == decimals(exact),
        "first": seen("first"),
        "last": seen("last"),
        "loose": seen("last", folded),
    }


for line in sys.stdin.buffer:
    # ASCII only: what is not comes as an escape, lone surrogates included.
    print(json.dumps(read(base64.b64decode(line))), flush=True)
