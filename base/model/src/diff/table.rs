//! For each object of the job tree: what is shown, how lists match, and what a running allocation cannot take on.
//!
//! Fields are named as in JSON. A field with a plain value, or a map of them, is shown unless it is hidden; a nested
//! object is shown if it is listed as a child. A change is made in place unless the field is listed as `replacing`.

/// The rules for one kind of object.
#[derive(Debug)]
pub(super) struct Shape {
    /// Fields that are not shown; of a map, also single entries as `Map[key]`.
    pub(super) hidden: &'static [&'static str],
    /// Fields whose change replaces a running allocation; those of children are listed in their shape.
    pub(super) replacing: &'static [&'static str],
    /// Nested objects.
    pub(super) children: &'static [Child],
}

/// A nested object, or several of a kind.
#[derive(Debug)]
pub(super) struct Child {
    /// The field that holds it.
    pub(super) field: &'static str,
    /// The name it is shown under.
    pub(super) name: &'static str,
    pub(super) how: How,
    pub(super) shape: &'static Shape,
}

/// How old and new objects of a field are paired.
#[derive(Debug, Clone, Copy)]
pub(super) enum How {
    /// There is at most one.
    One,
    /// There is at most one, and its fields are shown to any depth (`labels[0][tier]`).
    Free,
    /// A set of texts, shown as one object.
    Set,
    /// By everything they hold, so that an edit shows as one deleted and one added.
    Content,
    /// By the value of this field.
    Key(&'static str),
    /// By their key in the map.
    MapKey,
    /// By likeness: the same position weighs 1, the same first field 2, the second 3. More than 2 is a match, and so
    /// is a single old object with a single new one.
    Score(&'static [&'static str]),
    /// There is at most one; its nested objects are shown under the names of their fields.
    Tree,
}

const fn shape(
    hidden: &'static [&'static str],
    replacing: &'static [&'static str],
    children: &'static [Child],
) -> Shape {
    Shape { hidden, replacing, children }
}

const fn child(field: &'static str, name: &'static str, how: How, shape: &'static Shape) -> Child {
    Child { field, name, how, shape }
}

/// Shows plain fields and nothing else.
pub(super) const PLAIN: Shape = shape(&[], &[], &[]);

const CONSTRAINTS: Child = child("Constraints", "Constraint", How::Content, &PLAIN);
const AFFINITIES: Child = child("Affinities", "Affinity", How::Content, &PLAIN);
const CONSUL: Child = child("Consul", "Consul", How::One, &PLAIN);
const NETWORKS: Child = child("Networks", "Network", How::Content, &NETWORK);
const SERVICES: Child = child("Services", "Service", How::Score(&["PortLabel", "Name"]), &SERVICE);
const ARGS: Child = child("Args", "Args", How::Set, &PLAIN);

pub(super) const JOB: Shape = shape(
    &[
        "ID",
        "Status",
        "StatusDescription",
        "Version",
        "Stable",
        "CreateIndex",
        "ModifyIndex",
        "JobModifyIndex",
        "SubmitTime",
        "NomadTokenID",
    ],
    &[],
    &[
        child("Datacenters", "Datacenters", How::Set, &PLAIN),
        CONSTRAINTS,
        AFFINITIES,
        child("Periodic", "Periodic", How::One, &shape(&[], &[], &[child("Specs", "Specs", How::Set, &PLAIN)])),
        child(
            "ParameterizedJob",
            "ParameterizedJob",
            How::One,
            &shape(
                &[],
                &[],
                &[
                    child("MetaOptional", "MetaOptional", How::Set, &PLAIN),
                    child("MetaRequired", "MetaRequired", How::Set, &PLAIN),
                ],
            ),
        ),
        child(
            "Multiregion",
            "Multiregion",
            How::One,
            &shape(
                &[],
                &[],
                &[
                    child(
                        "Regions",
                        "Region",
                        How::Key("Name"),
                        &shape(&[], &[], &[child("Datacenters", "Datacenters", How::Set, &PLAIN)]),
                    ),
                    child("Strategy", "Strategy", How::One, &PLAIN),
                ],
            ),
        ),
        child("UI", "UI", How::One, &shape(&[], &[], &[child("Links", "Link", How::Content, &PLAIN)])),
    ],
);

pub(super) const GROUP: Shape = shape(
    &["Name"],
    &["Networks", "Volumes", "EphemeralDisk", "Consul"],
    &[
        CONSTRAINTS,
        AFFINITIES,
        child("RestartPolicy", "RestartPolicy", How::One, &RESTART),
        child("Migrate", "Migrate", How::One, &PLAIN),
        child("ReschedulePolicy", "ReschedulePolicy", How::One, &PLAIN),
        child("EphemeralDisk", "EphemeralDisk", How::One, &PLAIN),
        CONSUL,
        child("Update", "Update", How::One, &shape(&["Stagger"], &[], &[])),
        child("Disconnect", "Disconnect", How::One, &PLAIN),
        NETWORKS,
        child("Scaling", "Scaling", How::One, &SCALING),
        SERVICES,
        child(
            "Volumes",
            "Volume",
            How::MapKey,
            &shape(
                &[],
                &[],
                &[child(
                    "MountOptions",
                    "MountOptions",
                    How::One,
                    &shape(&[], &[], &[child("MountFlags", "MountFlags", How::Set, &PLAIN)]),
                )],
            ),
        ),
    ],
);

