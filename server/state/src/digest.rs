//! A running hash of what `apply` wrote, by which a server that went its own way is found.
//!
//! It is folded over every record that an entry writes: which table, which key, and the few fields that `apply` itself
//! computes. Bodies that stand in the log as they are (a job's specification) are left out: they cannot differ while
//! the log does not.

use uuid::Uuid;

use orch_model::JobKey;

/// How many entries lie between two checkpoints.
pub const CHECKPOINT_EVERY: u64 = 10_000;

/// The kinds of records that are folded.
#[derive(Debug, Clone, Copy)]
#[repr(u64)]
pub(crate) enum Record {
    Entry = 1,
    Job,
    Row,
    Eval,
    Alloc,
    Node,
    Deployment,
    Gone,
    Volume,
    Claim,
}

/// The hash so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Digest {
    hash: u64,
    /// Whether anything is folded: entries stamped under rules that had no digest are not.
    is_kept: bool,
}

impl Digest {
    pub(crate) const fn resume(hash: u64, is_kept: bool) -> Self {
        Self { hash, is_kept }
    }

    pub(crate) const fn value(self) -> u64 {
        self.hash
    }

    /// Folds a record named by an id.
    pub(crate) fn id(&mut self, record: Record, id: Uuid, fields: &[u64]) {
        if self.is_kept {
            let (high, low) = id.as_u64_pair();
            self.words(&[record as u64, high, low]);
            self.words(fields);
        }
    }

    /// Folds a record of a job.
    pub(crate) fn job(&mut self, record: Record, key: &JobKey, fields: &[u64]) {
        if self.is_kept {
            self.words(&[record as u64]);
            self.text(key.namespace.as_str());
            self.text(key.job_id.as_str());
            self.words(fields);
        }
    }

    /// Folds numbers.
    pub(crate) fn number(&mut self, record: Record, fields: &[u64]) {
        if self.is_kept {
            self.words(&[record as u64]);
            self.words(fields);
        }
    }

    fn words(&mut self, words: &[u64]) {
        for word in words {
            self.hash = mix(self.hash.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ word);
        }
    }

    fn text(&mut self, text: &str) {
        self.words(&[text.len() as u64]);
        for chunk in text.as_bytes().chunks(8) {
            let mut word = [0; 8];
            word.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
            self.words(&[u64::from_le_bytes(word)]);
        }
    }
}

/// A bijection of 64 bits whose output bits each depend on all input bits (the finaliser of SplitMix64).
const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
