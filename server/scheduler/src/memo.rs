//! What calls of the scheduler leave for later ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use orch_model::ids::JobVersionKey;
use orch_model::job::AskError;
use orch_model::node::ComputedClass;
use orch_model::{Job, StateIndex};
use orch_state::{State, Table};

use crate::feasible::{GroupRules, NodeTable, Traits, Verdict, judge};

/// How many groups are remembered before all are forgotten.
const GROUPS: usize = 4096;

/// What calls of the scheduler leave for later ones: compiled constraints and which classes of nodes fulfil them.
///
/// It belongs to one worker and to the states of one server in the order of their indexes. Results equal those with an
/// empty one.
#[derive(Debug, Default)]
pub struct Memo {
    table: Option<(StateIndex, Arc<NodeTable>)>,
    groups: BTreeMap<(JobVersionKey, u16), Known>,
}

/// What is known about a group.
#[derive(Debug)]
struct Known {
    rules: Arc<GroupRules>,
    classes: BTreeMap<ComputedClass, Verdict>,
    judged: Option<(StateIndex, Arc<[Verdict]>, Arc<Traits>)>,
}

/// What a group demands and what each class of nodes is to it.
#[derive(Debug, Clone)]
pub(crate) struct Feasibility {
    pub(crate) rules: Arc<GroupRules>,
    /// In the order of the table's classes.
    pub(crate) verdicts: Arc<[Verdict]>,
    /// What ranking asks of every node.
    pub(crate) traits: Arc<Traits>,
}

impl Memo {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// The nodes of `state` by class.
    pub(crate) fn table(&mut self, state: &State) -> Arc<NodeTable> {
        let index = state.table_index(Table::Nodes);
        match &self.table {
            Some((known, table)) if *known == index => Arc::clone(table),
            _ => {
                let table = Arc::new(NodeTable::of(state));
                self.table = Some((index, Arc::clone(&table)));
                table
            }
        }
    }

    /// Which nodes could run the group at `position` of `job`.
    pub(crate) fn feasibility(&mut self, state: &State, job: &Job, position: u16) -> Result<Feasibility, AskError> {
        let table = self.table(state);
        let index = state.table_index(Table::Nodes);
        let key = (job.version_key(), position);
        if !self.groups.contains_key(&key) {
            if self.groups.len() >= GROUPS {
                self.groups.clear();
            }
            let Some(group) = job.task_groups.get(usize::from(position)) else {
                return Err(AskError::Overflow { group: format!("number {position}") });
            };
            let rules = Arc::new(GroupRules::compile(job, group)?);
            self.groups.insert(key.clone(), Known { rules, classes: BTreeMap::new(), judged: None });
        }
        let known = self.groups.get_mut(&key).expect("inserted above if it was not there");
        let (verdicts, traits) = match &known.judged {
            Some((judged, verdicts, traits)) if *judged == index => (Arc::clone(verdicts), Arc::clone(traits)),
            _ => {
                let verdicts: Arc<[Verdict]> = judge(&known.rules, &table, &mut known.classes).into();
                let traits = Arc::new(Traits::of(&known.rules, state, &table));
                known.judged = Some((index, Arc::clone(&verdicts), Arc::clone(&traits)));
                (verdicts, traits)
            }
        };
        Ok(Feasibility { rules: Arc::clone(&known.rules), verdicts, traits })
    }
}
