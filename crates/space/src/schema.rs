//! The JSON Schema of a space file, from the tables that the parser uses, so that editors complete and
//! check a file.

use serde_json::{Map, Value, json};

use crate::resolve::{DEFINITION_KEYS, FILE_KEYS, LAYER_KEYS, NETWORK_KEYS};
use crate::{ArgumentKind, Primitive, Vocabulary};

/// A JSON Schema (draft 2020-12) of space files with these operations.
///
/// What only a whole file can tell (whether a name is known, whether an expression is one) it does not
/// check.
#[must_use]
pub fn json_schema(vocabulary: &Vocabulary) -> Value {
    let mut schema = table(&FILE_KEYS, &file_key, &["name", "network"]);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("A cellwright space file");
    schema["additionalProperties"] = json!(false);
    let mut definition = table(&DEFINITION_KEYS, &definition_key, &["layers"]);
    definition["additionalProperties"] = json!(false);
    let mut network = table(&NETWORK_KEYS, &definition_key, &["layers"]);
    network["additionalProperties"] = json!(false);
    schema["$defs"] = json!({
        "value": {
            "description": "a number, true or false, or a text with an expression",
            "type": ["number", "boolean", "string"],
        },
        "choice": choice(),
        "option": option(),
        "chosen_value": { "anyOf": [{ "$ref": "#/$defs/value" }, { "$ref": "#/$defs/choice" }] },
        "definition": definition,
        "network": network,
        "definitions": { "type": "object", "additionalProperties": { "$ref": "#/$defs/definition" } },
        "layer": layer(vocabulary),
        "operation": { "anyOf": [{ "type": "string" }, operation_choice()] },
        "source": source(),
        "sources": {
            "anyOf": [
                { "$ref": "#/$defs/source" },
                { "type": "array", "minItems": 1, "items": { "$ref": "#/$defs/source" } },
            ],
        },
        "names": { "type": "array", "minItems": 1, "items": { "type": "string" } },
    });
    schema
}

/// A table with these keys.
fn table(keys: &[(&str, &str)], of: &dyn Fn(&str) -> Value, needed: &[&str]) -> Value {
    let mut properties = Map::new();
    for (key, about) in keys {
        let mut value = of(key);
        value["description"] = json!(about);
        properties.insert((*key).to_owned(), value);
    }
    json!({ "type": "object", "properties": properties, "required": needed })
}

fn file_key(key: &str) -> Value {
    match key {
        "name" | "about" | "notation" => json!({ "type": "string" }),
        "input" => json!({ "type": "string", "pattern": "^ *[0-9]+ *x *[0-9]+ *x *[0-9]+ *$" }),
        "classes" => json!({ "type": "integer", "minimum": 1, "maximum": 1_000_000 }),
        "parameters" => {
            json!({ "type": "object", "additionalProperties": { "$ref": "#/$defs/value" } })
        }
        "options" => json!({ "type": "object", "additionalProperties": { "type": "array" } }),
        "blocks" | "cells" => json!({ "$ref": "#/$defs/definitions" }),
        "network" => json!({ "$ref": "#/$defs/network" }),
        "distinct" => json!({
            "type": "object",
            "properties": {
                "by": { "enum": crate::Equivalence::WORDS.map(|(word, _)| word) },
                "with": { "type": "object", "additionalProperties": { "$ref": "#/$defs/value" } },
            },
            "additionalProperties": false,
        }),
        "require" => json!({ "type": "array", "items": { "type": "string" } }),
        _ => json!({}),
    }
}

fn definition_key(key: &str) -> Value {
    match key {
        "arguments" | "inputs" => json!({ "type": "array", "items": { "type": "string" } }),
        "let" => {
            json!({ "type": "object", "additionalProperties": { "$ref": "#/$defs/chosen_value" } })
        }
        "layers" => {
            json!({ "type": "array", "minItems": 1, "items": { "$ref": "#/$defs/layer" } })
        }
        _ => json!({}),
    }
}

fn layer_key(key: &str) -> Value {
    match key {
        "op" => json!({ "$ref": "#/$defs/operation" }),
        "name" => json!({ "type": "string" }),
        "from" | "each" => json!({ "$ref": "#/$defs/sources" }),
        "repeat" => json!({ "$ref": "#/$defs/chosen_value" }),
        "when" | "auxiliary" => json!({ "$ref": "#/$defs/value" }),
        "layers" => definition_key(key),
        _ => json!({}),
    }
}

