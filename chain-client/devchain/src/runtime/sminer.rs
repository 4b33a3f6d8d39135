//! Storage miners: the pallet `Sminer`, index 105 of CESS (cess-protocol.md section 1g).
//!
//! A miner has space in three parts, in bytes: idle, locked for open deals, and in service for completed files.
//! On CESS idle space must be proven to an enclave before a miner is `positive`. This chain has no enclave and
//! takes the word of `regnstk`: a miner that registers is `positive` at once and all it declares is idle. For the
//! same reason locked space becomes service space when the deal completes (on CESS: when the enclave's tags are
//! reported), and the space of a deleted file is idle again (on CESS: lost until it is proven anew).
//!
//! Left out: rewards, punishments, collateral changes, restoral targets, and what follows `miner_exit_prep`:
//! such a miner takes no reports any more and stays `lock`.

use super::{
    storage_handler::pallet::Pallet as StorageHandler,
    types::{AccountId, Balance, BloomFilter, CESS, EndPoint, FaucetRecord, MinerInfo, ONE_DAY, StateWord},
};
use frame_support::{PalletId, dispatch::DispatchResult, ensure, traits::Currency};
use pallet::{AllMiner, Config, Error, FaucetRecordMap, MinerItems, Pallet};
use sp_runtime::{DispatchError, traits::AccountIdConversion};

/// The account the faucet draws from.
const FAUCET: PalletId = PalletId(*b"facuetid");
/// What the faucet gives, in planck.
const FAUCET_VALUE: Balance = 2 * CESS;
/// Collateral of each declared TiB, in planck.
const COLLATERAL_PER_TIB: Balance = 4_000 * CESS;
/// Most miners.
const MINERS_MAX: u32 = 200_000;

const POSITIVE: &[u8] = b"positive";
const LOCK: &[u8] = b"lock";

/// The account the faucet draws from.
pub fn faucet_pot() -> AccountId {
    FAUCET.into_account_truncating()
}

/// The pallet itself.
#[frame_support::pallet]
pub mod pallet {
    use super::{
        super::{
            CALL_WEIGHT,
            storage_handler::pallet as storage_handler,
            types::{AccountId, Balance, EndPoint, FaucetRecord, MinerInfo, TIB},
        },
        COLLATERAL_PER_TIB, LOCK, MINERS_MAX, POSITIVE,
    };
    use frame_support::{
        Blake2_128Concat, BoundedVec,
        dispatch::DispatchResult,
        ensure,
        pallet_prelude::{BuildGenesisConfig, CountedStorageMap, StorageMap, StorageValue, ValueQuery},
        traits::{ConstU32, Currency, ExistenceRequirement, ReservableCurrency},
    };
    use frame_system::{ensure_signed, pallet_prelude::OriginFor};

    /// What the pallet needs of its runtime.
    #[pallet::config]
    pub trait Config:
        frame_system::Config<RuntimeEvent: From<Event<Self>>, AccountId = AccountId> + storage_handler::Config
    {
    }

    /// The pallet.
    #[pallet::pallet]
    pub struct Pallet<T>(_);

