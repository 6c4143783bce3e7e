//! Type expressions such as `list(string)`, and conversion of values to them.

use std::collections::BTreeMap;
use std::fmt;

use hcl_edit::Span as _;
use hcl_edit::expr::{Expression, FuncCall, ObjectKey};

use crate::eval::{EvalResult, Evaluator, Fault};
use crate::scope::{FileAccess, Scope, UnknownRoots};
use crate::value::Value;

/// A type that a variable may be declared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// Anything, taken as it is.
    Any,
    /// A text.
    String,
    /// A number.
    Number,
    /// A bool.
    Bool,
    /// A sequence of elements of one type.
    List(Box<Type>),
    /// A sorted sequence without duplicates.
    Set(Box<Type>),
    /// Values of one type by name.
    Map(Box<Type>),
    /// Named values, each of its own type.
    Object(BTreeMap<String, Field>),
    /// A sequence of fixed length, each element of its own type.
    Tuple(Vec<Type>),
}

/// One attribute of an object type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The type of its value.
    pub kind: Type,
    /// For `optional(..)`: what stands in if it is absent.
    pub default: Option<Value>,
}

impl Type {
    /// Whether values given as text on a command line are taken as they are, without being parsed.
    pub fn takes_raw_text(&self) -> bool {
        match self {
            Self::Any | Self::String | Self::Number => true,
            Self::Bool | Self::List(_) | Self::Set(_) | Self::Map(_) | Self::Object(_) | Self::Tuple(_) => false,
        }
    }

    /// Reads a type expression; it is never evaluated.
    pub(crate) fn from_expression(evaluator: &Evaluator<'_>, expression: &Expression) -> EvalResult<Self> {
        let span = evaluator.span_of(expression);
        let unknown = |name: &str| {
            Fault::new(span, format!("`{name}` is not a type")).with_help(Some(
                "types are string, number, bool, any, list(..), set(..), map(..), object({..}), tuple([..])".to_owned(),
            ))
        };
        match expression {
            Expression::Variable(name) => match name.as_str() {
                "any" => Ok(Self::Any),
                "string" => Ok(Self::String),
                "number" => Ok(Self::Number),
                "bool" => Ok(Self::Bool),
                "list" => Ok(Self::List(Box::new(Self::Any))),
                "set" => Ok(Self::Set(Box::new(Self::Any))),
                "map" => Ok(Self::Map(Box::new(Self::Any))),
                other => Err(unknown(other)),
            },
            Expression::Parenthesis(inner) => Self::from_expression(evaluator, inner.inner()),
            Expression::FuncCall(call) => Self::from_call(evaluator, call, span, unknown),
            // Old files quote the simple types.
            Expression::String(name) => match name.as_str() {
                "string" => Ok(Self::String),
                "number" => Ok(Self::Number),
                "bool" => Ok(Self::Bool),
                "list" => Ok(Self::List(Box::new(Self::Any))),
                "map" => Ok(Self::Map(Box::new(Self::Any))),
                other => Err(unknown(other)),
            },
            _ => Err(Fault::new(span, "a type is expected here, such as `string` or `list(number)`")),
        }
    }

    fn from_call(
        evaluator: &Evaluator<'_>,
        call: &FuncCall,
        span: crate::source::Span,
        unknown: impl Fn(&str) -> Box<Fault>,
    ) -> EvalResult<Self> {
        let name = call.name.name.as_str();
        let (Some(argument), 1) = (call.args.get(0), call.args.len()) else {
            return Err(Fault::new(span, format!("`{name}` takes one type")));
        };
        let element = || Self::from_expression(evaluator, argument).map(Box::new);
        match name {
            "list" => element().map(Self::List),
            "set" => element().map(Self::Set),
            "map" => element().map(Self::Map),
            "object" => Self::object(evaluator, argument),
            "tuple" => {
                let Expression::Array(elements) = argument else {
                    return Err(Fault::new(span, "`tuple` takes a list of types: tuple([string, number])"));
                };
                let types = elements.iter().map(|element| Self::from_expression(evaluator, element));
                types.collect::<EvalResult<_>>().map(Self::Tuple)
            }
            other => Err(unknown(other)),
        }
    }

    fn object(evaluator: &Evaluator<'_>, argument: &Expression) -> EvalResult<Self> {
        let Expression::Object(object) = argument else {
            let message = "`object` takes names with their types: object({ port = number })";
            return Err(Fault::new(evaluator.span_of(argument), message));
        };
        let mut fields = BTreeMap::new();
        for (key, value) in object.iter() {
            let name = match key {
                ObjectKey::Ident(name) => name.as_str(),
                ObjectKey::Expression(Expression::Variable(name)) => name.as_str(),
                ObjectKey::Expression(Expression::String(name)) => name.as_str(),
                ObjectKey::Expression(other) => {
                    return Err(Fault::new(evaluator.span_of(other), "an attribute name is expected here"));
                }
            };
            fields.insert(name.to_owned(), Self::field(evaluator, value.expr())?);
        }
        Ok(Self::Object(fields))
    }

