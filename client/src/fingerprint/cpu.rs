//! The processor: its make, its cores, and what they add up to.

use std::fs;

use orch_model::Mhz;
use orch_model::node::NodeDescription;

use super::host::text;
use crate::config::Config;

/// What a core counts for where the kernel does not say how fast it is, in MHz.
const UNKNOWN_SPEED: u32 = 1_000;

pub(super) fn describe(config: &Config, node: &mut NodeDescription) {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cores = online().unwrap_or_else(|| processors(&info));
    let count = u32::try_from(cores.len()).unwrap_or(u32::MAX).max(1);
    let speed = rated_speed().or_else(|| current_speed(&info)).unwrap_or(UNKNOWN_SPEED);
    let total = config.cpu_total_compute.unwrap_or(Mhz(speed.saturating_mul(count)));
    node.resources.cpu = total;
    node.resources.total_cores = count;
    let mut set = |key: &str, value: String| node.attributes.insert(key.to_owned(), value);
    set("cpu.arch", architecture().to_owned());
    if let Some(model) = field(&info, "model name") {
        set("cpu.modelname", model.to_owned());
    }
    set("cpu.frequency", speed.to_string());
    set("cpu.numcores", count.to_string());
    let mut reservable = cores;
    reservable.retain(|core| {
        config.reservable_cores.as_ref().is_none_or(|offered| offered.contains(core))
            && !config.reserved_cores.contains(core)
    });
    set("cpu.reservablecores", reservable.len().to_string());
    set("cpu.totalcompute", total.0.to_string());
    set("cpu.usablecompute", total.saturating_sub(node.reserved.cpu).0.to_string());
    let nodes = numa_nodes();
    set("numa.node.count", nodes.len().max(1).to_string());
    for (number, list) in nodes {
        set(&format!("numa.node{number}.cores"), list);
    }
    node.resources.reservable_cores = reservable;
}

/// The architecture in the words of job constraints.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

fn online() -> Option<Vec<u16>> {
    parse_list(&text("/sys/devices/system/cpu/online")?)
}

fn processors(info: &str) -> Vec<u16> {
    let lines = info.lines().filter_map(|line| line.strip_prefix("processor")?.split_once(':'));
    lines.filter_map(|(_, number)| number.trim().parse().ok()).collect()
}

/// `0-3,8` as numbers; `None` if it is no such list.
fn parse_list(text: &str) -> Option<Vec<u16>> {
    let mut found = Vec::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        found.extend(first.parse::<u16>().ok()?..=last.parse::<u16>().ok()?);
    }
    (!found.is_empty()).then_some(found)
}

fn rated_speed() -> Option<u32> {
    let directory = "/sys/devices/system/cpu/cpu0/cpufreq";
    let khz = ["base_frequency", "cpuinfo_max_freq"].iter().find_map(|file| text(&format!("{directory}/{file}")))?;
    khz.parse::<u32>().ok().map(|khz| khz / 1000).filter(|mhz| *mhz > 0)
}

fn current_speed(info: &str) -> Option<u32> {
    let mhz = field(info, "cpu MHz")?;
    mhz.split('.').next()?.parse().ok().filter(|mhz| *mhz > 0)
}

fn field<'a>(info: &'a str, key: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix(':').map(str::trim))
}

fn numa_nodes() -> Vec<(u16, String)> {
    let online = text("/sys/devices/system/node/online").and_then(|list| parse_list(&list)).unwrap_or_default();
    let cores = |number: u16| Some((number, text(&format!("/sys/devices/system/node/node{number}/cpulist"))?));
    online.into_iter().filter_map(cores).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_lists_and_processor_files_are_read() {
        assert_eq!(parse_list("0-2,7"), Some(vec![0, 1, 2, 7]));
        assert_eq!(parse_list("x"), None);
        let info = "processor\t: 0\nmodel name\t: Fast 9000\ncpu MHz\t\t: 2794.750\nprocessor\t: 1\n";
        assert_eq!(processors(info), [0, 1]);
        assert_eq!(field(info, "model name"), Some("Fast 9000"));
        assert_eq!(current_speed(info), Some(2794));
    }
}
