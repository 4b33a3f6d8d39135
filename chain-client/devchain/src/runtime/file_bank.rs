//! Deals and files: the pallet `FileBank`, index 104 of CESS (cess-protocol.md sections 1c and 1d).
//!
//! A declaration opens a deal and locks territory; twelve miners report, each its own column; the twelfth report
//! turns the deal into a file. A declaration of a file that exists already only adds an owner ("flash upload").
//! There is no time-out: a deal stays open until twelve miners report or its territory expires.
//!
//! Kept from CESS although odd, because a client must cope with it: a second declaration of an open deal
//! overwrites it and locks the territory's space again, for good; an expired territory drops the deal at the next
//! report, which still succeeds.
//!
//! Different from CESS: hashes are checked for lower-case hex at the declaration (CESS finds out when the tags
//! are reported or the file is deleted, with the same error `BugInvalid`); an owner who holds a file in two
//! territories gives up both when he deletes it; files beyond the 300 of a pass are removed in the next block
//! (CESS forgets them). Left out: tags (`calculate_report`) and restoral orders.

use super::{
    sminer::pallet::Pallet as Sminer,
    storage_handler::pallet::Pallet as StorageHandler,
    types::{
        AccountId, CompleteInfo, DealInfo, DealSegments, FRAGMENT_COUNT, FRAGMENT_SIZE, FileInfo, FileState,
        FragmentInfo, Hash, SEGMENT_SPACE, SegmentInfo, TerrName, UserBrief, UserFileSliceInfo,
    },
};
use frame_support::{BoundedVec, dispatch::DispatchResult, ensure};
use pallet::{ClearUserList, Config, DealMap, Error, Event, File, Pallet, UserHoldFileList};
use sp_runtime::DispatchError;
use std::collections::BTreeMap;

/// Fewest bytes of a file name.
const NAME_MIN: u32 = 3;
/// Most files of an account.
const USER_FILES_MAX: u32 = 500_000;
/// Most files that one block removes from expired territories.
pub(super) const CLEAR_PER_PASS: usize = 300;
/// Most expired territories that wait for it.
const CLEAR_QUEUE_MAX: u32 = 2000;

/// The pallet itself.
#[frame_support::pallet]
pub mod pallet {
    use super::{
        super::{
            CALL_WEIGHT,
            oss::pallet as oss,
            sminer::pallet as sminer,
            storage_handler::pallet as storage_handler,
            types::{
                AccountId, DealInfo, DealSegments, FRAGMENT_COUNT, FileInfo, FileState, Hash, ONE_DAY,
                SEGMENT_COUNT, TerrName, UserBrief, UserFileSliceInfo,
            },
        },
        CLEAR_QUEUE_MAX, NAME_MIN, USER_FILES_MAX,
    };
    use frame_support::{
        Blake2_128Concat, BoundedVec,
        dispatch::DispatchResult,
        ensure,
        pallet_prelude::{Hooks, StorageMap, StorageValue, ValueQuery, Weight},
        traits::ConstU32,
    };
    use frame_system::{
        ensure_signed,
        pallet_prelude::{BlockNumberFor, OriginFor},
    };

    /// What the pallet needs of its runtime.
    #[pallet::config]
    pub trait Config:
        frame_system::Config<RuntimeEvent: From<Event<Self>>, AccountId = AccountId>
        + storage_handler::Config
        + sminer::Config
        + oss::Config
    {
    }

    /// The pallet.
    #[pallet::pallet]
    pub struct Pallet<T>(_);

