"""The wire contract: one JSON Schema (2020-12) per notification type, named after it."""

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

SCHEMAS = {p.stem: json.loads(p.read_text("utf-8")) for p in Path(__file__).parent.glob("*.json")}


def errors(notification: Any) -> list[str]:
    """What is wrong with it by the schema of its type; an unknown type is wrong too."""
    schema = SCHEMAS.get(notification.get("type"))
    if schema is None:
        return [f"no schema for {notification.get('type')!r}"]
    found = Draft202012Validator(schema).iter_errors(notification)
    return [f"{'/'.join(map(str, e.absolute_path))}: {e.message}" for e in found]
