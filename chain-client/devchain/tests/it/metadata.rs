//! Our metadata against CESS's own, where a copy of it is at hand: whatever we have, CESS must have with the same
//! index, names and widths.

use crate::support::Net;
use codec::Decode;
use frame_metadata::{
    RuntimeMetadata, RuntimeMetadataPrefixed,
    v14::{StorageEntryMetadata, StorageEntryType},
    v15::{PalletMetadata, RuntimeMetadataV15},
};
use scale_info::{PortableRegistry, TypeDef, TypeDefVariant, form::PortableForm};
use std::path::PathBuf;
use subxt_rpcs::{RpcClient, rpc_params};

/// Pallets whose items must agree one by one. The others are Substrate's own and newer here than on CESS.
const CESS_PALLETS: [&str; 4] = ["FileBank", "Sminer", "StorageHandler", "Oss"];
/// Calls of Substrate's pallets that clients of CESS use.
const COMMON_CALLS: [(&str, &str); 6] = [
    ("System", "remark"),
    ("Timestamp", "set"),
    ("Balances", "transfer_allow_death"),
    ("Balances", "transfer_keep_alive"),
    ("Sudo", "sudo"),
    ("Sudo", "set_key"),
];
const COMMON_EVENTS: [(&str, &str); 6] = [
    ("System", "ExtrinsicSuccess"),
    ("System", "ExtrinsicFailed"),
    ("System", "NewAccount"),
    ("Balances", "Transfer"),
    ("TransactionPayment", "TransactionFeePaid"),
    ("Sudo", "Sudid"),
];

fn reference() -> Option<RuntimeMetadataV15> {
    let named = std::env::var_os("CESS_METADATA_SPEC137").map(PathBuf::from);
    let beside =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/reference/cess-metadata-spec137.scale");
    let path = named.unwrap_or_else(|| PathBuf::from(beside));
    let bytes = std::fs::read(&path).ok()?;
    Some(v15(&bytes))
}

fn v15(bytes: &[u8]) -> RuntimeMetadataV15 {
    match RuntimeMetadataPrefixed::decode(&mut &bytes[..]).unwrap().1 {
        RuntimeMetadata::V15(metadata) => metadata,
        other => panic!("not version 15 but {}", other.version()),
    }
}

async fn ours() -> RuntimeMetadataV15 {
    let net = Net::start().await;
    let rpc = RpcClient::new(net.chain.rpc_client());
    let call = rpc_params!["Metadata_metadata_at_version", "0x0f000000"];
    let text: String = rpc.request("state_call", call).await.unwrap();
    let bytes = hex::decode(text.trim_start_matches("0x")).unwrap();
    v15(&Option::<Vec<u8>>::decode(&mut &bytes[..]).unwrap().unwrap())
}

#[tokio::test]
async fn what_we_have_cess_has_with_the_same_indices_and_names() {
    let Some(theirs) = reference() else {
        println!("skipped: no CESS metadata here; set CESS_METADATA_SPEC137");
        return;
    };
    let ours = ours().await;
    for mine in &ours.pallets {
        let other = pallet(&theirs, &mine.name);
        assert_eq!(mine.index, other.index, "{}", mine.name);
        let same = Compare { ours: &ours, theirs: &theirs, pallet: &mine.name };
        if CESS_PALLETS.contains(&mine.name.as_str()) {
            same.all_items(mine, other);
        }
        for (_, name) in COMMON_CALLS.iter().filter(|(pallet, _)| *pallet == mine.name) {
            same.variant_named(mine.calls.as_ref().unwrap().ty.id, other.calls.as_ref().unwrap().ty.id, name);
        }
        for (_, name) in COMMON_EVENTS.iter().filter(|(pallet, _)| *pallet == mine.name) {
            same.variant_named(mine.event.as_ref().unwrap().ty.id, other.event.as_ref().unwrap().ty.id, name);
        }
    }
    assert_eq!(ours.pallets.len(), 9);
    let extensions = |m: &RuntimeMetadataV15| -> Vec<String> {
        m.extrinsic.signed_extensions.iter().map(|e| e.identifier.clone()).collect()
    };
    assert_eq!(extensions(&ours), extensions(&theirs));
}

fn pallet<'a>(metadata: &'a RuntimeMetadataV15, name: &str) -> &'a PalletMetadata<PortableForm> {
    metadata.pallets.iter().find(|p| p.name == name).unwrap_or_else(|| panic!("CESS has no pallet {name}"))
}

struct Compare<'a> {
    ours: &'a RuntimeMetadataV15,
    theirs: &'a RuntimeMetadataV15,
    pallet: &'a str,
}

