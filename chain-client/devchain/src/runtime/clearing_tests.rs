//! Clearing an expired territory, pass by pass: too many files for a test that goes through transactions.

use super::{
    FileBank, Runtime, System,
    file_bank::{
        CLEAR_PER_PASS,
        pallet::{ClearUserList, File, UserHoldFileList},
    },
    storage_handler::pallet::{Territory, TerritoryExpired, TerritoryKey},
    types::{
        AccountId, FileInfo, FileState, Hash, TerrName, TerritoryInfo, TerritoryState, UserBrief,
        UserFileSliceInfo,
    },
};
use crate::Genesis;
use frame_support::{BoundedVec, traits::Hooks};

fn hash(number: u32) -> Hash {
    Hash(format!("{number:064x}").into_bytes().try_into().unwrap())
}

fn name(text: &str) -> TerrName {
    text.as_bytes().to_vec().try_into().unwrap()
}

fn put_file(owner: &AccountId, number: u32, territory: &TerrName) {
    let brief = UserBrief { user: owner.clone(), file_name: name("file"), territory_name: territory.clone() };
    let file = FileInfo {
        segment_list: BoundedVec::default(),
        owner: vec![brief].try_into().unwrap(),
        file_size: 1,
        completion: 1,
        stat: FileState::Active,
    };
    File::<Runtime>::insert(hash(number), file);
    UserHoldFileList::<Runtime>::mutate(owner, |list| {
        let slice =
            UserFileSliceInfo { territory_name: territory.clone(), file_hash: hash(number), file_size: 0 };
        list.try_push(slice).unwrap();
    });
}

#[test]
fn an_expired_territory_is_cleared_in_passes_of_three_hundred() {
    let mut state = sp_io::TestExternalities::new(Genesis::default().storage().unwrap());
    state.execute_with(|| {
        let owner = AccountId::new([7; 32]);
        let (doomed, kept) = (name("doomed"), name("kept"));
        let token = sp_core::H256::repeat_byte(3);
        let territory = TerritoryInfo {
            token,
            total_space: 0,
            used_space: 0,
            locked_space: 0,
            remaining_space: 0,
            start: 0,
            deadline: 1,
            state: TerritoryState::Frozen,
        };
        Territory::<Runtime>::insert(&owner, &doomed, territory);
        TerritoryKey::<Runtime>::insert(token, (owner.clone(), doomed.clone()));
        TerritoryExpired::<Runtime>::insert(5, token, true);
        for number in 0..650 {
            put_file(&owner, number, if number % 130 == 0 { &kept } else { &doomed });
        }
        let files = || File::<Runtime>::iter().count();
        for (block, left) in [(4, 650), (5, 350), (6, 50), (7, 5), (8, 5)] {
            System::set_block_number(block);
            FileBank::on_initialize(block);
            assert_eq!(files(), left, "after block {block}");
        }
        assert_eq!(CLEAR_PER_PASS, 300);
        assert_eq!(UserHoldFileList::<Runtime>::get(&owner).len(), 5);
        assert!(ClearUserList::<Runtime>::get().is_empty());
    });
}
