//! The functions that expressions may call, one file per group.
//!
//! `try`, `can` and `convert` are not here: their arguments are not plain values, so the evaluator has them.

mod collection;
mod crypto;
mod date;
mod encoding;
mod files;
mod format;
mod network;
mod numeric;
mod sets;
mod string;

use std::collections::BTreeMap;

use crate::eval::OVER_BUDGET;
use crate::number::Number;
use crate::scope::Scope;
use crate::value::Value;

/// Why a call failed, and at which argument.
#[derive(Debug)]
pub(crate) struct CallFault {
    pub(crate) message: String,
    pub(crate) argument: Option<usize>,
}

impl From<String> for CallFault {
    fn from(message: String) -> Self {
        Self { message, argument: None }
    }
}

impl From<&str> for CallFault {
    fn from(message: &str) -> Self {
        Self { message: message.to_owned(), argument: None }
    }
}

pub(crate) type Outcome = Result<Value, CallFault>;

/// A function: its name, how many arguments it takes, and what it does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Function {
    pub(crate) name: &'static str,
    min: usize,
    max: usize,
    pub(crate) body: fn(&mut Call<'_>) -> Outcome,
}

/// For functions that take any number of arguments.
const MANY: usize = usize::MAX;

const fn function(name: &'static str, min: usize, max: usize, body: fn(&mut Call<'_>) -> Outcome) -> Function {
    Function { name, min, max, body }
}

impl Function {
    /// Whether it takes that many arguments; else how many it does take.
    pub(crate) fn accepts(&self, count: usize) -> Result<(), String> {
        if (self.min..=self.max).contains(&count) {
            return Ok(());
        }
        let plural = |n: usize| if n == 1 { "argument" } else { "arguments" };
        Err(match (self.min, self.max) {
            (min, MANY) => format!("at least {min} {}", plural(min)),
            (min, max) if min == max => format!("{max} {}", plural(max)),
            (min, max) => format!("{min} to {max} arguments"),
        })
    }
}

fn groups() -> [&'static [Function]; 10] {
    [
        numeric::FUNCTIONS,
        string::FUNCTIONS,
        format::FUNCTIONS,
        collection::FUNCTIONS,
        sets::FUNCTIONS,
        encoding::FUNCTIONS,
        files::FUNCTIONS,
        date::FUNCTIONS,
        crypto::FUNCTIONS,
        network::FUNCTIONS,
    ]
}

/// The function of that name.
pub(crate) fn find(name: &str) -> Option<&'static Function> {
    groups().into_iter().flatten().find(|function| function.name == name)
}

/// The names of all functions, those of the evaluator included.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    groups().into_iter().flatten().map(|function| function.name).chain(["try", "can", "convert"])
}

/// One call: its arguments, which the accessors take as the kind they need, and the scope it runs in.
///
/// The number of arguments has been checked against the table, so a missing optional one reads as null.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    scope: &'a Scope,
    arguments: Vec<Value>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(scope: &'a Scope, arguments: Vec<Value>) -> Self {
        Self { scope, arguments }
    }

    fn count(&self) -> usize {
        self.arguments.len()
    }

    fn scope(&self) -> &'a Scope {
        self.scope
    }

    /// Takes from the evaluation budget what the result is going to cost, before it is built.
    fn charge(&self, bytes: usize) -> Result<(), CallFault> {
        if self.scope.charge(bytes) { Ok(()) } else { Err(OVER_BUDGET.into()) }
    }

    /// A fault at one argument.
    fn fault(&self, index: usize, message: impl Into<String>) -> CallFault {
        CallFault { message: message.into(), argument: Some(index) }
    }

    fn wrong(&self, index: usize, wanted: &str, value: &Value) -> CallFault {
        self.fault(index, format!("argument {} must be {wanted}, this is {}", index + 1, value.kind()))
    }

    /// The argument as it is; it is taken out, so ask once.
    fn take(&mut self, index: usize) -> Value {
        self.arguments.get_mut(index).map(std::mem::take).unwrap_or_default()
    }

    fn take_rest(&mut self, from: usize) -> Vec<Value> {
        self.arguments.split_off(from.min(self.arguments.len()))
    }

    fn peek(&self, index: usize) -> &Value {
        self.arguments.get(index).unwrap_or(&Value::Null)
    }

    fn string(&mut self, index: usize) -> Result<String, CallFault> {
        match self.take(index) {
            Value::String(text) => Ok(text),
            other => match other.to_text() {
                Some(text) => Ok(text.into_owned()),
                None => Err(self.wrong(index, "a string", &other)),
            },
        }
    }

    fn number(&self, index: usize) -> Result<Number, CallFault> {
        let value = self.peek(index);
        value.to_number().ok_or_else(|| self.wrong(index, "a number", value))
    }

    fn int(&self, index: usize) -> Result<i64, CallFault> {
        let value = self.peek(index);
        let number = self.number(index)?;
        number.as_i64().ok_or_else(|| self.wrong(index, "a whole number of 64 bits", value))
    }

    /// Elements of a list or a set.
    fn list(&mut self, index: usize) -> Result<Vec<Value>, CallFault> {
        match self.take(index) {
            Value::List(elements) | Value::Set(elements) => Ok(elements),
            other => Err(self.wrong(index, "a list", &other)),
        }
    }

    fn strings(&mut self, index: usize) -> Result<Vec<String>, CallFault> {
        let elements = self.list(index)?;
        let texts = elements.into_iter().map(|element| match element {
            Value::String(text) => Ok(text),
            other => match other.to_text() {
                Some(text) => Ok(text.into_owned()),
                None => Err(self.wrong(index, "a list of strings; one element", &other)),
            },
        });
        texts.collect()
    }

    fn map(&mut self, index: usize) -> Result<BTreeMap<String, Value>, CallFault> {
        match self.take(index) {
            Value::Map(entries) => Ok(entries),
            other => Err(self.wrong(index, "a map", &other)),
        }
    }
}
