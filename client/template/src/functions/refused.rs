//! The functions of the dialect that are not offered, and why.

const CONSUL: &[&str] = &[
    "key",
    "keyExists",
    "keyExistsGet",
    "keyOrDefault",
    "ls",
    "safeLs",
    "tree",
    "safeTree",
    "service",
    "services",
    "connect",
    "caRoots",
    "caLeaf",
    "node",
    "nodes",
    "datacenters",
    "partitions",
    "peerings",
    "exportedServices",
];
const VAULT: &[&str] = &["secret", "secrets", "pkiCert"];
const DENIED: &[&str] = &["executeTemplate", "plugin", "writeToFile"];
const DEBUGGING: &[&str] = &["spew_dump", "spew_printf", "spew_sdump", "spew_sprintf"];
const RANDOM: &[&str] = &[
    "sprig_uuidv4",
    "sprig_randAlphaNum",
    "sprig_randAlpha",
    "sprig_randAscii",
    "sprig_randNumeric",
    "sprig_randBytes",
    "sprig_randInt",
    "sprig_shuffle",
];
const HOST: &[&str] = &["sprig_env", "sprig_expandenv", "sprig_getHostByName"];
const KEYS: &[&str] = &[
    "sprig_genPrivateKey",
    "sprig_genCA",
    "sprig_genCAWithKey",
    "sprig_genSelfSignedCert",
    "sprig_genSelfSignedCertWithKey",
    "sprig_genSignedCert",
    "sprig_genSignedCertWithKey",
    "sprig_buildCustomCert",
    "sprig_derivePassword",
    "sprig_htpasswd",
    "sprig_bcrypt",
    "sprig_encryptAES",
    "sprig_decryptAES",
];

/// Why there is no such function, as the rest of a sentence that begins with its name; `None` if nobody knows it.
pub(super) fn reason(name: &str) -> Option<&'static str> {
    let reasons: &[(&[&str], &str)] = &[
        (CONSUL, "needs Consul, which is not supported: use nomadService or nomadVar"),
        (VAULT, "needs Vault, which is not supported: use nomadVar"),
        (DENIED, "is denied to templates"),
        (DEBUGGING, "is not offered: use toJSONPretty or printf"),
        (RANDOM, "is not offered: the file would change each time it is rendered"),
        (HOST, "is denied to templates: use env"),
        (KEYS, "is not offered: make keys and passwords elsewhere and give them to the task"),
        (&["sockaddr"], "is not offered: use the NOMAD_IP_, NOMAD_ADDR_ and NOMAD_HOST_IP_ variables by env"),
    ];
    reasons.iter().find(|(names, _)| names.contains(&name)).map(|(_, reason)| *reason)
}
