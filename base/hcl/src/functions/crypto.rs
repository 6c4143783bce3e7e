//! Digests and identifiers.

use md5::Md5;
use sha1::{Digest, Sha1};
use sha2::{Sha256, Sha512};
use uuid::Uuid;

use super::{Call, Function, Outcome, function};

pub(super) const FUNCTIONS: &[Function] = &[
    function("bcrypt", 1, 2, |_| {
        Err("orch does not offer this function; hash the password before it goes into a file".into())
    }),
    function("md5", 1, 1, digest::<Md5>),
    function("rsadecrypt", 2, 2, |_| {
        Err("orch does not offer this function; private keys do not belong into job files".into())
    }),
    function("sha1", 1, 1, digest::<Sha1>),
    function("sha256", 1, 1, digest::<Sha256>),
    function("sha512", 1, 1, digest::<Sha512>),
    function("uuidv4", 0, 0, |_| Ok(Uuid::new_v4().to_string().into())),
    function("uuidv5", 2, 2, uuidv5),
];

fn digest<D: Digest>(call: &mut Call<'_>) -> Outcome {
    let digest = D::digest(call.string(0)?);
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into())
}

/// The namespace is `dns`, `url`, `oid`, `x500` or a UUID.
fn uuidv5(call: &mut Call<'_>) -> Outcome {
    let (namespace, name) = (call.string(0)?, call.string(1)?);
    let namespace = match namespace.as_str() {
        "dns" => Uuid::NAMESPACE_DNS,
        "url" => Uuid::NAMESPACE_URL,
        "oid" => Uuid::NAMESPACE_OID,
        "x500" => Uuid::NAMESPACE_X500,
        other => {
            Uuid::parse_str(other).map_err(|_| call.fault(0, "the namespace must be dns, url, oid, x500 or a UUID"))?
        }
    };
    Ok(Uuid::new_v5(&namespace, name.as_bytes()).to_string().into())
}
