//! Blocks of the JSON spelling: objects, keyed by labels as deep as the schema says, and lists of them.

use super::{BodyReader, Labels};
use crate::block::{Block, Label};
use crate::dynamic;
use crate::json::{Kind, Node, Property};
use crate::source::Span;
use crate::syntax::BodyRef;

/// What is being collected, and the labels passed on the way down.
struct Collector<'d> {
    kind: String,
    found: Vec<Block<'d>>,
}

impl<'d> BodyReader<'d> {
    pub(super) fn json_blocks(&self, nodes: &[&'d Node], kind: &str, labels: Labels<'_>) -> Vec<Block<'d>> {
        let mut collector = Collector { kind: kind.to_owned(), found: Vec::new() };
        for property in crate::block::json_properties(nodes) {
            if property.name == kind {
                self.json_property(property, labels, &mut collector);
            } else if self.context.dynamic && property.name == "dynamic" {
                for node in objects(&property.value) {
                    for target in crate::block::json_properties(&[node]).into_iter().filter(|p| p.name == kind) {
                        for body in objects(&target.value) {
                            let body = BodyRef::Json(vec![body]);
                            collector.found.extend(dynamic::generate(&self.context, kind, target.name_span, body));
                        }
                    }
                }
            }
        }
        collector.found
    }

    fn json_property(&self, property: &'d Property, labels: Labels<'_>, collector: &mut Collector<'d>) {
        let (node, span) = (&property.value, property.name_span);
        match (labels, &node.kind) {
            (Labels::Optional(_), Kind::Array(elements)) => {
                for element in elements {
                    self.json_block(element, span, usize::from(looks_labelled(element)), &[], collector);
                }
            }
            (Labels::Optional(_), _) => {
                self.json_block(node, span, usize::from(looks_labelled(node)), &[], collector);
            }
            (Labels::None, _) => self.json_block(node, span, 0, &[], collector),
            (Labels::Exactly(names), _) => self.json_block(node, span, names.len(), &[], collector),
        }
    }

    fn json_block(&self, node: &'d Node, span: Span, depth: usize, labels: &[Label], collector: &mut Collector<'d>) {
        match &node.kind {
            Kind::Null => {}
            Kind::Array(elements) => {
                for element in elements {
                    self.json_block(element, span, depth, labels, collector);
                }
            }
            Kind::Object(properties) if depth > 0 => {
                for property in properties.iter().filter(|property| property.name != "//") {
                    let mut labels = labels.to_vec();
                    labels.push(Label { text: property.name.clone(), span: property.name_span });
                    self.json_block(&property.value, property.name_span, depth - 1, &labels, collector);
                }
            }
            Kind::Object(_) => collector.found.push(Block {
                context: self.context.clone(),
                kind: collector.kind.clone(),
                labels: labels.to_vec(),
                span,
                body: BodyRef::Json(vec![node]),
            }),
            Kind::Bool(_) | Kind::Number(_) | Kind::String(_) => {
                self.error(node.span, format!("`{}` must be an object, not {}", collector.kind, node.kind_name()));
            }
        }
    }
}

/// The block types that a `dynamic` property makes, with their places.
pub(super) fn dynamic_targets(property: &Property) -> Vec<(&str, Span)> {
    let nodes = objects(&property.value);
    crate::block::json_properties(&nodes).into_iter().map(|target| (target.name.as_str(), target.name_span)).collect()
}

/// A node, or the elements of a list, as far as they are objects.
fn objects(node: &Node) -> Vec<&Node> {
    match &node.kind {
        Kind::Object(_) => vec![node],
        Kind::Array(elements) => elements.iter().filter(|element| matches!(element.kind, Kind::Object(_))).collect(),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) => Vec::new(),
    }
}

/// Whether the object of a block with an optional label is keyed by labels: all it holds are bodies.
fn looks_labelled(node: &Node) -> bool {
    match &node.kind {
        Kind::Object(properties) => {
            !properties.is_empty()
                && properties.iter().all(|property| matches!(property.value.kind, Kind::Object(_) | Kind::Array(_)))
        }
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) | Kind::Array(_) => false,
    }
}
