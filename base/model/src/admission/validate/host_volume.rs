//! Rules about dynamic host volumes.

use super::{Checks, placement};
use crate::admission::{AdmissionContext, FieldError, Report, Step};
use crate::job::{Job, Operator};
use crate::volume::HostVolume;

/// Checks a volume that is to be made, or to be taken over where it `is_there` already.
pub fn validate_host_volume(volume: &HostVolume, is_there: bool) -> Vec<FieldError> {
    let (job, ctx) = (Job::default(), AdmissionContext::new(&[]));
    let path = vec![Step::Block("volume", volume.name.clone())];
    let mut checks = Checks { job: &job, kind: None, ctx: &ctx, path, report: Report::default() };
    name(&mut checks, &volume.name);
    checks.refuse_if(volume.namespace.is_empty(), "namespace", "a volume needs a namespace");
    if is_there {
        let is_absolute = volume.host_path.starts_with('/') && !volume.host_path.contains('\0');
        checks.refuse_if(!is_absolute, "host_path", "must be an absolute path on the node");
    } else {
        checks.refuse_if(!volume.host_path.is_empty(), "host_path", "is for volumes that are registered");
        checks.choice("plugin_id", &volume.plugin_id, &[HostVolume::MKDIR]);
    }
    let is_turned = volume.capacity_max > 0 && volume.capacity_max < volume.capacity_min;
    checks.refuse_if(is_turned, "capacity_max", "must not be less than capacity_min");
    checks.refuse_if(volume.capabilities.is_empty(), "capability", "a volume needs at least one capability");
    placement::constraints(&mut checks, &volume.constraints, placement::Level::Job);
    let distinct = |operator| matches!(operator, Operator::DistinctHosts | Operator::DistinctProperty);
    let looks_at_allocs = volume.constraints.iter().filter_map(|constraint| constraint.operator()).any(distinct);
    checks.refuse_if(looks_at_allocs, "constraint", "a volume has no allocations that could be distinct");
    checks.report.errors
}

fn name(checks: &mut Checks<'_>, name: &str) {
    checks.refuse_if(name.is_empty(), "name", "a volume needs a name");
    if name.len() > HostVolume::MAX_NAME {
        checks.refuse("name", format!("must not be longer than {} bytes", HostVolume::MAX_NAME));
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '[' | ']');
    if name.starts_with('.') || !name.chars().all(is_plain) {
        checks.refuse("name", "must consist of letters, digits, - _ . [ ] and not begin with a dot");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Constraint;
    use crate::testing::host_volume;

    #[test]
    fn what_is_wrong_with_a_volume_is_told_with_its_place() {
        let sound = HostVolume { host_path: String::new(), ..host_volume(1, "data[0]") };
        assert_eq!(validate_host_volume(&sound, false), []);
        let wrong = HostVolume {
            plugin_id: "zfs".into(),
            capacity_min: 2,
            capacity_max: 1,
            capabilities: Vec::new(),
            constraints: vec![Constraint::new("", Operator::DistinctHosts, "true")],
            ..host_volume(1, "../data")
        };
        let told: Vec<_> = validate_host_volume(&wrong, false).iter().map(ToString::to_string).collect();
        let place = "volume \"../data\" > ";
        for attribute in ["name", "host_path", "plugin_id", "capacity_max", "capability", "constraint"] {
            let about = told.iter().filter(|text| text.starts_with(&format!("{place}{attribute}:"))).count();
            assert_eq!(about, 1, "{attribute}: {told:#?}");
        }
        let relative = HostVolume { host_path: "srv".into(), ..host_volume(1, "data") };
        assert_eq!(validate_host_volume(&relative, true).len(), 1);
        let there = HostVolume { plugin_id: String::new(), ..host_volume(1, "data") };
        assert_eq!(validate_host_volume(&there, true), []);
    }
}