    /// Indices are those of CESS.
    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// A miner registered.
        #[codec(index = 0)]
        Registered {
            /// The miner.
            acc: AccountId,
        },
        /// The faucet gave.
        #[codec(index = 2)]
        DrawFaucetMoney(),
        /// The faucet got.
        #[codec(index = 3)]
        FaucetTopUpMoney {
            /// From whom.
            acc: AccountId,
        },
        /// A miner moved.
        #[codec(index = 9)]
        UpdateEndPoint {
            /// The miner.
            acc: AccountId,
            /// Where it was.
            old: EndPoint,
            /// Where it is.
            new: EndPoint,
        },
        /// A miner leaves.
        #[codec(index = 11)]
        MinerExitPrep {
            /// The miner.
            miner: AccountId,
        },
    }

    /// Order and names are those of CESS, also of the errors that are not raised here.
    #[pallet::error]
    pub enum Error<T> {
        /// The account is no miner.
        NotMiner,
        /// The account is a miner already.
        AlreadyRegistered,
        /// A number overflowed; also: the miner has not that much space.
        Overflow,
        /// No such miner.
        NotExisted,
        /// The account drew from the faucet within a day.
        LessThan24Hours,
        /// Unused here.
        ConversionError,
        /// Unused here.
        AlreadyFrozen,
        /// Unused here.
        NotpositiveState,
        /// Too many miners.
        StorageLimitReached,
        /// A bounded list is full.
        BoundedVecError,
        /// Unused here.
        DataNotExist,
        /// Unused here.
        Unexpected,
        /// Unused here.
        VerifyTeeSigFailed,
        /// Unused here.
        CountError,
        /// The miner's state forbids it.
        StateError,
        /// Unused here.
        BloomElemPushError,
        /// Too little collateral.
        CollateralNotUp,
        /// Not the miner, nor who pays for it.
        NotStakingAcc,
        /// Unused here.
        BugInvalid,
        /// Unused here.
        InsufficientStakingPeriod,
        /// Unused here.
        ExceedingDeclarationSpace,
        /// Unused here.
        InsufficientReplaceable,
        /// Unused here.
        MalformedSignature,
        /// Unused here.
        NotSetWhite,
        /// Unused here.
        WrongOrigin,
        /// Unused here.
        ExceedRelease,
        /// Unused here.
        UnableReduceDeclaration,
    }

    /// Every miner.
    #[pallet::storage]
    pub type MinerItems<T: Config> = CountedStorageMap<_, Blake2_128Concat, AccountId, MinerInfo>;

    /// Their accounts.
    #[pallet::storage]
    pub type AllMiner<T: Config> = StorageValue<_, BoundedVec<AccountId, ConstU32<MINERS_MAX>>, ValueQuery>;

    /// When an account last drew from the faucet.
    #[pallet::storage]
    pub type FaucetRecordMap<T: Config> = StorageMap<_, Blake2_128Concat, AccountId, FaucetRecord>;

    #[pallet::extra_constants]
    impl<T: Config> Pallet<T> {
        /// Most miners.
        #[pallet::constant_name(ItemLimit)]
        fn item_limit() -> u32 {
            MINERS_MAX
        }
        /// Blocks of a day.
        #[pallet::constant_name(OneDayBlock)]
        fn one_day() -> u32 {
            super::ONE_DAY
        }
    }

    /// The first miners.
    #[pallet::genesis_config]
    pub struct GenesisConfig<T: Config> {
        /// Account, endpoint, idle bytes.
        pub miners: Vec<(AccountId, EndPoint, u128)>,
        /// Nothing.
        #[serde(skip)]
        pub marker: core::marker::PhantomData<T>,
    }

    impl<T: Config> Default for GenesisConfig<T> {
        fn default() -> Self {
            Self { miners: Vec::new(), marker: core::marker::PhantomData }
        }
    }

    #[pallet::genesis_build]
    impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
        fn build(&self) {
            for (account, endpoint, idle) in &self.miners {
                Pallet::<T>::insert_miner(account, account, endpoint.clone(), 0, *idle)
                    .expect("a genesis has fewer miners than the list takes, and none twice");
            }
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Registers the sender as a miner of `tib_count` TiB, with at least 4000 CESS of collateral for each.
        #[pallet::call_index(0)]
        #[pallet::weight(CALL_WEIGHT)]
        pub fn regnstk(
            origin: OriginFor<T>,
            beneficiary: AccountId,
            endpoint: EndPoint,
            staking_val: Balance,
            tib_count: u32,
        ) -> DispatchResult {
            let sender = ensure_signed(origin)?;
            ensure!(!MinerItems::<T>::contains_key(&sender), Error::<T>::AlreadyRegistered);
            let declared = TIB * u128::from(tib_count);
            ensure!(
                staking_val >= COLLATERAL_PER_TIB * Balance::from(tib_count),
                Error::<T>::CollateralNotUp
            );
            T::Currency::reserve(&sender, staking_val)?;
            Self::insert_miner(&sender, &beneficiary, endpoint, staking_val, declared)?;
            Self::deposit_event(Event::Registered { acc: sender });
            Ok(())
        }

        /// The miner is reached elsewhere now.
        #[pallet::call_index(3)]
        #[pallet::weight(CALL_WEIGHT)]
        pub fn update_endpoint(origin: OriginFor<T>, endpoint: EndPoint) -> DispatchResult {
            let sender = ensure_signed(origin)?;
            let old = MinerItems::<T>::try_mutate(&sender, |slot| {
                let miner = slot.as_mut().ok_or(Error::<T>::NotMiner)?;
                Ok::<_, Error<T>>(core::mem::replace(&mut miner.endpoint, endpoint.clone()))
            })?;
            Self::deposit_event(Event::UpdateEndPoint { acc: sender, old, new: endpoint });
            Ok(())
        }

        /// The miner takes no new data from here on. It may not hold anything for an open deal.
        #[pallet::call_index(7)]
        #[pallet::weight(CALL_WEIGHT)]
        pub fn miner_exit_prep(origin: OriginFor<T>, miner: AccountId) -> DispatchResult {
            let sender = ensure_signed(origin)?;
            MinerItems::<T>::try_mutate(&miner, |slot| {
                let info = slot.as_mut().ok_or(Error::<T>::NotExisted)?;
                ensure!(sender == miner || sender == info.staking_account, Error::<T>::NotStakingAcc);
                ensure!(info.state.as_slice() == POSITIVE, Error::<T>::StateError);
                ensure!(info.lock_space == 0, Error::<T>::StateError);
                info.state = Self::word(LOCK)?;
                Ok::<_, Error<T>>(())
            })?;
            Self::deposit_event(Event::MinerExitPrep { miner });
            Ok(())
        }

        /// Gives to the faucet.
        #[pallet::call_index(13)]
        #[pallet::weight(CALL_WEIGHT)]
        pub fn faucet_top_up(origin: OriginFor<T>, award: Balance) -> DispatchResult {
            let sender = ensure_signed(origin)?;
            T::Currency::transfer(&sender, &super::faucet_pot(), award, ExistenceRequirement::KeepAlive)?;
            Self::deposit_event(Event::FaucetTopUpMoney { acc: sender });
            Ok(())
        }

        /// Draws 2 CESS for `to`, once a day. CESS asks a white-listed sender; this chain takes any.
        #[pallet::call_index(14)]
        #[pallet::weight(CALL_WEIGHT)]
        pub fn faucet(origin: OriginFor<T>, to: AccountId) -> DispatchResult {
            ensure_signed(origin)?;
            Self::draw(&to)?;
            Self::deposit_event(Event::DrawFaucetMoney());
            Ok(())
        }
    }
}

