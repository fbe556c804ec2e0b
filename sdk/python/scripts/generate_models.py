"""Writes src/holdpoint/models.py from the gateway's openapi.json.

`python scripts/generate_models.py` writes the file; with `--check` it only says whether the file is up to date.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent.parent
DOCUMENT = HERE.parent.parent / "openapi.json"
TARGET = HERE / "src" / "holdpoint" / "models.py"

#: The operations that the client has; every schema that they reach is written.
OPERATIONS = (
    "createApproval",
    "readApproval",
    "listApprovals",
    "decideApproval",
    "bulkDecide",
    "cancelApproval",
    "resolveApproval",
    "readTimeline",
    "readStats",
)
#: Further answers of an operation, which its description names and its schema does not.
ALSO = ("Approval",)
#: A schema that has all the members of another one is written as its subclass.
EXTENDS = {"Approval": "PublicApproval"}
#: Names for enumerations that stand inside of a schema.
ENUMERATIONS = {
    ("PublicApproval", "status"): "Status",
    ("PublicApproval", "kind"): "Kind",
    ("PublicApproval", "risk"): "Risk",
    ("Approval", "sla"): "Sla",
    ("Outcome", "state"): "OutcomeState",
    ("Problem", "code"): "ProblemCode",
}
#: Names that the generated file exports under another name.
RENAMED = {"Caller": "Waiting"}

HEAD = '''"""The documents of the approvals API.

Written by `scripts/generate_models.py` from `openapi.json`. Do not edit: change the gateway, then run the script.
Times are aware `datetime`s in UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias, TypedDict
'''

Schema = dict[str, Any]


def is_time(name: str, schema: Schema) -> bool:
    """Whether a text member is a time: the API calls each `at`, `now` or `…_at`."""
    return name in ("at", "now") or name.endswith("_at") or schema.get("format") == "date-time"


class Writer:
    """Turns the document's schemas into Python."""

    def __init__(self, document: Schema) -> None:
        self.schemas: dict[str, Schema] = document["components"]["schemas"]
        self.operations = {
            operation["operationId"]: operation for path in document["paths"].values() for operation in path.values()
        }
        self.answers: set[str] = set()
        self.requests: set[str] = set()
        self.enumerations: dict[str, list[str]] = {}

    def collect(self) -> None:
        """Finds the schemas that the operations reach."""
        for name in OPERATIONS:
            operation = self.operations[name]
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
            if body:
                self._reach(body, self.requests)
            for answer in operation["responses"].values():
                for content in answer.get("content", {}).values():
                    self._reach(content["schema"], self.answers)
        for name in ALSO:
            self._reach({"$ref": f"#/components/schemas/{name}"}, self.answers)

    def _reach(self, schema: Any, into: set[str]) -> None:
        if isinstance(schema, dict):
            reference = schema.get("$ref")
            if isinstance(reference, str):
                name = reference.rsplit("/", 1)[1]
                if name not in into:
                    into.add(name)
                    self._reach(self.schemas[name], into)
            for value in schema.values():
                self._reach(value, into)
        elif isinstance(schema, list):
            for value in schema:
                self._reach(value, into)

    def type_of(self, owner: str, member: str, schema: Schema) -> str:
        """The annotation of a member."""
        if "$ref" in schema:
            name = str(schema["$ref"]).rsplit("/", 1)[1]
            return RENAMED.get(name, name)
        if "anyOf" in schema:
            kinds = [self.type_of(owner, member, kind) for kind in schema["anyOf"]]
            return " | ".join(sorted(kinds, key=lambda kind: kind == "None"))
        kind = schema.get("type")
        if isinstance(kind, list):
            kinds = [self.type_of(owner, member, {**schema, "type": one}) for one in kind]
            return " | ".join(sorted(kinds, key=lambda kind: kind == "None"))
        if "enum" in schema:
            name = ENUMERATIONS[owner, member]
            self.enumerations[name] = schema["enum"]
            return name
        if kind == "string":
            return "datetime" if is_time(member, schema) else "str"
        if kind == "array":
            return f"list[{self.type_of(owner, member, schema['items'])}]"
        if kind is None:
            return "Any"
        return {"integer": "int", "boolean": "bool", "number": "float", "null": "None"}[kind]

    def members(self, name: str) -> Iterator[str]:
        """The members of an answer, each with its description."""
        schema = self.schemas[name]
        properties: dict[str, Schema] = schema["properties"]
        base = EXTENDS.get(name)
        inherited = self.schemas[base]["properties"] if base else {}
        for member, kind in inherited.items():
            if properties.get(member) != kind:
                raise SystemExit(f"`{name}.{member}` is not that of `{base}` any more: adapt EXTENDS")
        for member, kind in properties.items():
            if member in inherited:
                continue
            annotation = self.type_of(name, member, kind)
            if member not in schema["required"]:
                raise SystemExit(f"`{name}.{member}` may be missing in an answer: teach this script what that means")
            yield f"    {member}: {annotation}"
            if "description" in kind:
                yield f'    """{kind["description"]}"""'

    def answer(self, name: str) -> str:
        base = EXTENDS.get(name)
        head = f"class {RENAMED.get(name, name)}({base}):" if base else f"class {RENAMED.get(name, name)}:"
        lines = ["@dataclass(frozen=True, kw_only=True)", head]
        lines.append(f'    """{self.schemas[name]["description"]}"""')
        return "\n".join([*lines, "", *self.members(name)])

    def request(self, name: str) -> str:
        schema = self.schemas[name]
        required = schema.get("required", [])
        plain = [(m, k) for m, k in schema["properties"].items() if m in required]
        optional = [(m, k) for m, k in schema["properties"].items() if m not in required]
        blocks = []
        parent = "TypedDict"
        if plain:
            parent = f"_{name}Required"
            lines = [f"    {member}: {self.type_of(name, member, kind)}" for member, kind in plain]
            blocks.append("\n".join([f"class {parent}(TypedDict):", *lines]))
        lines = [f"    {member}: {self.type_of(name, member, kind)}" for member, kind in optional]
        body = [f"class {name}Body({parent}, total=False):", f'    """{schema["description"]}"""', "", *lines]
        blocks.append("\n".join(body).rstrip())
        return "\n\n\n".join(blocks)

    def text(self) -> str:
        """The whole file."""
        self.collect()
        enumerations = {n for n in self.answers | self.requests if "oneOf" in self.schemas[n]}
        for name in sorted(enumerations):
            self.enumerations[name] = [one["const"] for one in self.schemas[name]["oneOf"]]
        answers = [self.answer(name) for name in self._in_order(self.answers - enumerations)]
        requests = [self.request(name) for name in sorted(self.requests - enumerations)]
        aliases = []
        for name, values in sorted(self.enumerations.items()):
            aliases.append(f"{name}: TypeAlias = Literal[{', '.join(json.dumps(value) for value in values)}]")
        return "\n".join([HEAD, "\n".join(aliases), *("\n\n" + block for block in answers + requests)]) + "\n"

    def _in_order(self, names: set[str]) -> list[str]:
        """By name, a base class before what extends it."""
        return sorted(names, key=lambda name: (name in EXTENDS, name))


def generate() -> str:
    """The file as it should be."""
    return Writer(json.loads(DOCUMENT.read_text())).text()


def main() -> int:
    text = generate()
    if "--check" in sys.argv[1:]:
        if TARGET.read_text() == text:
            return 0
        print(f"{TARGET} is out of date: run python scripts/generate_models.py", file=sys.stderr)
        return 1
    TARGET.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