/// A layer. Where its operation is a primitive, its arguments are that primitive's.
fn layer(vocabulary: &Vocabulary) -> Value {
    let mut layer = table(&LAYER_KEYS, &layer_key, &[]);
    layer["oneOf"] = json!([{ "required": ["op"] }, { "required": ["layers"] }]);
    let each = vocabulary.primitives.iter().map(arguments);
    layer["allOf"] = Value::Array(each.collect());
    layer
}

fn arguments(primitive: &Primitive) -> Value {
    let mut properties = Map::new();
    for (key, _) in LAYER_KEYS {
        properties.insert(key.to_owned(), json!(true));
    }
    for argument in &primitive.arguments {
        let mut value = argument_value(argument.kind);
        value["description"] = match argument.default {
            Some(default) => json!(format!("{} (default: {default})", argument.about)),
            None => json!(argument.about),
        };
        properties.insert(argument.name.to_owned(), value);
    }
    let needed = primitive.arguments.iter().filter(|it| it.default.is_none());
    let needed: Vec<&str> = needed.map(|it| it.name).collect();
    json!({
        "if": { "properties": { "op": { "const": primitive.name } }, "required": ["op"] },
        "then": {
            "description": primitive.about,
            "properties": properties,
            "required": needed,
            "additionalProperties": false,
        },
    })
}

fn argument_value(kind: ArgumentKind) -> Value {
    let expression = json!({ "type": "string" });
    let whole = json!({ "type": "integer", "minimum": 0 });
    let choice = json!({ "$ref": "#/$defs/choice" });
    let several = |count: usize| {
        let part = json!({ "$ref": "#/$defs/chosen_value" });
        json!({ "type": "array", "minItems": count, "maxItems": count, "items": part })
    };
    match kind {
        ArgumentKind::Whole => json!({ "anyOf": [whole, expression, choice] }),
        ArgumentKind::Number => json!({ "anyOf": [{ "type": "number" }, expression, choice] }),
        ArgumentKind::Bool => json!({ "anyOf": [{ "type": "boolean" }, expression, choice] }),
        ArgumentKind::Pair => json!({ "anyOf": [whole, several(2), expression, choice] }),
        ArgumentKind::Padding(words) => {
            json!({ "anyOf": [{ "enum": words }, whole, several(4), expression, choice] })
        }
        ArgumentKind::Word(words) => json!({ "anyOf": [{ "enum": words }, choice] }),
    }
}

/// `{ choose = [...] }` or `{ choose = "a list of [options]" }`.
fn choice() -> Value {
    json!({
        "type": "object",
        "properties": {
            "choose": {
                "anyOf": [
                    { "type": "array", "minItems": 1, "items": { "$ref": "#/$defs/option" } },
                    { "type": "string" },
                ],
            },
            "name": { "type": "string" },
        },
        "required": ["choose"],
        "additionalProperties": false,
    })
}

/// A value, or one that can be chosen only where a condition holds.
fn option() -> Value {
    json!({
        "anyOf": [
            { "type": ["number", "boolean", "string", "array"] },
            {
                "type": "object",
                "properties": { "value": true, "when": { "$ref": "#/$defs/value" } },
                "required": ["value", "when"],
                "additionalProperties": false,
            },
        ],
    })
}

fn operation_choice() -> Value {
    let mut choice = choice();
    let option = json!({ "type": "object", "required": ["op"] });
    choice["properties"]["choose"]["anyOf"][0]["items"] =
        json!({ "anyOf": [{ "type": "string" }, option] });
    choice
}

fn source() -> Value {
    let table = |key: &str, value: Value| {
        let mut properties = Map::new();
        properties.insert(key.to_owned(), value);
        json!({ "type": "object", "properties": properties, "required": [key], "additionalProperties": false })
    };
    let mut one = table("choose", json!({ "$ref": "#/$defs/names" }));
    one["properties"]["name"] = json!({ "type": "string" });
    let some = json!({ "anyOf": [{ "type": "integer", "minimum": 1 }, { "const": "any" }] });
    let mut several = table("choose", some);
    several["properties"]["of"] = json!({ "$ref": "#/$defs/names" });
    several["properties"]["name"] = json!({ "type": "string" });
    several["required"] = json!(["choose", "of"]);
    let mut take = table("take", json!({ "type": "string" }));
    take["properties"]["when"] = json!({ "$ref": "#/$defs/value" });
    take["required"] = json!(["take", "when"]);
    json!({
        "anyOf": [
            { "type": "string" },
            { "type": "integer", "maximum": -1 },
            one,
            several,
            table("unused", json!({ "$ref": "#/$defs/names" })),
            take,
        ],
    })
}