impl Compare<'_> {
    fn all_items(&self, mine: &PalletMetadata<PortableForm>, other: &PalletMetadata<PortableForm>) {
        let pairs = [
            (mine.calls.as_ref().unwrap().ty.id, other.calls.as_ref().unwrap().ty.id),
            (mine.event.as_ref().unwrap().ty.id, other.event.as_ref().unwrap().ty.id),
            (mine.error.as_ref().unwrap().ty.id, other.error.as_ref().unwrap().ty.id),
        ];
        for (mine, other) in pairs {
            for variant in &variants(&self.ours.types, mine).variants {
                self.variant_named(mine, other, &variant.name);
            }
        }
        let mine_storage = mine.storage.as_ref().unwrap();
        let other_storage = other.storage.as_ref().unwrap();
        assert_eq!(mine_storage.prefix, other_storage.prefix);
        for entry in &mine_storage.entries {
            let theirs = other_storage.entries.iter().find(|e| e.name == entry.name);
            self.storage(entry, theirs.unwrap_or_else(|| panic!("{}.{}", self.pallet, entry.name)));
        }
        for constant in &mine.constants {
            let theirs = other.constants.iter().find(|c| c.name == constant.name);
            let theirs = theirs.unwrap_or_else(|| panic!("constant {}.{}", self.pallet, constant.name));
            assert_eq!(constant.value, theirs.value, "constant {}.{}", self.pallet, constant.name);
        }
    }

    fn variant_named(&self, mine: u32, other: u32, name: &str) {
        let place = format!("{}.{name}", self.pallet);
        let find = |types, id| {
            let all: &TypeDefVariant<PortableForm> = variants(types, id);
            all.variants.iter().find(|v| v.name == name).unwrap_or_else(|| panic!("no {place}"))
        };
        let (mine, other) = (find(&self.ours.types, mine), find(&self.theirs.types, other));
        assert_eq!(mine.index, other.index, "index of {place}");
        assert_eq!(mine.fields.len(), other.fields.len(), "fields of {place}");
        for (a, b) in mine.fields.iter().zip(&other.fields) {
            assert_eq!(a.name, b.name, "a field of {place}");
            if CESS_PALLETS.contains(&self.pallet) {
                self.same_type(a.ty.id, b.ty.id, &format!("{place}.{}", a.name.as_deref().unwrap_or("")));
            }
        }
    }

    fn storage(&self, mine: &StorageEntryMetadata<PortableForm>, other: &StorageEntryMetadata<PortableForm>) {
        let place = format!("{}.{}", self.pallet, mine.name);
        assert_eq!(mine.modifier, other.modifier, "{place}");
        assert_eq!(mine.default, other.default, "{place}");
        match (&mine.ty, &other.ty) {
            (StorageEntryType::Plain(a), StorageEntryType::Plain(b)) => self.same_type(a.id, b.id, &place),
            (
                StorageEntryType::Map { hashers, key, value },
                StorageEntryType::Map { hashers: theirs, key: their_key, value: their_value },
            ) => {
                assert_eq!(hashers, theirs, "{place}");
                self.same_type(key.id, their_key.id, &format!("{place} (key)"));
                self.same_type(value.id, their_value.id, &place);
            }
            _ => panic!("{place}: a map on one side only"),
        }
    }

    /// The same shape all the way down: field names, variant names and indices, widths.
    fn same_type(&self, mine: u32, other: u32, place: &str) {
        let a = &self.ours.types.resolve(mine).unwrap().type_def;
        let b = &self.theirs.types.resolve(other).unwrap().type_def;
        match (a, b) {
            (TypeDef::Composite(a), TypeDef::Composite(b)) => {
                assert_eq!(a.fields.len(), b.fields.len(), "{place}");
                for (a, b) in a.fields.iter().zip(&b.fields) {
                    assert_eq!(a.name, b.name, "{place}");
                    self.same_type(
                        a.ty.id,
                        b.ty.id,
                        &format!("{place}.{}", a.name.as_deref().unwrap_or("0")),
                    );
                }
            }
            (TypeDef::Variant(a), TypeDef::Variant(b)) => {
                let names = |v: &TypeDefVariant<PortableForm>| -> Vec<(u8, String)> {
                    v.variants.iter().map(|v| (v.index, v.name.clone())).collect()
                };
                assert_eq!(names(a), names(b), "{place}");
                for (a, b) in a.variants.iter().zip(&b.variants) {
                    for (a, b) in a.fields.iter().zip(&b.fields) {
                        self.same_type(a.ty.id, b.ty.id, place);
                    }
                }
            }
            (TypeDef::Sequence(a), TypeDef::Sequence(b)) => {
                self.same_type(a.type_param.id, b.type_param.id, place);
            }
            (TypeDef::Array(a), TypeDef::Array(b)) => {
                assert_eq!(a.len, b.len, "{place}");
                self.same_type(a.type_param.id, b.type_param.id, place);
            }
            (TypeDef::Tuple(a), TypeDef::Tuple(b)) => {
                assert_eq!(a.fields.len(), b.fields.len(), "{place}");
                for (a, b) in a.fields.iter().zip(&b.fields) {
                    self.same_type(a.id, b.id, place);
                }
            }
            (TypeDef::Primitive(a), TypeDef::Primitive(b)) => assert_eq!(a, b, "{place}"),
            // Newtypes that one side has and the other has not make no difference to the bytes.
            (TypeDef::Composite(a), _) if a.fields.len() == 1 => {
                self.same_type(a.fields[0].ty.id, other, place);
            }
            (_, TypeDef::Composite(b)) if b.fields.len() == 1 => {
                self.same_type(mine, b.fields[0].ty.id, place);
            }
            (a, b) => panic!("{place}: {a:?} is not {b:?}"),
        }
    }
}

fn variants(types: &PortableRegistry, id: u32) -> &TypeDefVariant<PortableForm> {
    match &types.resolve(id).unwrap().type_def {
        TypeDef::Variant(variants) => variants,
        other => panic!("{other:?} has no variants"),
    }
}