impl<T: Config> Pallet<T> {
    fn word(text: &[u8]) -> Result<StateWord, Error<T>> {
        text.to_vec().try_into().map_err(|_| Error::<T>::BoundedVecError)
    }

    fn insert_miner(
        account: &AccountId,
        beneficiary: &AccountId,
        endpoint: EndPoint,
        collaterals: Balance,
        space: u128,
    ) -> DispatchResult {
        let info = MinerInfo {
            beneficiary: beneficiary.clone(),
            staking_account: account.clone(),
            endpoint,
            collaterals,
            debt: 0,
            state: Self::word(POSITIVE)?,
            declaration_space: space,
            idle_space: space,
            service_space: 0,
            lock_space: 0,
            space_proof_info: None,
            service_bloom_filter: BloomFilter([0; 256]),
            tee_signature: [0; 64],
        };
        ensure!(!MinerItems::<T>::contains_key(account), Error::<T>::AlreadyRegistered);
        AllMiner::<T>::try_mutate(|all| all.try_push(account.clone()))
            .map_err(|_| Error::<T>::StorageLimitReached)?;
        MinerItems::<T>::insert(account, info);
        StorageHandler::<T>::add_idle_space(space);
        Ok(())
    }

    fn draw(to: &AccountId) -> DispatchResult {
        let now = StorageHandler::<T>::now();
        if let Some(record) = FaucetRecordMap::<T>::get(to) {
            ensure!(now >= record.last_claim_time.saturating_add(ONE_DAY), Error::<T>::LessThan24Hours);
        }
        let alive = frame_support::traits::ExistenceRequirement::KeepAlive;
        T::Currency::transfer(&faucet_pot(), to, FAUCET_VALUE, alive)?;
        FaucetRecordMap::<T>::insert(to, FaucetRecord { last_claim_time: now });
        Ok(())
    }

    /// Whether the miner takes data; an error where there is no such miner.
    pub(super) fn is_positive(miner: &AccountId) -> Result<bool, DispatchError> {
        let info = MinerItems::<T>::get(miner).ok_or(Error::<T>::NotMiner)?;
        Ok(info.state.as_slice() == POSITIVE)
    }

    /// Idle space is set aside for a deal; `Overflow` where there is too little, as in CESS.
    pub(super) fn lock_space(miner: &AccountId, size: u128) -> DispatchResult {
        Self::with_miner(miner, |m| {
            m.idle_space = m.idle_space.checked_sub(size)?;
            m.lock_space = m.lock_space.checked_add(size)?;
            Some(())
        })
    }

    /// The deal is void.
    pub(super) fn unlock_space(miner: &AccountId, size: u128) -> DispatchResult {
        Self::with_miner(miner, |m| {
            m.lock_space = m.lock_space.checked_sub(size)?;
            m.idle_space = m.idle_space.checked_add(size)?;
            Some(())
        })
    }

    /// The deal is complete.
    pub(super) fn lock_to_service(miner: &AccountId, size: u128) -> DispatchResult {
        Self::with_miner(miner, |m| {
            m.lock_space = m.lock_space.checked_sub(size)?;
            m.service_space = m.service_space.checked_add(size)?;
            Some(())
        })
    }

    /// The file is gone.
    pub(super) fn service_to_idle(miner: &AccountId, size: u128) -> DispatchResult {
        Self::with_miner(miner, |m| {
            m.service_space = m.service_space.checked_sub(size)?;
            m.idle_space = m.idle_space.checked_add(size)?;
            Some(())
        })
    }

    fn with_miner(miner: &AccountId, change: impl FnOnce(&mut MinerInfo) -> Option<()>) -> DispatchResult {
        MinerItems::<T>::try_mutate(miner, |slot| {
            let info = slot.as_mut().ok_or(Error::<T>::NotExisted)?;
            change(info).ok_or(Error::<T>::Overflow.into())
        })
    }
}