    fn field(evaluator: &Evaluator<'_>, expression: &Expression) -> EvalResult<Field> {
        let Expression::FuncCall(call) = expression else {
            return Ok(Field { kind: Self::from_expression(evaluator, expression)?, default: None });
        };
        if call.name.name.as_str() != "optional" {
            return Ok(Field { kind: Self::from_expression(evaluator, expression)?, default: None });
        }
        let place = evaluator.span_of(expression);
        let Some(kind) = call.args.get(0).filter(|_| call.args.len() <= 2) else {
            return Err(Fault::new(place, "`optional` takes a type and perhaps a default"));
        };
        let kind = Self::from_expression(evaluator, kind)?;
        let default = match call.args.get(1) {
            Some(default) => {
                let value = evaluator.evaluate(default, &Scope::new(UnknownRoots::Error, FileAccess::Disabled))?;
                kind.convert(value).map_err(|message| {
                    Fault::new(crate::source::Span::from(default.span().unwrap_or_default()), message)
                })?
            }
            None => Value::Null,
        };
        Ok(Field { kind, default: Some(default) })
    }

    /// Converts a value to this type; null stays null.
    ///
    /// # Errors
    ///
    /// A sentence that says what does not fit.
    pub fn convert(&self, value: Value) -> Result<Value, String> {
        if value.is_null() {
            return Ok(Value::Null);
        }
        let misfit = |value: &Value| format!("{} is needed, this is {}", self, value.kind());
        match self {
            Self::Any => Ok(value),
            Self::String => match value.to_text() {
                Some(text) => Ok(Value::String(text.into_owned())),
                None => Err(misfit(&value)),
            },
            Self::Number => value.to_number().map(Value::Number).ok_or_else(|| misfit(&value)),
            Self::Bool => value.to_bool().map(Value::Bool).ok_or_else(|| misfit(&value)),
            Self::List(kind) => match value {
                Value::List(elements) | Value::Set(elements) => convert_all(kind, elements).map(Value::List),
                other => Err(misfit(&other)),
            },
            Self::Set(kind) => match value {
                Value::List(elements) | Value::Set(elements) => convert_all(kind, elements).map(Value::set),
                other => Err(misfit(&other)),
            },
            Self::Map(kind) => match value {
                Value::Map(entries) => entries
                    .into_iter()
                    .map(|(key, value)| match kind.convert(value) {
                        Ok(value) => Ok((key, value)),
                        Err(message) => Err(format!("at \"{key}\": {message}")),
                    })
                    .collect::<Result<_, _>>()
                    .map(Value::Map),
                other => Err(misfit(&other)),
            },
            Self::Object(fields) => match value {
                Value::Map(entries) => convert_object(fields, entries),
                other => Err(misfit(&other)),
            },
            Self::Tuple(kinds) => match value {
                Value::List(elements) if elements.len() == kinds.len() => kinds
                    .iter()
                    .zip(elements)
                    .map(|(kind, element)| kind.convert(element))
                    .collect::<Result<_, _>>()
                    .map(Value::List),
                Value::List(elements) => Err(format!("{} elements are needed, not {}", kinds.len(), elements.len())),
                other => Err(misfit(&other)),
            },
        }
    }
}

fn convert_all(kind: &Type, elements: Vec<Value>) -> Result<Vec<Value>, String> {
    let converted = elements
        .into_iter()
        .enumerate()
        .map(|(index, element)| kind.convert(element).map_err(|message| format!("at element {index}: {message}")));
    converted.collect()
}

fn convert_object(fields: &BTreeMap<String, Field>, mut entries: BTreeMap<String, Value>) -> Result<Value, String> {
    let mut converted = BTreeMap::new();
    for (name, field) in fields {
        let value = match (entries.remove(name), &field.default) {
            (Some(Value::Null) | None, Some(default)) => default.clone(),
            (Some(value), _) => field.kind.convert(value).map_err(|message| format!("at \"{name}\": {message}"))?,
            (None, None) => return Err(format!("the attribute `{name}` is missing")),
        };
        converted.insert(name.clone(), value);
    }
    Ok(Value::Map(converted))
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "any value",
            Self::String => "a string",
            Self::Number => "a number",
            Self::Bool => "a bool",
            Self::List(_) => "a list",
            Self::Set(_) => "a set",
            Self::Map(_) => "a map",
            Self::Object(_) => "an object",
            Self::Tuple(_) => "a tuple",
        })
    }
}
