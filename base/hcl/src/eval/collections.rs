//! Lists, objects and `for` expressions.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use hcl_edit::Span as _;
use hcl_edit::expr::{Array, Expression, ForExpr, Object, ObjectKey};

use super::{EvalResult, Evaluator, Fault};
use crate::scope::Scope;
use crate::source::Span;
use crate::value::Value;

/// What one step of an iteration binds.
pub(crate) struct Step {
    /// Index, map key, or the element itself for a set.
    pub(crate) key: Value,
    /// The element.
    pub(crate) value: Value,
}

/// The steps of an iteration over a value; `None` if it cannot be iterated.
pub(crate) fn steps(value: Value) -> Option<Vec<Step>> {
    Some(match value {
        Value::List(elements) => elements
            .into_iter()
            .enumerate()
            .map(|(index, value)| Step { key: Value::Number(index.into()), value })
            .collect(),
        Value::Set(elements) => elements.into_iter().map(|value| Step { key: value.clone(), value }).collect(),
        Value::Map(entries) => {
            entries.into_iter().map(|(key, value)| Step { key: Value::String(key), value }).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
    })
}

impl Evaluator<'_> {
    pub(super) fn array(&self, array: &Array, scope: &Scope) -> EvalResult<Value> {
        array.iter().map(|element| self.eval(element, scope)).collect::<EvalResult<_>>().map(Value::List)
    }

    pub(super) fn object(&self, object: &Object, scope: &Scope) -> EvalResult<Value> {
        let mut entries = BTreeMap::new();
        for (key, value) in object.iter() {
            let name = match key {
                ObjectKey::Ident(name) => name.as_str().to_owned(),
                ObjectKey::Expression(Expression::Variable(name)) => name.as_str().to_owned(),
                ObjectKey::Expression(expression) => self.key(expression, scope)?,
            };
            self.charge(scope, name.len(), self.locate(key.span()))?;
            entries.insert(name, self.eval(value.expr(), scope)?);
        }
        Ok(Value::Map(entries))
    }

    fn key(&self, expression: &Expression, scope: &Scope) -> EvalResult<String> {
        let value = self.eval(expression, scope)?;
        value.to_text().map(|text| text.into_owned()).ok_or_else(|| {
            Fault::new(self.span_of(expression), format!("a key must be a string, this is {}", value.kind()))
        })
    }

    pub(super) fn for_expr(&self, for_expr: &ForExpr, scope: &Scope) -> EvalResult<Value> {
        let intro = &for_expr.intro;
        let key_name = intro.key_var.as_ref().map(|name| name.as_str());
        let mut list = Vec::new();
        let mut entries: BTreeMap<String, Value> = BTreeMap::new();
        for inner in self.iterate(&intro.collection_expr, key_name, intro.value_var.as_str(), scope)? {
            if let Some(condition) = &for_expr.cond
                && !self.bool_operand(&condition.expr, &inner, "if")?
            {
                continue;
            }
            let Some(key_expr) = &for_expr.key_expr else {
                list.push(self.eval(&for_expr.value_expr, &inner)?);
                continue;
            };
            let key = self.key(key_expr, &inner)?;
            let value = self.eval(&for_expr.value_expr, &inner)?;
            if for_expr.grouping {
                let group = entries.entry(key).or_insert_with(|| Value::List(Vec::new()));
                if let Value::List(group) = group {
                    group.push(value);
                }
                continue;
            }
            match entries.entry(key) {
                Entry::Vacant(place) => {
                    place.insert(value);
                }
                Entry::Occupied(place) => {
                    let message = format!("two elements have the same key \"{}\"", place.key());
                    return Err(Fault::new(self.span_of(key_expr), message)
                        .with_help(Some("write `...` after the value to group them into lists".to_owned())));
                }
            }
        }
        Ok(if for_expr.key_expr.is_some() { Value::Map(entries) } else { Value::List(list) })
    }

    /// One scope per element of a collection, with key and value bound.
    pub(super) fn iterate(
        &self,
        collection: &Expression,
        key_name: Option<&str>,
        value_name: &str,
        scope: &Scope,
    ) -> EvalResult<Vec<Scope>> {
        let span: Span = self.span_of(collection);
        let value = self.eval(collection, scope)?;
        let kind = value.kind();
        let steps = steps(value).ok_or_else(|| Fault::new(span, format!("`for` cannot go through {kind}")))?;
        self.charge(scope, steps.len().saturating_mul(64), span)?;
        let bind = |step: Step| {
            let scope = match key_name {
                Some(name) => scope.with(name, step.key),
                None => scope.clone(),
            };
            scope.with(value_name, step.value)
        };
        Ok(steps.into_iter().map(bind).collect())
    }
}
