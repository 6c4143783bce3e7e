//! What a host refuses to give, and a container can do without: it is given what the host allows instead, with a warning.

use bollard::models::{ContainerCreateBody, ResourcesUlimits};

/// The names of limits by their numbers, which is how a runtime complains of them.
const LIMITS: [&str; 16] = [
    "cpu",
    "fsize",
    "data",
    "stack",
    "core",
    "rss",
    "nproc",
    "nofile",
    "memlock",
    "as",
    "locks",
    "sigpending",
    "msgqueue",
    "nice",
    "rtprio",
    "rttime",
];

/// What this process itself is allowed, which is most likely what the engine is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowed {
    pub(crate) oom_score_adj: i64,
    /// The hard limit of a kind, where it is known.
    pub(crate) hard_limit: fn(usize) -> Option<i64>,
}

/// Takes from `body` what `error` says that the host refuses.
///
/// Returns what was done, in a sentence; `None` if the container did not fail for that.
pub(crate) fn clamp(error: &str, body: &mut ContainerCreateBody, allowed: Allowed) -> Option<String> {
    let host = body.host_config.as_mut()?;
    let words = error.to_ascii_lowercase();
    let refused = ["operation not permitted", "permission denied"].iter().any(|part| words.contains(part));
    if let Some(number) = number_after(&words, "rlimit type ").filter(|_| refused) {
        let ulimits = host.ulimits.as_mut()?;
        let name = LIMITS.get(number)?;
        let place = ulimits.iter().position(|limit| limit.name.as_deref() == Some(name))?;
        let asked = ulimits.get(place)?.clone();
        let Some(hard) = (allowed.hard_limit)(number).filter(|hard| *hard < asked.hard.map_or(i64::MAX, unlimited))
        else {
            ulimits.remove(place);
            return Some(format!("the host does not allow ulimit {name}: the engine's own holds"));
        };
        let soft = asked.soft.map_or(hard, unlimited).min(hard);
        *ulimits.get_mut(place)? = ResourcesUlimits { name: asked.name, soft: Some(soft), hard: Some(hard) };
        return Some(format!("the host does not allow ulimit {name} to be raised: it is {soft}:{hard}"));
    }
    // A runtime that may not lower the score dies before it can say so.
    let mute = words.contains("can't get final child's pid from pipe") || words.contains("oom_score_adj");
    let asked = host.oom_score_adj.filter(|score| mute && *score < allowed.oom_score_adj)?;
    host.oom_score_adj = Some(allowed.oom_score_adj);
    Some(format!("the host does not allow an out-of-memory score of {asked}: it is {}", allowed.oom_score_adj))
}

fn unlimited(limit: i64) -> i64 {
    if limit == -1 { i64::MAX } else { limit }
}

fn number_after(text: &str, mark: &str) -> Option<usize> {
    let rest = text.split_once(mark)?.1;
    rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

impl Allowed {
    /// What this process is allowed now.
    pub(crate) fn here() -> Self {
        let pid = i32::try_from(std::process::id()).unwrap_or(0);
        let oom_score_adj = orch_host::oom::get(pid).map_or(0, i64::from);
        Self { oom_score_adj, hard_limit }
    }
}

/// The hard limit of this process, by the number of its kind.
fn hard_limit(number: usize) -> Option<i64> {
    let limits = orch_host::limits::OriginalLimits::capture().to_string();
    let prefix = format!("{number}:");
    let hard = limits.split(',').find(|entry| entry.starts_with(&prefix))?.rsplit(':').next()?;
    // What does not fit is no limit at all.
    hard.parse().ok()
}

#[cfg(test)]
mod tests {
    use bollard::models::HostConfig;

    use super::*;

    const RLIMIT: &str = "OCI runtime create failed: error setting rlimit type 7: operation not permitted: unknown";
    const OOM: &str = "unable to start container process: can't get final child's PID from pipe: EOF: unknown";

    fn body(ulimits: &[(&str, i64, i64)], oom_score_adj: i64) -> ContainerCreateBody {
        let ulimits = ulimits.iter().map(|(name, soft, hard)| ResourcesUlimits {
            name: Some((*name).to_owned()),
            soft: Some(*soft),
            hard: Some(*hard),
        });
        let host = HostConfig {
            ulimits: Some(ulimits.collect()),
            oom_score_adj: Some(oom_score_adj),
            ..HostConfig::default()
        };
        ContainerCreateBody { host_config: Some(host), ..ContainerCreateBody::default() }
    }

    fn allowed() -> Allowed {
        Allowed { oom_score_adj: -5, hard_limit: |number| (number == 7).then_some(1_000) }
    }

    fn open_files(body: &ContainerCreateBody) -> Option<(Option<i64>, Option<i64>)> {
        let ulimits = body.host_config.as_ref()?.ulimits.as_ref()?;
        let limit = ulimits.iter().find(|limit| limit.name.as_deref() == Some("nofile"))?;
        Some((limit.soft, limit.hard))
    }

    #[test]
    fn limits_are_lowered_to_what_the_host_allows() {
        let mut raised = body(&[("core", 0, 0), ("nofile", 500, 9_000)], 0);
        let warning = clamp(RLIMIT, &mut raised, allowed()).unwrap();
        assert!(warning.contains("nofile") && warning.contains("500:1000"), "{warning}");
        assert_eq!(open_files(&raised), Some((Some(500), Some(1_000))));
        let mut endless = body(&[("nofile", -1, -1)], 0);
        clamp(RLIMIT, &mut endless, allowed()).unwrap();
        assert_eq!(open_files(&endless), Some((Some(1_000), Some(1_000))));
        // The engine may have less than we have: then the limit is left to it, and the attempts end.
        clamp(RLIMIT, &mut endless, allowed()).unwrap();
        assert_eq!(open_files(&endless), None);
        assert_eq!(clamp(RLIMIT, &mut endless, allowed()), None);
    }

    #[test]
    fn a_score_that_may_not_be_lowered_is_ours() {
        let mut lowered = body(&[], -900);
        assert!(clamp(OOM, &mut lowered, allowed()).unwrap().contains("-900"));
        assert_eq!(lowered.host_config.as_ref().unwrap().oom_score_adj, Some(-5));
        assert_eq!(clamp(OOM, &mut lowered, allowed()), None, "it failed for another reason");
    }

    #[test]
    fn other_failures_change_nothing() {
        let mut asked = body(&[("nofile", 500, 9_000)], -900);
        let before = asked.clone();
        assert_eq!(clamp("exec: \"/no/such\": stat: no such file", &mut asked, allowed()), None);
        assert_eq!(asked, before);
    }

    #[test]
    fn our_own_limits_are_read() {
        assert!(hard_limit(7).is_some_and(|limit| limit > 0));
        assert_eq!(hard_limit(99), None);
    }
}
