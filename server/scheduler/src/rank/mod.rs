//! Which of the feasible nodes is best.
//!
//! Every feasible node is scored, never a sample. What a node scores by itself depends on that node alone (what it has,
//! what is used of it, how many of the group are there, affinities), so after a placement only one node's score changes.
//! Spreads add the same to all nodes of one value. So nodes stand in one heap per combination of spread values and
//! number of scores that count, and a placement compares the heads: O(combinations + log nodes). Nodes whose value of a
//! distinct property is used up are put aside when they come to the top, until the value is free again; what is
//! particular to one placement (a predecessor that hands over, nodes where it failed) is looked at apart.

mod candidates;
mod ledger;
mod limits;
mod score;
mod spread;

#[cfg(any(test, feature = "testing"))]
pub mod oracle;

pub(crate) use candidates::{Candidate, Ranking};
pub(crate) use ledger::{Delta, Ledger, NO_DELTA};
pub(crate) use limits::Limits;
pub use score::{Points, Scores, Total};
pub(crate) use score::{Standing, fit};
pub(crate) use spread::{SpreadRule, Spreads};