    /// Indices are those of CESS.
    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// A deal was opened, or an owner added.
        #[codec(index = 0)]
        UploadDeclaration {
            /// Who sent it.
            operator: AccountId,
            /// Whose file it is.
            owner: AccountId,
            /// The file.
            deal_hash: Hash,
        },
        /// A miner holds its column.
        #[codec(index = 1)]
        TransferReport {
            /// The miner.
            acc: AccountId,
            /// The file.
            deal_hash: Hash,
        },
        /// An owner gave a file up.
        #[codec(index = 2)]
        DeleteFile {
            /// Who sent it.
            operator: AccountId,
            /// Whose file it was.
            owner: AccountId,
            /// The file.
            file_hash: Hash,
        },
        /// All twelve columns are held.
        #[codec(index = 9)]
        StorageCompleted {
            /// The file.
            file_hash: Hash,
        },
        /// A file moved to another territory of its owner.
        #[codec(index = 11)]
        TerritoryFileDelivery {
            /// The file.
            file_hash: Hash,
            /// The territory.
            new_territory: TerrName,
        },
    }

    /// Order and names are those of CESS, also of the errors that are not raised here.
    #[pallet::error]
    pub enum Error<T> {
        /// This index or this miner reported already; or the file is in the territory already.
        Existed,
        /// Unused here.
        FileExistent,
        /// No such file.
        FileNonExistent,
        /// A number overflowed.
        Overflow,
        /// Not an owner of the file.
        NotOwner,
        /// Unused here.
        ScheduleNonExistent,
        /// A bounded list is full.
        BoundedVecError,
        /// The account has too many files.
        StorageLimitReached,
        /// Unused here.
        MinerPowerInsufficient,
        /// Unused here.
        NotEmpty,
        /// Unused here.
        Locked,
        /// Unused here.
        LengthExceedsLimit,
        /// A hash is not lower-case hex.
        BugInvalid,
        /// Unused here.
        ConvertHashError,
        /// Neither the owner nor authorised by him.
        NoPermission,
        /// No such deal or file.
        NonExistent,
        /// Unused here.
        Unexpected,
        /// Unused here.
        LessMinLength,
        /// Unused here.
        Unprepared,
        /// Unused here.
        IsOwned,
        /// Not 12 fragments, a short name, or an index outside 1..=12.
        SpecError,
        /// Unused here.
        PanicOverflow,
        /// The territory has not more than the space needed.
        InsufficientAvailableSpace,
        /// Unused here.
        Calculate,
        /// The miner is not `positive`.
        MinerStateError,
        /// Unused here.
        Expired,
        /// Unused here.
        VerifyTeeSigFailed,
        /// Unused here.
        TeeNoPermission,
        /// Unused here.
        DigestError,
        /// Unused here.
        MalformedSignature,
        /// Unused here.
        MinerError,
        /// Unused here.
        RulesNotAllowed,
        /// The file is not active.
        NotActive,
    }

    /// Open deals.
    #[pallet::storage]
    pub type DealMap<T: Config> = StorageMap<_, Blake2_128Concat, Hash, DealInfo>;

    /// Stored files.
    #[pallet::storage]
    pub type File<T: Config> = StorageMap<_, Blake2_128Concat, Hash, FileInfo>;

    /// The files of an account.
    #[pallet::storage]
    pub type UserHoldFileList<T: Config> = StorageMap<
        _,
        Blake2_128Concat,
        AccountId,
        BoundedVec<UserFileSliceInfo, ConstU32<USER_FILES_MAX>>,
        ValueQuery,
    >;

    /// Expired territories whose files are not removed yet.
    #[pallet::storage]
    pub type ClearUserList<T: Config> =
        StorageValue<_, BoundedVec<(AccountId, TerrName), ConstU32<CLEAR_QUEUE_MAX>>, ValueQuery>;

    #[pallet::extra_constants]
    impl<T: Config> Pallet<T> {
        /// Most files of an account.
        #[pallet::constant_name(UserFileLimit)]
        fn user_file_limit() -> u32 {
            USER_FILES_MAX
        }
        /// Blocks of a day.
        #[pallet::constant_name(OneDay)]
        fn one_day() -> u32 {
            ONE_DAY
        }
        /// Most bytes of a file name.
        #[pallet::constant_name(NameStrLimit)]
        fn name_limit() -> u32 {
            63
        }
        /// Fewest bytes of a file name.
        #[pallet::constant_name(NameMinLength)]
        fn name_min() -> u32 {
            NAME_MIN
        }
        /// Most segments of a file.
        #[pallet::constant_name(SegmentCount)]
        fn segment_count() -> u32 {
            SEGMENT_COUNT
        }
        /// Fragments of a segment.
        #[pallet::constant_name(FragmentCount)]
        fn fragment_count() -> u32 {
            FRAGMENT_COUNT
        }
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        fn on_initialize(_now: BlockNumberFor<T>) -> Weight {
            Self::clear_expired(storage_handler::Pallet::<T>::freeze_and_expire());
            Weight::zero()
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Declares a file: opens a deal, or adds an owner where the file exists.
        #[pallet::call_index(0)]
        #[pallet::weight(CALL_WEIGHT)]
        pub fn upload_declaration(
            origin: OriginFor<T>,
            file_hash: Hash,
            deal_info: DealSegments,
            user_brief: UserBrief,
            file_size: u128,
        ) -> DispatchResult {
            let sender = ensure_signed(origin)?;
            let owner = user_brief.user.clone();
            ensure!(oss::Pallet::<T>::may_act(&sender, &owner), Error::<T>::NoPermission);
            Self::check_declaration(&file_hash, &deal_info, &user_brief)?;
            if File::<T>::contains_key(file_hash) {
                Self::add_owner(file_hash, user_brief)?;
            } else {
                Self::open_deal(file_hash, deal_info, user_brief, file_size)?;
            }
            Self::deposit_event(Event::UploadDeclaration { operator: sender, owner, deal_hash: file_hash });
            Ok(())
        }

        /// Moves a file to another territory of the same user.
        #[pallet::call_index(2)]
        #[pallet::weight(CALL_WEIGHT)]
        pub fn territory_file_delivery(
            origin: OriginFor<T>,
            user: AccountId,
            file_hash: Hash,
            target_territory: TerrName,
        ) -> DispatchResult {
            let sender = ensure_signed(origin)?;
            ensure!(oss::Pallet::<T>::may_act(&sender, &user), Error::<T>::NoPermission);
            let file = File::<T>::get(file_hash).ok_or(Error::<T>::NotOwner)?;
            ensure!(file.owner.iter().any(|brief| brief.user == user), Error::<T>::NotOwner);
            ensure!(file.stat == FileState::Active, Error::<T>::NotActive);
            storage_handler::Pallet::<T>::ensure_owner(&user, &target_territory)?;
            Self::deliver(&user, file_hash, file, &target_territory)?;
            Self::deposit_event(Event::TerritoryFileDelivery { file_hash, new_territory: target_territory });
            Ok(())
        }

        /// The sender, a miner, holds fragment `index` - 1 of every segment of the deal.
        #[pallet::call_index(3)]
        #[pallet::weight(CALL_WEIGHT)]
        pub fn transfer_report(origin: OriginFor<T>, index: u8, deal_hash: Hash) -> DispatchResult {
            let sender = ensure_signed(origin)?;
            ensure!((1..=FRAGMENT_COUNT).contains(&u32::from(index)), Error::<T>::SpecError);
            ensure!(sminer::Pallet::<T>::is_positive(&sender)?, Error::<T>::MinerStateError);
            let deal = DealMap::<T>::get(deal_hash).ok_or(Error::<T>::NonExistent)?;
            if storage_handler::Pallet::<T>::is_expired(&deal.user.user, &deal.user.territory_name) {
                return Self::drop_deal(deal_hash, &deal);
            }
            Self::report(&sender, index, deal_hash, deal)?;
            Self::deposit_event(Event::TransferReport { acc: sender, deal_hash });
            Ok(())
        }

        /// `owner` gives the file up; with the last owner the file goes.
        #[pallet::call_index(6)]
        #[pallet::weight(CALL_WEIGHT)]
        pub fn delete_file(origin: OriginFor<T>, owner: AccountId, file_hash: Hash) -> DispatchResult {
            let sender = ensure_signed(origin)?;
            ensure!(oss::Pallet::<T>::may_act(&sender, &owner), Error::<T>::NoPermission);
            let file = File::<T>::get(file_hash).ok_or(Error::<T>::NonExistent)?;
            Self::remove_owner(file_hash, file, &owner)?;
            Self::deposit_event(Event::DeleteFile { operator: sender, owner, file_hash });
            Ok(())
        }
    }
}

