//! The rows of the usage view by computed class, made anew whenever a node was written.

use std::collections::BTreeMap;
use std::sync::Arc;

use orch_model::node::ComputedClass;
use orch_model::{Node, NodeId};
use orch_state::State;

/// The class number of a vacant row.
pub(crate) const NO_CLASS: u32 = u32::MAX;

/// What a scan over all rows needs beside the rows, without following a pointer per node.
#[derive(Debug)]
pub(crate) struct NodeTable {
    /// The class of each row, as an index into `classes`; [`NO_CLASS`] where the row is vacant.
    pub(crate) class_of: Vec<u32>,
    /// The node of each row.
    pub(crate) ids: Vec<NodeId>,
    /// The classes there are.
    pub(crate) classes: Vec<Class>,
}

/// A class, with one of its nodes.
#[derive(Debug)]
pub(crate) struct Class {
    pub(crate) id: ComputedClass,
    pub(crate) example: Arc<Node>,
}

impl NodeTable {
    /// The table of the nodes in `state`.
    pub(crate) fn of(state: &State) -> Self {
        let rows = state.usage().chunks().iter().map(|chunk| chunk.len()).sum();
        let mut table = Self { class_of: Vec::with_capacity(rows), ids: Vec::with_capacity(rows), classes: Vec::new() };
        let mut numbers: BTreeMap<ComputedClass, u32> = BTreeMap::new();
        for row in state.usage().chunks().iter().flat_map(|chunk| chunk.iter()) {
            let Some(node) = &row.node else {
                table.class_of.push(NO_CLASS);
                table.ids.push(NodeId::default());
                continue;
            };
            let number = *numbers.entry(node.computed_class).or_insert_with(|| {
                table.classes.push(Class { id: node.computed_class, example: Arc::clone(node) });
                u32::try_from(table.classes.len() - 1).unwrap_or(NO_CLASS)
            });
            table.class_of.push(number);
            table.ids.push(node.id);
        }
        table
    }
}
