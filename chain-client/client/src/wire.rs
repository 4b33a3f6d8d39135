//! The shapes that go to the chain and come back, as far as we look at them.
//!
//! Nothing here fixes a byte: subxt lines these structs up, field by field and by name, with the
//! types in the metadata that the chain gives. A field we carry and the chain does not know
//! (`bucket_name` of [`UserBrief`], present in spec 100 and gone in 137) is left out; a field the
//! chain has and we do not read is skipped. A field that we need and the chain does not have is an
//! error that names it.
//!
//! CESS hashes are the 64 lower-case hex characters of a SHA-256, not its 32 bytes
//! (`crates/common/src/lib.rs`); [`hex_hash`] and [`Hash32`] convert.

use gw_types::ports::{
    DeclaredSegment, FileSegment, MinerAddr, MinerInfo, PlacedFragment, Territory, TerritoryState,
};
use gw_types::{AccountId, FRAGMENTS, Fid, FragmentIndex, Hash32, TerritoryName};
use subxt::dynamic::Value;
use subxt::ext::scale_decode::DecodeAsType;
use subxt::ext::scale_encode::EncodeAsType;
use subxt::utils::{AccountId32, MultiAddress};

use crate::fault::Fault;

/// A SHA-256 as CESS writes it.
pub(crate) type HexHash = [u8; 64];

/// To the chain's form.
pub(crate) fn hex_hash(hash: Hash32) -> HexHash {
    let mut text = [0; 64];
    hex::encode_to_slice(hash.0, &mut text).expect("64 characters hold 32 bytes");
    text
}

/// From the chain's form. The chain takes any 64 bytes for a fid, so this can fail.
pub(crate) fn hash(text: &HexHash) -> Result<Hash32, Fault> {
    std::str::from_utf8(text).ok().and_then(Hash32::from_hex).ok_or_else(|| {
        Fault::corrupt(format!("a hash on chain is not hex: {}", String::from_utf8_lossy(text)))
    })
}

/// Arguments of the calls, named as the pallets name them.
pub(crate) mod args {
    use super::{AccountId32, EncodeAsType, HexHash, MultiAddress, SegmentList, UserBrief, Value};

    macro_rules! arguments {
        ($($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),* $(,)? })*) => {$(
            $(#[$doc])*
            #[derive(Debug, EncodeAsType)]
            #[encode_as_type(crate_path = "subxt::ext::scale_encode")]
            pub(crate) struct $name { $(pub(crate) $field: $type),* }
        )*};
    }

    arguments! {
        /// System.remark
        Remark { remark: Vec<u8> }
        /// StorageHandler.mint_territory
        MintTerritory { gib_count: u32, territory_name: Vec<u8>, days: u32 }
        /// StorageHandler.expanding_territory
        ExpandTerritory { territory_name: Vec<u8>, gib_count: u32 }
        /// StorageHandler.renewal_territory, reactivate_territory
        RenewTerritory { territory_name: Vec<u8>, days: u32 }
        /// StorageHandler.territory_rename
        RenameTerritory { old_name: Vec<u8>, new_name: Vec<u8> }
        /// StorageHandler.territory_grants
        GrantTerritory { territory_name: Vec<u8>, receiver: [u8; 32] }
        /// StorageHandler.create_order
        CreateOrder {
            target_acc: [u8; 32],
            territory_name: Vec<u8>,
            order_type: Value,
            gib_count: u32,
            days: u32,
            expired: u32,
        }
        /// StorageHandler.exec_order
        ExecOrder { order_id: Vec<u8> }
        /// Oss.authorize
        Authorize { operator: [u8; 32] }
        /// Oss.cancel_authorize
        CancelAuthorize { oss: [u8; 32] }
        /// Oss.register
        RegisterGateway { endpoint: [u8; 38], domain: Vec<u8> }
        /// FileBank.upload_declaration
        UploadDeclaration { file_hash: HexHash, deal_info: Vec<SegmentList>, user_brief: UserBrief, file_size: u128 }
        /// FileBank.transfer_report
        TransferReport { index: u8, deal_hash: HexHash }
        /// FileBank.delete_file
        DeleteFile { owner: [u8; 32], file_hash: HexHash }
        /// Sminer.regnstk
        RegisterMiner { beneficiary: [u8; 32], endpoint: Vec<u8>, staking_val: u128, tib_count: u32 }
        /// Sminer.update_endpoint
        UpdateEndpoint { endpoint: Vec<u8> }
        /// Balances.transfer_keep_alive
        TransferKeepAlive { dest: MultiAddress<AccountId32, ()>, value: u128 }
        /// Sudo.sudo
        Sudo { call: Value }
    }
}