/// Territory that `segments` segments take, in bytes.
fn space_of(segments: usize) -> u128 {
    SEGMENT_SPACE * segments as u128
}

/// What one column of `segments` segments takes of a miner, in bytes.
fn column_of(segments: usize) -> u128 {
    FRAGMENT_SIZE * segments as u128
}

// Deals.
impl<T: Config> Pallet<T> {
    fn check_declaration(file_hash: &Hash, segments: &DealSegments, brief: &UserBrief) -> DispatchResult {
        let twelve = FRAGMENT_COUNT as usize;
        ensure!(segments.iter().all(|s| s.fragment_list.len() == twelve), Error::<T>::SpecError);
        ensure!(brief.file_name.len() >= NAME_MIN as usize, Error::<T>::SpecError);
        let hex = file_hash.is_lower_hex()
            && segments
                .iter()
                .all(|s| s.hash.is_lower_hex() && s.fragment_list.iter().all(Hash::is_lower_hex));
        ensure!(hex, Error::<T>::BugInvalid);
        Ok(())
    }

    /// Strictly more than `needed` must be free. CESS compares so.
    fn ensure_room(brief: &UserBrief, needed: u128) -> DispatchResult {
        let free = StorageHandler::<T>::remaining_space(&brief.user, &brief.territory_name)?;
        ensure!(free > needed, Error::<T>::InsufficientAvailableSpace);
        Ok(())
    }

