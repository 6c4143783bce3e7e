//! Reading volume files.

use anyhow::bail;
use orch_api::HostVolume;
use orch_api::volume::HostVolumeCapability;
use orch_hcl::{BodyReader, Diagnostics, FileAccess, Scope, Source, UnknownRoots, parse};
use orch_model::job::Constraint;

use super::must_be_host;

/// Reads a volume file; what is wrong with it is told with its place.
pub(super) fn read(name: &str, text: &str) -> anyhow::Result<HostVolume> {
    let document = parse(Source::new(name, text)).map_err(|diagnostics| anyhow::anyhow!("{diagnostics}"))?;
    let diagnostics = Diagnostics::new();
    let scope = Scope::new(UnknownRoots::KeepLiteral, FileAccess::Disabled);
    let mut body = document.reader(&scope, &diagnostics);
    let kind = body.opt_string("type").unwrap_or_default();
    let volume = fields(&mut body);
    if kind == "csi" {
        must_be_host(&kind)?;
    }
    body.finish();
    if diagnostics.has_errors() {
        bail!("{diagnostics}");
    }
    if kind.is_empty() {
        bail!("{name}: a volume file needs `type = \"host\"`");
    }
    must_be_host(&kind)?;
    Ok(volume)
}

fn fields(body: &mut BodyReader<'_>) -> HostVolume {
    let mut text = |key: &str| body.opt_string(key).unwrap_or_default();
    let mut volume = HostVolume {
        id: text("id"),
        name: text("name"),
        namespace: text("namespace"),
        plugin_id: text("plugin_id"),
        node_id: text("node_id"),
        node_pool: text("node_pool"),
        host_path: text("host_path"),
        ..HostVolume::default()
    };
    volume.requested_capacity_min_bytes = size(body, "capacity_min");
    volume.requested_capacity_max_bytes = size(body, "capacity_max");
    volume.capacity_bytes = size(body, "capacity");
    volume.parameters = body.opt_string_map_or_block("parameters").unwrap_or_default();
    for block in body.blocks("capability") {
        let mut inside = block.reader();
        let access_mode = inside.require_string("access_mode").unwrap_or_default();
        let attachment_mode = inside.require_string("attachment_mode").unwrap_or_default();
        volume.requested_capabilities.push(HostVolumeCapability { attachment_mode, access_mode });
        inside.finish();
    }
    for block in body.blocks("constraint") {
        let mut inside = block.reader();
        let mut text = |key: &str| inside.opt_string(key).unwrap_or_default();
        let (l_target, operand, r_target) = (text("attribute"), text("operator"), text("value"));
        volume.constraints.push(Constraint { l_target, r_target, operand });
        inside.finish();
    }
    volume
}

/// A size in bytes, written as a number or with a unit such as `10GiB`.
fn size(body: &mut BodyReader<'_>, key: &str) -> u64 {
    let Some(text) = body.opt_string(key) else { return 0 };
    bytes(&text).unwrap_or_else(|| {
        body.error(body.place_of(key), format!("{text:?} is not a size: write bytes, or a unit such as 10GiB"));
        0
    })
}

fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        "ki" | "kib" => 1 << 10,
        "mi" | "mib" => 1 << 20,
        "gi" | "gib" => 1 << 30,
        "ti" | "tib" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::volume::init::EXAMPLE;

    #[test]
    fn the_example_is_a_volume() {
        let volume = read("volume.hcl", EXAMPLE).unwrap();
        assert_eq!((volume.name.as_str(), volume.plugin_id.as_str()), ("example", "mkdir"));
        assert_eq!(volume.requested_capabilities[0].access_mode, "single-node-writer");
        assert_eq!(volume.constraints[0].l_target, "${attr.kernel.name}");
        assert_eq!(volume.parameters["mode"], "0755");
    }

    #[test]
    fn what_is_wrong_with_a_volume_file_is_told() {
        for (text, told) in [
            ("name = \"x\"", "type"),
            ("type = \"csi\"\nmount_options {}", "CSI volumes are not supported"),
            ("type = \"host\"\nnam = \"x\"", "nam"),
            ("type = \"host\"\ncapacity_min = \"many\"", "capacity_min"),
            ("type = \"host\"\ncapability {}", "access_mode"),
        ] {
            let error = read("volume.hcl", text).unwrap_err().to_string();
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn sizes_have_units() {
        let sizes = ["12", "1k", "10 GB", "2GiB", "99999999T", "1.5G", "x"].map(bytes);
        assert_eq!(sizes, [Some(12), Some(1000), Some(10_000_000_000), Some(2 << 30), None, None, None]);
    }
}
