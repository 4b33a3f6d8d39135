//! The calls this client makes, as payloads: pallet and call by name, arguments by name.
//!
//! Nothing is fixed to an index or a layout; subxt looks both up in the metadata of the chain it is
//! connected to. The unit tests hold the bytes against vectors made elsewhere, with the metadata of
//! the live chain (spec 137).

use gw_types::ports::DealSpec;
use gw_types::{AccountId, Fid, FragmentIndex, TerritoryName};
use subxt::dynamic::transaction;
use subxt::transactions::StaticPayload;
use subxt::utils::{AccountId32, MultiAddress};

use crate::wire::{SegmentList, UserBrief, args, hex_hash};

/// A call with its arguments.
pub(crate) type Call<A> = StaticPayload<A>;

const FILE_BANK: &str = "FileBank";
const STORAGE: &str = "StorageHandler";
const SMINER: &str = "Sminer";
const OSS: &str = "Oss";

fn name_bytes(name: &TerritoryName) -> Vec<u8> {
    name.as_str().as_bytes().to_vec()
}

pub(crate) fn mint_territory(name: &TerritoryName, gib_count: u32, days: u32) -> Call<args::MintTerritory> {
    let territory_name = name_bytes(name);
    transaction(STORAGE, "mint_territory", args::MintTerritory { gib_count, territory_name, days })
}

pub(crate) fn expand_territory(name: &TerritoryName, gib_count: u32) -> Call<args::ExpandTerritory> {
    let territory_name = name_bytes(name);
    transaction(STORAGE, "expanding_territory", args::ExpandTerritory { territory_name, gib_count })
}

pub(crate) fn renew_territory(name: &TerritoryName, days: u32) -> Call<args::RenewTerritory> {
    transaction(STORAGE, "renewal_territory", args::RenewTerritory { territory_name: name_bytes(name), days })
}

pub(crate) fn reactivate_territory(name: &TerritoryName, days: u32) -> Call<args::RenewTerritory> {
    transaction(
        STORAGE,
        "reactivate_territory",
        args::RenewTerritory { territory_name: name_bytes(name), days },
    )
}

pub(crate) fn rename_territory(old: &TerritoryName, new: &TerritoryName) -> Call<args::RenameTerritory> {
    let args = args::RenameTerritory { old_name: name_bytes(old), new_name: name_bytes(new) };
    transaction(STORAGE, "territory_rename", args)
}

pub(crate) fn grant_territory(name: &TerritoryName, receiver: AccountId) -> Call<args::GrantTerritory> {
    let args = args::GrantTerritory { territory_name: name_bytes(name), receiver: receiver.0 };
    transaction(STORAGE, "territory_grants", args)
}

pub(crate) fn create_order(order: args::CreateOrder) -> Call<args::CreateOrder> {
    transaction(STORAGE, "create_order", order)
}

pub(crate) fn exec_order(order_id: &[u8]) -> Call<args::ExecOrder> {
    transaction(STORAGE, "exec_order", args::ExecOrder { order_id: order_id.to_vec() })
}

pub(crate) fn authorize(operator: AccountId) -> Call<args::Authorize> {
    transaction(OSS, "authorize", args::Authorize { operator: operator.0 })
}

pub(crate) fn cancel_authorize(operator: AccountId) -> Call<args::CancelAuthorize> {
    transaction(OSS, "cancel_authorize", args::CancelAuthorize { oss: operator.0 })
}

pub(crate) fn register_gateway(endpoint: [u8; 38], domain: &str) -> Call<args::RegisterGateway> {
    transaction(OSS, "register", args::RegisterGateway { endpoint, domain: domain.as_bytes().to_vec() })
}

/// Does nothing and takes a number.
pub(crate) fn remark(text: &str) -> Call<args::Remark> {
    transaction("System", "remark", args::Remark { remark: text.as_bytes().to_vec() })
}

pub(crate) fn upload_declaration(user: AccountId, deal: &DealSpec) -> Call<args::UploadDeclaration> {
    let user_brief = UserBrief {
        user: user.0,
        file_name: deal.file_name.as_bytes().to_vec(),
        bucket_name: name_bytes(&deal.territory),
        territory_name: name_bytes(&deal.territory),
    };
    let args = args::UploadDeclaration {
        file_hash: hex_hash(deal.fid.0),
        deal_info: deal.segments.iter().map(SegmentList::from).collect(),
        user_brief,
        file_size: deal.file_size,
    };
    transaction(FILE_BANK, "upload_declaration", args)
}

pub(crate) fn transfer_report(index: FragmentIndex, fid: Fid) -> Call<args::TransferReport> {
    let args = args::TransferReport { index: index.on_chain(), deal_hash: hex_hash(fid.0) };
    transaction(FILE_BANK, "transfer_report", args)
}

pub(crate) fn delete_file(owner: AccountId, fid: Fid) -> Call<args::DeleteFile> {
    transaction(FILE_BANK, "delete_file", args::DeleteFile { owner: owner.0, file_hash: hex_hash(fid.0) })
}

pub(crate) fn register_miner(
    beneficiary: AccountId,
    endpoint: &str,
    staking_val: u128,
    tib_count: u32,
) -> Call<args::RegisterMiner> {
    let endpoint = endpoint.as_bytes().to_vec();
    let args = args::RegisterMiner { beneficiary: beneficiary.0, endpoint, staking_val, tib_count };
    transaction(SMINER, "regnstk", args)
}

pub(crate) fn update_endpoint(endpoint: &str) -> Call<args::UpdateEndpoint> {
    transaction(SMINER, "update_endpoint", args::UpdateEndpoint { endpoint: endpoint.as_bytes().to_vec() })
}

pub(crate) fn transfer_keep_alive(to: AccountId, value: u128) -> Call<args::TransferKeepAlive> {
    let dest = MultiAddress::Id(AccountId32(to.0));
    transaction("Balances", "transfer_keep_alive", args::TransferKeepAlive { dest, value })
}

#[cfg(test)]
#[path = "calls_tests.rs"]
mod tests;