const RESTART: Shape = shape(&[], &["RenderTemplates"], &[]);

const SCALING: Shape = shape(
    &["ID", "Type", "CreateIndex", "ModifyIndex", "Target[Job]", "Target[Group]", "Target[Namespace]"],
    &[],
    &[child("Policy", "Policy", How::Free, &PLAIN)],
);

pub(super) const TASK: Shape = shape(
    &["Name"],
    &[
        "Driver",
        "User",
        "Config",
        "Env",
        "Vault",
        "Secrets",
        "Consul",
        "Templates",
        "Artifacts",
        "CSIPluginConfig",
        "VolumeMounts",
        "Identity",
        "Identities",
        "Lifecycle",
        "DispatchPayload",
        "Kind",
    ],
    &[
        CONSTRAINTS,
        AFFINITIES,
        child("Config", "Config", How::Free, &PLAIN),
        child("Resources", "Resources", How::One, &RESOURCES),
        child("LogConfig", "LogConfig", How::One, &shape(&[], &["Disabled"], &[])),
        child("DispatchPayload", "DispatchPayload", How::One, &PLAIN),
        child("Artifacts", "Artifact", How::Content, &PLAIN),
        SERVICES,
        child("Vault", "Vault", How::One, &PLAIN),
        child("Secrets", "Secret", How::Key("Name"), &shape(&[], &[], &[child("Config", "Config", How::Free, &PLAIN)])),
        CONSUL,
        child(
            "Templates",
            "Template",
            How::Score(&["SourcePath", "DestPath"]),
            &shape(
                &[],
                &[],
                &[
                    child("Wait", "Template", How::One, &PLAIN),
                    child("ChangeScript", "ChangeScript", How::One, &shape(&[], &[], &[ARGS])),
                ],
            ),
        ),
        child("Identity", "Identity", How::One, &IDENTITY),
        child("Identities", "Identity", How::Key("Name"), &IDENTITY),
        child("Actions", "Action", How::Key("Name"), &shape(&[], &[], &[ARGS])),
        child("VolumeMounts", "VolumeMount", How::Content, &PLAIN),
        child("Schedule", "Schedule", How::Tree, &PLAIN),
    ],
);

const IDENTITY: Shape = shape(
    &[],
    &[],
    &[child("Audience", "Audience", How::Set, &PLAIN), child("ExtraClaims", "ExtraClaims", How::Set, &PLAIN)],
);

const RESOURCES: Shape = shape(
    &[],
    &["CPU", "Cores", "MemoryMB", "MemoryMaxMB", "SecretsMB", "Networks", "Devices", "NUMA"],
    &[
        NETWORKS,
        child("Devices", "Device", How::Key("Name"), &shape(&[], &[], &[CONSTRAINTS, AFFINITIES])),
        child("NUMA", "NUMA", How::One, &shape(&[], &[], &[child("Devices", "Devices", How::Set, &PLAIN)])),
    ],
);

const NETWORK: Shape = shape(
    &["Device", "CIDR", "IP", "MBits"],
    &[],
    &[
        child("ReservedPorts", "Static Port", How::Key("Label"), &PLAIN),
        child("DynamicPorts", "Dynamic Port", How::Key("Label"), &shape(&["Value", "IgnoreCollision"], &[], &[])),
        child(
            "DNS",
            "DNS",
            How::One,
            &shape(
                &[],
                &[],
                &[
                    child("Servers", "Servers", How::Set, &PLAIN),
                    child("Searches", "Searches", How::Set, &PLAIN),
                    child("Options", "Options", How::Set, &PLAIN),
                ],
            ),
        ),
        child("CNI", "CNIConfig", How::One, &PLAIN),
    ],
);

const SERVICE: Shape = shape(
    &[],
    &["Connect"],
    &[
        child("Tags", "Tags", How::Set, &PLAIN),
        child("CanaryTags", "CanaryTags", How::Set, &PLAIN),
        child(
            "Checks",
            "Check",
            How::Key("Name"),
            &shape(
                &[],
                &[],
                &[
                    ARGS,
                    child("Header", "Header", How::Free, &PLAIN),
                    child("CheckRestart", "CheckRestart", How::One, &PLAIN),
                ],
            ),
        ),
        child("Connect", "ConsulConnect", How::Tree, &PLAIN),
        child("Identity", "Identity", How::One, &IDENTITY),
        child("Weights", "Weights", How::One, &PLAIN),
    ],
);
