//! What admission must know beside the job.

/// What admission must know beside the job: the cluster's limits and what its clients can do.
#[derive(Debug, Clone, Copy)]
pub struct AdmissionContext<'a> {
    /// The region that a job without one, or with `global`, runs in.
    pub region: &'a str,
    /// The node pool that a job without one runs in.
    pub node_pool: &'a str,
    /// The priority that a job without one gets.
    pub default_priority: i64,
    /// The highest priority that a job may have.
    pub max_priority: i64,
    /// How many allocations the groups of a job may want together; 0 is unlimited.
    pub max_count: i64,
    /// Whether tasks may use more memory than they reserve where there is some to spare.
    pub memory_oversubscription: bool,
    /// The names of the drivers that exist.
    pub drivers: &'a [&'a str],
    /// The keys that the `config` of a driver's tasks may have, by the driver's name; those of other drivers are not looked at.
    pub driver_options: &'a [(&'a str, &'a [&'a str])],
}

impl<'a> AdmissionContext<'a> {
    /// The usual limits, in the region and node pool that exist without configuration.
    pub const fn new(drivers: &'a [&'a str]) -> Self {
        Self {
            region: "global",
            node_pool: "default",
            default_priority: 50,
            max_priority: 100,
            max_count: 50_000,
            memory_oversubscription: false,
            drivers,
            driver_options: &[],
        }
    }
}
