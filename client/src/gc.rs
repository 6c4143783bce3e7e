//! Which finished allocations give up their directory to make room. No I/O.

use orch_model::{AllocId, Timestamp};

/// A finished allocation that still has its directory, and of which the servers know that it finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Finished {
    pub(crate) id: AllocId,
    pub(crate) at: Timestamp,
}

/// The oldest beyond `cap`.
pub(crate) fn surplus(mut finished: Vec<Finished>, cap: usize) -> Vec<AllocId> {
    finished.sort_by_key(|one| (one.at, one.id));
    let surplus = finished.len().saturating_sub(cap);
    finished.into_iter().take(surplus).map(|one| one.id).collect()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_oldest_beyond_the_cap_go() {
        let finished =
            |number: u128, at| Finished { id: AllocId::from_uuid(Uuid::from_u128(number)), at: Timestamp(at) };
        let all = vec![finished(1, 30), finished(2, 10), finished(3, 20)];
        assert_eq!(surplus(all.clone(), 1), [all[1].id, all[2].id]);
        assert_eq!(surplus(all, 3), []);
    }
}