    fn open_deal(
        file_hash: Hash,
        segment_list: DealSegments,
        user: UserBrief,
        file_size: u128,
    ) -> DispatchResult {
        let needed = space_of(segment_list.len());
        Self::ensure_room(&user, needed)?;
        StorageHandler::<T>::lock_space(&user.user, &user.territory_name, needed)?;
        // An open deal of the same hash is overwritten, and what it locked stays locked, as on CESS.
        DealMap::<T>::insert(
            file_hash,
            DealInfo { file_size, segment_list, user, complete_list: BoundedVec::default() },
        );
        Ok(())
    }

    fn report(miner: &AccountId, index: u8, deal_hash: Hash, mut deal: DealInfo) -> DispatchResult {
        let taken = deal.complete_list.iter().any(|done| done.index == index || done.miner == *miner);
        ensure!(!taken, Error::<T>::Existed);
        Sminer::<T>::lock_space(miner, column_of(deal.segment_list.len()))?;
        deal.complete_list
            .try_push(CompleteInfo { index, miner: miner.clone() })
            .map_err(|_| Error::<T>::BoundedVecError)?;
        if deal.complete_list.len() == FRAGMENT_COUNT as usize {
            return Self::complete(deal_hash, deal);
        }
        DealMap::<T>::insert(deal_hash, deal);
        Ok(())
    }

    fn complete(file_hash: Hash, deal: DealInfo) -> DispatchResult {
        let needed = space_of(deal.segment_list.len());
        for done in &deal.complete_list {
            Sminer::<T>::lock_to_service(&done.miner, column_of(deal.segment_list.len()))?;
        }
        let UserBrief { user, territory_name, .. } = deal.user.clone();
        StorageHandler::<T>::locked_to_used(&user, &territory_name, needed)?;
        StorageHandler::<T>::idle_to_service(needed)?;
        Self::hold(&user, UserFileSliceInfo { territory_name, file_hash, file_size: needed })?;
        File::<T>::insert(file_hash, Self::file_of(deal)?);
        DealMap::<T>::remove(file_hash);
        Self::deposit_event(Event::StorageCompleted { file_hash });
        Ok(())
    }

    fn file_of(deal: DealInfo) -> Result<FileInfo, DispatchError> {
        let mut columns = deal.complete_list.into_inner();
        columns.sort_by_key(|done| done.index);
        let mut segments = Vec::with_capacity(deal.segment_list.len());
        for segment in deal.segment_list {
            let fragments: Vec<FragmentInfo> = segment
                .fragment_list
                .iter()
                .zip(&columns)
                .map(|(hash, done)| FragmentInfo {
                    hash: *hash,
                    avail: true,
                    tag: None,
                    miner: done.miner.clone(),
                })
                .collect();
            let fragment_list = fragments.try_into().map_err(|_| Error::<T>::BoundedVecError)?;
            segments.push(SegmentInfo { hash: segment.hash, fragment_list });
        }
        Ok(FileInfo {
            segment_list: segments.try_into().map_err(|_| Error::<T>::BoundedVecError)?,
            owner: vec![deal.user].try_into().map_err(|_| Error::<T>::BoundedVecError)?,
            file_size: deal.file_size,
            completion: StorageHandler::<T>::now(),
            stat: FileState::Active,
        })
    }

    /// The territory is gone: the miners get their space back, and the deal is forgotten without a word.
    fn drop_deal(deal_hash: Hash, deal: &DealInfo) -> DispatchResult {
        for done in &deal.complete_list {
            Sminer::<T>::unlock_space(&done.miner, column_of(deal.segment_list.len()))?;
        }
        DealMap::<T>::remove(deal_hash);
        Ok(())
    }
}

// Files and their owners.
impl<T: Config> Pallet<T> {
    fn hold(user: &AccountId, slice: UserFileSliceInfo) -> DispatchResult {
        UserHoldFileList::<T>::try_mutate(user, |list| {
            ensure!(!list.contains(&slice), Error::<T>::Existed);
            list.try_push(slice).map_err(|_| Error::<T>::StorageLimitReached.into())
        })
    }