#[derive(Clone, Debug, DecodeAsType, EncodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
#[encode_as_type(crate_path = "subxt::ext::scale_encode")]
pub(crate) struct SegmentList {
    pub(crate) hash: HexHash,
    pub(crate) fragment_list: Vec<HexHash>,
}

impl From<&DeclaredSegment> for SegmentList {
    fn from(segment: &DeclaredSegment) -> Self {
        let fragment_list = segment.fragments.iter().map(|&fragment| hex_hash(fragment)).collect();
        Self { hash: hex_hash(segment.hash), fragment_list }
    }
}

impl SegmentList {
    pub(crate) fn read(&self) -> Result<DeclaredSegment, Fault> {
        let fragments: Vec<Hash32> = self.fragment_list.iter().map(hash).collect::<Result<_, _>>()?;
        let fragments = <[Hash32; FRAGMENTS]>::try_from(fragments)
            .map_err(|given| Fault::corrupt(format!("a declared segment has {} fragments", given.len())))?;
        Ok(DeclaredSegment { hash: hash(&self.hash)?, fragments })
    }
}

/// `UserBrief` as it is sent. `bucket_name` goes out only where the chain's own type has it.
#[derive(Clone, Debug, EncodeAsType)]
#[encode_as_type(crate_path = "subxt::ext::scale_encode")]
pub(crate) struct UserBrief {
    pub(crate) user: [u8; 32],
    pub(crate) file_name: Vec<u8>,
    pub(crate) bucket_name: Vec<u8>,
    pub(crate) territory_name: Vec<u8>,
}

/// `UserBrief` as it is read.
#[derive(Debug, DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub(crate) struct Owner {
    pub(crate) user: [u8; 32],
    pub(crate) file_name: Vec<u8>,
    pub(crate) territory_name: Vec<u8>,
}

#[derive(Debug, DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub(crate) struct CompleteInfo {
    pub(crate) index: u8,
    pub(crate) miner: [u8; 32],
}

impl CompleteInfo {
    pub(crate) fn read(&self) -> Result<(FragmentIndex, AccountId), Fault> {
        let index = FragmentIndex::from_chain(self.index)
            .ok_or_else(|| Fault::corrupt(format!("a deal lists column {}", self.index)))?;
        Ok((index, AccountId(self.miner)))
    }
}

#[derive(Debug, DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub(crate) struct DealInfo {
    pub(crate) segment_list: Vec<SegmentList>,
    pub(crate) complete_list: Vec<CompleteInfo>,
}

#[derive(Debug, DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub(crate) struct FragmentInfo {
    pub(crate) hash: HexHash,
    pub(crate) avail: bool,
    pub(crate) miner: [u8; 32],
}

#[derive(Debug, DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub(crate) struct SegmentInfo {
    pub(crate) hash: HexHash,
    pub(crate) fragment_list: Vec<FragmentInfo>,
}

impl SegmentInfo {
    pub(crate) fn read(&self) -> Result<FileSegment, Fault> {
        let fragment = |fragment: &FragmentInfo| {
            Ok(PlacedFragment {
                hash: hash(&fragment.hash)?,
                miner: AccountId(fragment.miner),
                available: fragment.avail,
            })
        };
        let fragments = self.fragment_list.iter().map(fragment).collect::<Result<_, Fault>>()?;
        Ok(FileSegment { hash: hash(&self.hash)?, fragments })
    }
}

#[derive(Debug, DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub(crate) struct FileInfo {
    pub(crate) segment_list: Vec<SegmentInfo>,
    pub(crate) owner: Vec<Owner>,
    pub(crate) file_size: u128,
    pub(crate) completion: u32,
}

#[derive(Debug, DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub(crate) struct UserFileSliceInfo {
    pub(crate) territory_name: Vec<u8>,
    pub(crate) file_hash: HexHash,
    pub(crate) file_size: u128,
}

/// A territory's name as the chain has it: at most 63 bytes, but any bytes.
pub(crate) fn territory_name(bytes: &[u8]) -> Result<TerritoryName, Fault> {
    TerritoryName::new(String::from_utf8_lossy(bytes))
        .ok_or_else(|| Fault::corrupt(format!("a territory's name has {} bytes", bytes.len())))
}

#[derive(Debug, DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub(crate) struct TerritoryInfo {
    pub(crate) total_space: u128,
    pub(crate) used_space: u128,
    pub(crate) locked_space: u128,
    pub(crate) remaining_space: u128,
    pub(crate) start: u32,
    pub(crate) deadline: u32,
    pub(crate) state: ChainTerritoryState,
}

