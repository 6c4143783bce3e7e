//! Which ended allocations give up their directory to make room. No I/O.

use std::time::Duration;

use orch_model::{AllocId, Timestamp};

use crate::config::GcConfig;

/// One that ended so recently is not collected for the sake of numbers: somebody may want to know why it ended.
const FRESH: Duration = Duration::from_secs(60);

/// An ended allocation that still has its directory, and of which the servers know that it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) id: AllocId,
    pub(crate) at: Timestamp,
}

/// How full the file system of the allocations' directories is, in percent.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Fullness {
    pub(crate) disk: f64,
    pub(crate) inodes: f64,
}

/// Why a directory is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The node keeps more directories than `gc_max_allocs`.
    Count,
    /// More of the disk is used than `gc_disk_usage_threshold`.
    Disk,
    /// More inodes are used than `gc_inode_usage_threshold`.
    Inodes,
    /// Somebody asked for it.
    Asked,
}

impl Reason {
    /// Its name in logs and metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Disk => "disk",
            Self::Inodes => "inodes",
            Self::Asked => "asked",
        }
    }
}

/// What short of room there is, disk before inodes.
pub(crate) fn shortage(full: Fullness, rules: &GcConfig) -> Option<Reason> {
    if full.disk > rules.disk_usage_threshold {
        Some(Reason::Disk)
    } else {
        (full.inodes > rules.inode_usage_threshold).then_some(Reason::Inodes)
    }
}

/// Those that give up their directory now, oldest first.
///
/// `directories` counts every allocation that has one, running or ended. Beyond `max_allocs` ended ones go, except fresh
/// ones. Where disk or inodes are short, fresh or not, as many go as are removed at a time; what that freed is to be
/// measured before the next call.
pub(crate) fn choose(
    mut ended: Vec<Ended>,
    directories: usize,
    full: Fullness,
    rules: &GcConfig,
    now: Timestamp,
) -> Vec<(AllocId, Reason)> {
    ended.sort_by_key(|one| (one.at, one.id));
    let surplus = directories.saturating_sub(rules.max_allocs);
    let settled = |one: &&Ended| now.since(one.at).to_std() >= FRESH;
    let mut chosen: Vec<_> =
        ended.iter().take(surplus).take_while(settled).map(|one| (one.id, Reason::Count)).collect();
    if let Some(reason) = shortage(full, rules) {
        let more = ended.iter().take(rules.parallel_destroys).skip(chosen.len());
        chosen.extend(more.map(|one| (one.id, reason)));
    }
    chosen
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const ROOMY: Fullness = Fullness { disk: 50.0, inodes: 50.0 };
    /// Long after everything below.
    const LATER: Timestamp = Timestamp(3_600_000_000_000);

    fn id(number: u128) -> AllocId {
        AllocId::from_uuid(Uuid::from_u128(number))
    }

    fn ended(number: u128, at: i64) -> Ended {
        Ended { id: id(number), at: Timestamp(at) }
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many_directories_running_ones_included() {
        let all = vec![ended(1, 30), ended(2, 10), ended(3, 20)];
        let rules = GcConfig { max_allocs: 4, ..GcConfig::default() };
        let two_too_many = choose(all.clone(), 6, ROOMY, &rules, LATER);
        assert_eq!(two_too_many, [(id(2), Reason::Count), (id(3), Reason::Count)]);
        assert_eq!(choose(all.clone(), 4, ROOMY, &rules, LATER), []);
        assert_eq!(choose(all, 100, ROOMY, &rules, LATER).len(), 3, "those that run are never given up");
    }

    #[test]
    fn what_ended_a_moment_ago_is_spared_unless_there_is_no_room() {
        let now = Timestamp(100_000_000_000);
        let all = vec![ended(1, 0), ended(2, 90_000_000_000)];
        let rules = GcConfig { max_allocs: 0, parallel_destroys: 2, ..GcConfig::default() };
        assert_eq!(choose(all.clone(), 2, ROOMY, &rules, now), [(id(1), Reason::Count)]);
        let full = Fullness { disk: 81.0, ..ROOMY };
        assert_eq!(choose(all, 2, full, &rules, now), [(id(1), Reason::Count), (id(2), Reason::Disk)]);
    }

    #[test]
    fn a_full_disk_takes_the_oldest_a_few_at_a_time() {
        let all: Vec<Ended> = (1..=5).map(|number| ended(number, 10)).collect();
        let rules = GcConfig { parallel_destroys: 2, ..GcConfig::default() };
        let full = Fullness { disk: 80.5, inodes: 0.0 };
        assert_eq!(choose(all.clone(), 5, full, &rules, LATER), [(id(1), Reason::Disk), (id(2), Reason::Disk)]);
        let inodes = Fullness { disk: 80.0, inodes: 70.1 };
        assert_eq!(choose(all.clone(), 5, inodes, &rules, LATER)[0], (id(1), Reason::Inodes));
        assert_eq!(choose(all, 5, Fullness { disk: 80.0, inodes: 70.0 }, &rules, LATER), []);
    }
}
