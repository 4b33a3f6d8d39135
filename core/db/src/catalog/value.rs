//! How every engine stores a value: `crc u32 (CRC-32C over key, then value; little-endian) | value`.
//! The key is part of it, so a value that an engine returns for another key is noticed too.

use gw_types::ports::RowChange;
use gw_types::{PortError, PortErrorKind, PortResult};

/// Where engines without a second table keep the applied LSN. Inside this crate's own table range.
pub(crate) const APPLIED_KEY: &[u8] = b"\0applied";

fn crc(key: &[u8], value: &[u8]) -> [u8; 4] {
    crc32c::crc32c_append(crc32c::crc32c(key), value).to_le_bytes()
}

pub(crate) fn seal(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(4 + value.len());
    stored.extend_from_slice(&crc(key, value));
    stored.extend_from_slice(value);
    stored
}

pub(crate) fn open(key: &[u8], stored: &[u8]) -> PortResult<Vec<u8>> {
    match stored.split_first_chunk() {
        Some((found, value)) if *found == crc(key, value) => Ok(value.to_vec()),
        _ => Err(PortError::definite(
            PortErrorKind::Corrupt,
            format!("the catalog returned damaged bytes for the row {}", hex(key)),
        )),
    }
}

fn hex(key: &[u8]) -> String {
    key.iter().take(64).map(|byte| format!("{byte:02x}")).collect()
}

/// Refuses a key that an engine cannot hold.
pub(crate) fn check_key(key: &[u8]) -> PortResult<()> {
    if key.is_empty() || key.len() > u16::MAX as usize || key == APPLIED_KEY {
        return Err(PortError::definite(
            PortErrorKind::Refused,
            "a key has 1 to 65535 bytes and is not the catalog's own",
        ));
    }
    Ok(())
}

pub(crate) fn check_batch(batch: &[RowChange]) -> PortResult<()> {
    batch.iter().try_for_each(|(key, _)| check_key(key))
}
