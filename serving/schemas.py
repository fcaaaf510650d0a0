"""JSON Schema of the types that requests are decoded to and answers made of."""

import datetime
import inspect
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import NODEFAULT, Meta, Raw, Struct, UnsetType

from serving.events import AnyEvent, ecmascript

Schema = dict[str, Any]
_PLAIN: Mapping[Any, Schema] = {
    str: {"type": "string"}, int: {"type": "integer"}, float: {"type": "number"}, bool: {"type": "boolean"},
    bytes: {"type": "string", "format": "binary"},
    types.NoneType: {"type": "null"}, Any: {},
    datetime.datetime: {"type": "string", "format": "date-time"},
    datetime.date: {"type": "string", "format": "date"},
}  # fmt: skip
_BOUNDS = {
    "ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum",
}  # fmt: skip


def schema_of(type: Any, found: dict[str, Schema]) -> Schema:
    """JSON Schema of a type; what is a Struct goes to `found`, by its name. TypeError for an unknown type."""
    if type in _PLAIN:
        return dict(_PLAIN[type])
    if type is Raw:  # events are decoded one by one
        return schema_of(AnyEvent, found)
    origin, arguments = get_origin(type), get_args(type)
    if origin is Annotated:
        inner, *metas = arguments
        held = next((meta.extra["holds"] for meta in metas if meta.extra and "holds" in meta.extra), inner)
        schema = schema_of(held, found)
        for meta in metas:
            schema |= _bounds(meta, schema)
            if meta.description is not None:
                schema["description"] = meta.description
            if meta.extra and "codes" in meta.extra:
                schema["x-extensible-enum"] = meta.extra["codes"]
        return schema
    if origin in (Union, types.UnionType):
        return {"anyOf": [schema_of(one, found) for one in arguments if one is not UnsetType]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (list, tuple):
        return {"type": "array", "items": schema_of(arguments[0], found)}
    if origin in (dict, Mapping):
        return {"type": "object", "additionalProperties": schema_of(arguments[1], found)}
    if inspect.isclass(type) and issubclass(type, Struct):
        return _ref(type, found)
    raise TypeError(f"no JSON Schema is known for {type}")


def _ref(type: type[Struct], found: dict[str, Schema]) -> Schema:
    name = type.__name__.lstrip("_")
    if name not in found:
        found[name] = {}  # it may hold itself
        found[name] = _object(type, found)
    return {"$ref": f"#/components/schemas/{name}"}


def _object(type: type[Struct], found: dict[str, Schema]) -> Schema:
    hints, config = get_type_hints(type, include_extras=True), type.__struct_config__
    fields = msgspec.structs.fields(type)
    properties = {field.encode_name: schema_of(hints[field.name], found) for field in fields}
    required = [f.encode_name for f in fields if f.default is NODEFAULT and f.default_factory is NODEFAULT]
    if config.tag is not None:
        properties = {str(config.tag_field): {"const": config.tag}} | properties
        required = [str(config.tag_field), *required]
    schema: Schema = {"type": "object", "properties": properties, "required": required}
    if config.forbid_unknown_fields:
        schema["additionalProperties"] = False
    if type.__doc__:
        schema["description"] = inspect.cleandoc(type.__doc__)
    return schema


def _bounds(meta: Meta, schema: Schema) -> Schema:
    what = {"array": "Items", "object": "Properties"}.get(schema.get("type", ""), "Length")
    lengths = {f"{end}{what}": getattr(meta, f"{end}_length") for end in ("min", "max")}
    bounds = {name: getattr(meta, attribute) for attribute, name in _BOUNDS.items()} | lengths
    bounds["pattern"] = meta.pattern and ecmascript(meta.pattern)
    return {name: value for name, value in bounds.items() if value is not None}
