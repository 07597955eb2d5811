"""The words of JSON Schema (draft 2020-12, and those of older drafts), by what becomes of them here."""

from __future__ import annotations

ONE_SCHEMA = frozenset({"additionalProperties", "items"})
LISTS_OF_SCHEMAS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
NAMED_SCHEMAS = frozenset({"$defs", "definitions", "patternProperties", "properties"})
"""Their values hold schemas."""

ENFORCED = frozenset(
    {
        "$ref", "const", "enum", "exclusiveMaximum", "exclusiveMinimum", "format", "maxItems", "maxLength",
        "maxProperties", "maximum", "minItems", "minLength", "minProperties", "minimum", "multipleOf",
        "pattern", "required", "type",
    }
)  # fmt: skip
"""What llguidance enforces, besides the keywords above."""

ANNOTATIONS = frozenset(
    {
        "$comment", "$schema", "contentEncoding", "contentMediaType", "contentSchema", "default",
        "deprecated", "description", "discriminator", "example", "examples", "readOnly", "title", "writeOnly",
    }
)  # fmt: skip
"""What says nothing of which values are valid."""

NOT_ENFORCED = frozenset(
    {
        "$anchor", "$dynamicAnchor", "$dynamicRef", "$id", "$recursiveAnchor", "$recursiveRef", "$vocabulary",
        "contains", "dependencies", "dependentRequired", "dependentSchemas", "else", "if", "maxContains",
        "minContains", "not", "propertyNames", "then", "unevaluatedItems", "unevaluatedProperties",
        "uniqueItems",
    }
)  # fmt: skip
"""What llguidance can't enforce."""

FORMATS = frozenset(
    {"date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uri", "uuid"}
)
"""The values of `format` that llguidance enforces."""

GUIDANCE = "x-guidance"
"""llguidance's own options. They are ours to set: with them a schema could allow endless whitespace."""