    /// The flash upload: the file is there, only an owner comes.
    fn add_owner(file_hash: Hash, brief: UserBrief) -> DispatchResult {
        File::<T>::try_mutate(file_hash, |slot| {
            let file = slot.as_mut().ok_or(Error::<T>::FileNonExistent)?;
            let needed = space_of(file.segment_list.len());
            let UserBrief { user, territory_name, .. } = brief.clone();
            Self::ensure_room(&brief, needed)?;
            StorageHandler::<T>::use_space(&user, &territory_name, needed)?;
            Self::hold(&user, UserFileSliceInfo { territory_name, file_hash, file_size: needed })?;
            file.owner.try_push(brief).map_err(|_| Error::<T>::BoundedVecError.into())
        })
    }

    fn deliver(user: &AccountId, file_hash: Hash, mut file: FileInfo, target: &TerrName) -> DispatchResult {
        let space = space_of(file.segment_list.len());
        for brief in file.owner.iter_mut().filter(|brief| brief.user == *user) {
            StorageHandler::<T>::free_space(user, &brief.territory_name, space)?;
            StorageHandler::<T>::use_space(user, target, space)?;
            brief.territory_name = target.clone();
        }
        UserHoldFileList::<T>::mutate(user, |list| {
            for slice in list.iter_mut().filter(|slice| slice.file_hash == file_hash) {
                slice.territory_name = target.clone();
            }
        });
        File::<T>::insert(file_hash, file);
        Ok(())
    }

    /// Takes `owner` off the file and gives his territories their space back. Somebody who owns nothing of it
    /// changes nothing, and that is no error on CESS.
    fn remove_owner(file_hash: Hash, mut file: FileInfo, owner: &AccountId) -> DispatchResult {
        let space = space_of(file.segment_list.len());
        for brief in file.owner.iter().filter(|brief| brief.user == *owner) {
            StorageHandler::<T>::free_space(owner, &brief.territory_name, space)?;
        }
        file.owner.retain(|brief| brief.user != *owner);
        UserHoldFileList::<T>::mutate(owner, |list| list.retain(|slice| slice.file_hash != file_hash));
        Self::put_or_release(file_hash, file)
    }

    /// Writes the file back, or removes it where nobody owns it any more.
    fn put_or_release(file_hash: Hash, file: FileInfo) -> DispatchResult {
        if !file.owner.is_empty() {
            File::<T>::insert(file_hash, file);
            return Ok(());
        }
        let mut held: BTreeMap<&AccountId, u128> = BTreeMap::new();
        for fragment in file.segment_list.iter().flat_map(|segment| segment.fragment_list.iter()) {
            *held.entry(&fragment.miner).or_default() += FRAGMENT_SIZE;
        }
        for (miner, size) in &held {
            Sminer::<T>::service_to_idle(miner, *size)?;
        }
        StorageHandler::<T>::service_to_idle(held.values().sum())?;
        File::<T>::remove(file_hash);
        Ok(())
    }
}

// Expiry.
impl<T: Config> Pallet<T> {
    /// Removes files of expired territories, at most [`CLEAR_PER_PASS`]; the rest waits for the next block.
    fn clear_expired(expired: Vec<(AccountId, TerrName)>) {
        let mut queue = ClearUserList::<T>::get();
        if queue.is_empty() && expired.is_empty() {
            return;
        }
        for entry in expired {
            if queue.try_push(entry).is_err() {
                tracing::error!("too many expired territories at once: the files of one stay");
            }
        }
        let mut budget = CLEAR_PER_PASS;
        while let Some((owner, name)) = queue.first().cloned() {
            if !Self::clear_territory(&owner, &name, &mut budget) {
                break;
            }
            queue.remove(0);
        }
        ClearUserList::<T>::put(queue);
    }

    /// Removes files of one territory until it has none (true) or the budget is used up (false).
    fn clear_territory(owner: &AccountId, name: &TerrName, budget: &mut usize) -> bool {
        let mut doomed = Vec::new();
        let mut more = false;
        UserHoldFileList::<T>::mutate(owner, |list| {
            list.retain(|slice| {
                let here = slice.territory_name == *name;
                let take = here && doomed.len() < *budget;
                if take {
                    doomed.push(slice.file_hash);
                }
                more |= here && !take;
                !take
            });
        });
        *budget -= doomed.len();
        for file_hash in doomed {
            let Some(mut file) = File::<T>::get(file_hash) else { continue };
            file.owner.retain(|brief| brief.user != *owner || brief.territory_name != *name);
            if let Err(error) = Self::put_or_release(file_hash, file) {
                tracing::error!(?file_hash, ?error, "a file of an expired territory was not removed");
            }
        }
        !more
    }
}