#[derive(Debug, DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub(crate) enum ChainTerritoryState {
    Active,
    Frozen,
    Expired,
    OnConsignment,
}

impl TerritoryInfo {
    pub(crate) fn read(self, name: TerritoryName) -> Territory {
        Territory {
            name,
            total: self.total_space,
            used: self.used_space,
            locked: self.locked_space,
            remaining: self.remaining_space,
            start: self.start,
            deadline: self.deadline,
            state: match self.state {
                ChainTerritoryState::Active => TerritoryState::Active,
                ChainTerritoryState::Frozen => TerritoryState::Frozen,
                ChainTerritoryState::Expired => TerritoryState::Expired,
                ChainTerritoryState::OnConsignment => TerritoryState::OnConsignment,
            },
        }
    }
}

/// Of pallet sminer's `MinerInfo`, about 3 kB each, these three.
#[derive(Debug, DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub(crate) struct ChainMinerInfo {
    pub(crate) endpoint: Vec<u8>,
    pub(crate) state: Vec<u8>,
    pub(crate) idle_space: u128,
}

impl ChainMinerInfo {
    pub(crate) fn read(&self, account: AccountId) -> MinerInfo {
        MinerInfo {
            addr: MinerAddr { account, endpoint: mend_endpoint(&self.endpoint) },
            state: trimmed(&self.state),
            idle: self.idle_space,
        }
    }
}

/// Miners register `host:port`, `http://host:port` or `http://host:port/`, and older ones pad the
/// field to its full length with NUL bytes.
pub(crate) fn mend_endpoint(bytes: &[u8]) -> String {
    let text = trimmed(bytes);
    let text = text.trim_end_matches('/');
    if text.is_empty() || text.contains("://") { text.to_owned() } else { format!("http://{text}") }
}

fn trimmed(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).trim().to_owned()
}

#[derive(Debug, Default, DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub(crate) struct AccountInfo {
    pub(crate) data: AccountData,
}

#[derive(Debug, Default, DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub(crate) struct AccountData {
    pub(crate) free: u128,
}

/// Fields of events, named as the pallets name them.
// The derive imports something that a struct of one field does not use.
#[allow(unused_imports)]
pub(crate) mod event {
    use super::{DecodeAsType, HexHash, Value};

    macro_rules! fields {
        ($($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),* $(,)? })*) => {$(
            $(#[$doc])*
            #[derive(Debug, DecodeAsType)]
            #[decode_as_type(crate_path = "subxt::ext::scale_decode")]
            pub(crate) struct $name { $(pub(crate) $field: $type),* }
        )*};
    }

    fields! {
        /// FileBank.TransferReport
        TransferReport { acc: [u8; 32], deal_hash: HexHash }
        /// FileBank.StorageCompleted, FileBank.DeleteFile
        OfFile { file_hash: HexHash }
        /// FileBank.RecoveryCompleted: the order's id is the fragment's hash
        RecoveryCompleted { order_id: HexHash }
        /// StorageHandler.CreatePayOrder
        CreatePayOrder { order_hash: Vec<u8> }
        /// TransactionPayment.TransactionFeePaid
        TransactionFeePaid { actual_fee: u128 }
        /// System.ExtrinsicFailed
        ExtrinsicFailed { dispatch_error: Value }
        /// Sudo.Sudid
        Sudid { sudo_result: Value }
    }
}

/// The fid of a file.
pub(crate) fn fid(text: &HexHash) -> Result<Fid, Fault> {
    hash(text).map(Fid)
}

#[cfg(test)]
mod tests {
    use super::{hash, hex_hash, mend_endpoint};
    use gw_types::Hash32;

    #[test]
    fn endpoints_as_miners_write_them_are_mended() {
        assert_eq!(mend_endpoint(b"http://1.2.3.4:8080"), "http://1.2.3.4:8080");
        assert_eq!(mend_endpoint(b"1.2.3.4:8080\0\0\0\0"), "http://1.2.3.4:8080");
        assert_eq!(mend_endpoint(b" https://m.example/ \0"), "https://m.example");
        assert_eq!(mend_endpoint(b"\0\0"), "");
        assert_eq!(mend_endpoint(b""), "");
        assert!(mend_endpoint(&[0xff; 38]).starts_with("http://"));
    }

    #[test]
    fn hashes_are_lower_case_hex_on_chain() {
        let sample = Hash32([0xab; 32]);
        assert_eq!(hex_hash(sample), *b"abababababababababababababababababababababababababababababababab");
        assert_eq!(hash(&hex_hash(sample)).unwrap(), sample);
        assert!(hash(&[b'A'; 64]).is_err());
        assert!(hash(&[0xff; 64]).is_err());
    }
}
