//! Base64 and hashes.

use std::fmt::Write;

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD, URL_SAFE};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

use super::{Table, exactly, text};
use crate::run::Run;
use crate::value::{Failure, Value};

/// Decodes with or without padding.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const ANY_STANDARD: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::STANDARD, LENIENT);
const ANY_URL: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::URL_SAFE, LENIENT);

pub(super) const TABLE: Table = &[
    ("base64Encode", |run, args| encode(run, args, &STANDARD)),
    ("base64URLEncode", |run, args| encode(run, args, &URL_SAFE)),
    ("base64Decode", |_, args| decode(args, &ANY_STANDARD)),
    ("base64URLDecode", |_, args| decode(args, &ANY_URL)),
    ("sprig_b64enc", |run, args| encode(run, args, &STANDARD)),
    ("sprig_b64dec", |_, args| decode(args, &ANY_STANDARD)),
    ("md5sum", |_, args| digest::<Md5>(args)),
    ("sha256Hex", |_, args| digest::<Sha256>(args)),
    ("sprig_sha1sum", |_, args| digest::<Sha1>(args)),
    ("sprig_sha256sum", |_, args| digest::<Sha256>(args)),
    ("sprig_sha512sum", |_, args| digest::<Sha512>(args)),
    ("hmacSHA256Hex", |_, args| {
        let [message, secret] = exactly(args)?;
        Ok(Value::text(hex(&hmac(bytes(secret)?, bytes(message)?))))
    }),
];

/// A value that has to be a text, or bytes.
fn bytes(value: &Value) -> Result<&[u8], Failure> {
    if let Value::Bytes(bytes) = value { Ok(bytes) } else { text(value).map(str::as_bytes) }
}

fn encode(run: &mut Run<'_>, args: &[Value], engine: &GeneralPurpose) -> Result<Value, Failure> {
    let [value] = exactly(args)?;
    let plain = bytes(value)?;
    run.fits(plain.len())?;
    Ok(Value::text(engine.encode(plain)))
}

fn decode(args: &[Value], engine: &GeneralPurpose) -> Result<Value, Failure> {
    let [value] = exactly(args)?;
    let decoded = engine.decode(text(value)?.trim_end_matches(['\n', '\r']));
    decoded
        .map(Value::bytes)
        .map_err(|error| Failure(format!("this is not Base64: {}", error.to_string().to_lowercase())))
}

fn digest<D: Digest>(args: &[Value]) -> Result<Value, Failure> {
    let [value] = exactly(args)?;
    Ok(Value::text(hex(&D::digest(bytes(value)?))))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").unwrap_or_default();
        out
    })
}

/// RFC 2104 with SHA-256.
fn hmac(secret: &[u8], message: &[u8]) -> Vec<u8> {
    const BLOCK: usize = 64;
    let mut padded = if secret.len() > BLOCK { Sha256::digest(secret).to_vec() } else { secret.to_vec() };
    padded.resize(BLOCK, 0);
    let with = |pad: u8| padded.iter().map(|byte| byte ^ pad).collect::<Vec<u8>>();
    let inner = Sha256::new().chain_update(with(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(with(0x5c)).chain_update(inner).finalize().to_vec()
}
