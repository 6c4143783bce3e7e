//! Which of the feasible nodes is best.
//!
//! Every feasible node is scored, never a sample. A node's score depends on that node alone (what it has, what is used
//! of it, how many of the group are there), so after a placement only one score changes: nodes stand in a heap and a
//! placement costs O(log n). Scores that depend on where the group's other allocations are, as spreads do, will need
//! one heap per value and number of scores, and a comparison of their heads.

mod candidates;
mod ledger;
mod score;

#[cfg(any(test, feature = "testing"))]
pub mod oracle;

pub(crate) use candidates::{Candidate, Ranking, UNFIT};
pub(crate) use ledger::{Delta, Ledger, NO_DELTA};
pub use score::Scores;
pub(crate) use score::fit;
