//! Which names an expression refers to, found without evaluating it.

use std::collections::BTreeSet;

use hcl_edit::expr::{Expression, Traversal, TraversalOperator};
use hcl_edit::parser;
use hcl_edit::visit::{Visit, visit_expr, visit_template, visit_traversal};

use crate::json::{Kind, Node};

/// Root names, each with the first attribute taken of it, if it is written out.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct References {
    found: BTreeSet<(String, Option<String>)>,
}

impl References {
    pub(crate) fn of_expression(expression: &Expression) -> Self {
        let mut references = Self::default();
        visit_expr(&mut references, expression);
        references
    }

    pub(crate) fn of_node(node: &Node) -> Self {
        let mut references = Self::default();
        references.add_node(node);
        references
    }

    fn add_node(&mut self, node: &Node) {
        match &node.kind {
            Kind::String(text) => self.add_template(text),
            Kind::Array(elements) => elements.iter().for_each(|element| self.add_node(element)),
            Kind::Object(properties) => {
                for property in properties {
                    self.add_template(&property.name);
                    self.add_node(&property.value);
                }
            }
            Kind::Null | Kind::Bool(_) | Kind::Number(_) => {}
        }
    }

    fn add_template(&mut self, text: &str) {
        if let Ok(template) = parser::parse_template(text) {
            visit_template(self, &template);
        }
    }

    /// The attributes that are taken of one root.
    pub(crate) fn attributes_of<'s>(&'s self, root: &'s str) -> impl Iterator<Item = &'s str> {
        self.found.iter().filter(move |(name, _)| name == root).filter_map(|(_, attribute)| attribute.as_deref())
    }
}

impl Visit for References {
    fn visit_traversal(&mut self, traversal: &Traversal) {
        if let Expression::Variable(root) = &traversal.expr {
            let attribute = match traversal.operators.first().map(|operator| operator.value()) {
                Some(TraversalOperator::GetAttr(name)) => Some(name.as_str().to_owned()),
                Some(TraversalOperator::Index(Expression::String(name))) => Some(name.value().clone()),
                _ => None,
            };
            self.found.insert((root.as_str().to_owned(), attribute));
        }
        visit_traversal(self, traversal);
    }
}
