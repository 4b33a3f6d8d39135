//! Territories: the pallet `StorageHandler`, index 107 of CESS (cess-protocol.md section 1a).
//!
//! A territory is bought for GiB x days x `UnitPrice`, and the price leaves the buyer for the treasury. Past its
//! deadline a territory is frozen (it takes no uploads), and 100,800 blocks later it expires: its space may be
//! sold again and [`super::file_bank`] removes its files. What is not here: consignment (102 to 106), the
//! repair calls 4, 8 and 10, and `other_reactivate_territory`.
//!
//! Kept from CESS although odd: revival costs a thirtieth of a day's price; the minutes of an order are turned
//! to blocks by six instead of ten; orders do not check the 30 days that `mint_territory` asks for.

use super::types::{
    AccountId, Balance, BlockNumber, FROZEN_DAYS, GIB, ONE_DAY, OrderInfo, OrderType, TerrName,
    TerritoryInfo, TerritoryState, TokenId,
};
use codec::Encode;
use frame_support::{
    PalletId,
    dispatch::DispatchResult,
    ensure,
    traits::{Currency, ExistenceRequirement},
};
use pallet::{
    Config, Error, Pallet, PurchasedSpace, Territory, TerritoryExpired, TerritoryFrozen,
    TerritoryFrozenCounter, TerritoryKey, TotalIdleSpace, TotalServiceSpace, UnitPrice,
};
use sp_core::H256;
use sp_runtime::{
    DispatchError,
    traits::{AccountIdConversion, UniqueSaturatedInto},
};

/// The treasury's space pot, which gets what territories cost.
const SPACE_TREASURY: PalletId = PalletId(*b"spacedpt");
/// Fewest days a territory is sold for.
const DAYS_MIN: u32 = 30;
/// Most territories that may freeze in one block.
const FREEZES_MAX: u32 = 2000;

/// The account that territories are paid to.
pub fn treasury() -> AccountId {
    SPACE_TREASURY.into_account_truncating()
}

/// The pallet itself.
#[frame_support::pallet]
pub mod pallet {
    use super::super::{
        CALL_WEIGHT,
        types::{
            AccountId, Balance, BlockNumber, FROZEN_DAYS, GIB, ONE_DAY, ONE_HOUR, OrderId, OrderInfo,
            OrderType, TerrName, TerritoryInfo, TerritoryState, TokenId,
        },
    };
    use frame_support::{
        Blake2_128Concat,
        dispatch::DispatchResult,
        ensure,
        pallet_prelude::{
            BuildGenesisConfig, OptionQuery, StorageDoubleMap, StorageMap, StorageValue, ValueQuery,
        },
        traits::ReservableCurrency,
    };
    use frame_system::{ensure_root, ensure_signed, pallet_prelude::OriginFor};

    /// What the pallet needs of its runtime.
    #[pallet::config]
    pub trait Config: frame_system::Config<RuntimeEvent: From<Event<Self>>, AccountId = AccountId> {
        /// The chain's money.
        type Currency: ReservableCurrency<AccountId, Balance = Balance>;
    }

    /// The pallet.
    #[pallet::pallet]
    pub struct Pallet<T>(_);

    /// Indices are those of CESS.
    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// An order was made.
        #[codec(index = 5)]
        CreatePayOrder {
            /// The order.
            order_hash: OrderId,
        },
        /// An order was paid.
        #[codec(index = 6)]
        PaidOrder {
            /// The order.
            order_hash: OrderId,
        },
        /// A territory was bought.
        #[codec(index = 7)]
        MintTerritory {
            /// Its identity.
            token: TokenId,
            /// Its name.
            name: TerrName,
            /// Bytes.
            storage_capacity: u128,
            /// Planck.
            spend: Balance,
        },
        /// A territory grew.
        #[codec(index = 8)]
        ExpansionTerritory {
            /// Its name.
            name: TerrName,
            /// Bytes.
            expansion_space: u128,
            /// Planck.
            spend: Balance,
        },
        /// A territory was prolonged.
        #[codec(index = 9)]
        RenewalTerritory {
            /// Its name.
            name: TerrName,
            /// Days.
            days: u32,
            /// Planck.
            spend: Balance,
        },
        /// An expired territory was bought again.
        #[codec(index = 10)]
        ReactivateTerritory {
            /// Its name.
            name: TerrName,
            /// Days.
            days: u32,
            /// Planck.
            spend: Balance,
        },
    }

    /// Order and names are those of CESS, also of the errors that are not raised here.
    #[pallet::error]
    pub enum Error<T> {
        /// A stored value is missing or malformed.
        BugInvalid,
        /// A bounded list is full.
        BoundedVecError,
        /// The network has not that much unsold space.
        InsufficientAvailableSpace,
        /// The account cannot pay.
        InsufficientBalance,
        /// The territory has not that much space.
        InsufficientStorage,
        /// A number overflowed.
        Overflow,
        /// Unused here.
        WrongOperation,
        /// The name is taken.
        PurchasedSpace,
        /// No such territory.
        NotPurchasedSpace,
        /// Unused here.
        LeaseFreeze,
        /// Unused here.
        LeaseExpired,
        /// The order's time is over.
        OrderExpired,
        /// Unused here.
        RandomErr,
        /// No such order.
        NoOrder,
        /// The order lives too long.
        ParamError,
        /// The token exists.
        DuplicateTokens,
        /// No such territory.
        NotHaveTerritory,
        /// The territory is not active.
        NotActive,
        /// The territory is not expired.
        NotExpire,
        /// Unused here.
        NotOnConsignment,
        /// Unused here.
        InsufficientLease,
        /// Unused here.
        ConsignmentExisted,
        /// Unused here.
        OnConsignment,
        /// The territory's state forbids it.
        StateError,
        /// The territory holds something.
        ObjectNotZero,
        /// Unused here.
        NonExistentConsignment,
        /// Unused here.
        ConsignmentLocked,
        /// Unused here.
        ConsignmentUnLocked,
        /// A stored value is missing.
        Unexpected,
        /// Unused here.
        NotBuyer,
        /// The price changed since the order was made.
        InvalidOrder,
        /// Unused here.
        OwnConsignment,
        /// Fewer than 30 days.
        BoundariesNotMet,
        /// The new name is taken.
        DuplicateName,
    }

    /// Token to owner and name.
    #[pallet::storage]
    pub type TerritoryKey<T: Config> = StorageMap<_, Blake2_128Concat, TokenId, (AccountId, TerrName)>;

    /// The territories of an account.
    #[pallet::storage]
    pub type Territory<T: Config> = StorageDoubleMap<
        _,
        Blake2_128Concat,
        AccountId,
        Blake2_128Concat,
        TerrName,
        TerritoryInfo,
        OptionQuery,
    >;

    /// Territories that freeze at a block.
    #[pallet::storage]
    pub type TerritoryFrozen<T: Config> =
        StorageDoubleMap<_, Blake2_128Concat, BlockNumber, Blake2_128Concat, TokenId, bool, OptionQuery>;

    /// How many they are.
    #[pallet::storage]
    pub type TerritoryFrozenCounter<T: Config> =
        StorageMap<_, Blake2_128Concat, BlockNumber, u32, ValueQuery>;

    /// Territories that expire at a block.
    #[pallet::storage]
    pub type TerritoryExpired<T: Config> =
        StorageDoubleMap<_, Blake2_128Concat, BlockNumber, Blake2_128Concat, TokenId, bool, OptionQuery>;

    /// Planck per GiB and day.
    #[pallet::storage]
    pub type UnitPrice<T: Config> = StorageValue<_, Balance>;

    /// Free bytes of all miners.
    #[pallet::storage]
    pub type TotalIdleSpace<T: Config> = StorageValue<_, u128, ValueQuery>;

    /// Bytes of all miners that hold files.
    #[pallet::storage]
    pub type TotalServiceSpace<T: Config> = StorageValue<_, u128, ValueQuery>;

    /// Bytes sold.
    #[pallet::storage]
    pub type PurchasedSpace<T: Config> = StorageValue<_, u128, ValueQuery>;

    /// Open orders.
    #[pallet::storage]
    pub type PayOrder<T: Config> = StorageMap<_, Blake2_128Concat, OrderId, OrderInfo>;

    #[pallet::extra_constants]
    impl<T: Config> Pallet<T> {
        /// Blocks of a day.
        #[pallet::constant_name(OneDay)]
        fn one_day() -> BlockNumber {
            ONE_DAY
        }
        /// Blocks of an hour.
        #[pallet::constant_name(OneHours)]
        fn one_hours() -> BlockNumber {
            ONE_HOUR
        }
        /// Blocks between freezing and expiry.
        #[pallet::constant_name(FrozenDays)]
        fn frozen_days() -> BlockNumber {
            FROZEN_DAYS
        }
        /// Longest name in bytes.
        #[pallet::constant_name(NameLimit)]
        fn name_limit() -> u32 {
            63
        }
    }

    /// The chain's first price.
    #[pallet::genesis_config]
    pub struct GenesisConfig<T: Config> {
        /// Planck per GiB and day.
        pub price: Balance,
        /// Nothing.
        #[serde(skip)]
        pub marker: core::marker::PhantomData<T>,
    }

    impl<T: Config> Default for GenesisConfig<T> {
        fn default() -> Self {
            Self { price: 30 * super::super::types::CESS, marker: core::marker::PhantomData }
        }
    }

    #[pallet::genesis_build]
    impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
        fn build(&self) {
            UnitPrice::<T>::put(self.price);
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Buys a new territory of `gib_count` GiB for `days` days.
        #[pallet::call_index(0)]
        #[pallet::weight(CALL_WEIGHT)]
        pub fn mint_territory(
            origin: OriginFor<T>,
            gib_count: u32,
            territory_name: TerrName,
            days: u32,
        ) -> DispatchResult {
            let sender = ensure_signed(origin)?;
            ensure!(!Territory::<T>::contains_key(&sender, &territory_name), Error::<T>::PurchasedSpace);
            ensure!(days >= super::DAYS_MIN, Error::<T>::BoundariesNotMet);
            let token = Self::fresh_hash(&(&sender, &territory_name));
            ensure!(!TerritoryKey::<T>::contains_key(token), Error::<T>::DuplicateTokens);
            let space = GIB * u128::from(gib_count);
            Self::add_purchased_space(space)?;
            Self::open_territory(token, &sender, &territory_name, space, days)?;
            let price = Self::price(gib_count, days)?;
            Self::pay(&sender, price)?;
            Self::deposit_event(Event::MintTerritory {
                token,
                name: territory_name,
                storage_capacity: space,
                spend: price,
            });
            Ok(())
        }

        /// Adds `gib_count` GiB for what is left of the territory's time, in whole days, rounded up.
        #[pallet::call_index(1)]
        #[pallet::weight(CALL_WEIGHT)]
        pub fn expanding_territory(
            origin: OriginFor<T>,
            territory_name: TerrName,
            gib_count: u32,
        ) -> DispatchResult {
            let sender = ensure_signed(origin)?;
            let territory =
                Territory::<T>::get(&sender, &territory_name).ok_or(Error::<T>::NotHaveTerritory)?;
            ensure!(territory.state == TerritoryState::Active, Error::<T>::NotActive);
            let price = Self::price(gib_count, Self::remaining_days(territory.deadline)?)?;
            let space = GIB * u128::from(gib_count);
            Self::add_purchased_space(space)?;
            Self::grow(&sender, &territory_name, space)?;
            Self::pay(&sender, price)?;
            Self::deposit_event(Event::ExpansionTerritory {
                name: territory_name,
                expansion_space: space,
                spend: price,
            });
            Ok(())
        }

        /// Prolongs an active or frozen territory by `days`.
        #[pallet::call_index(2)]
        #[pallet::weight(CALL_WEIGHT)]
        pub fn renewal_territory(
            origin: OriginFor<T>,
            territory_name: TerrName,
            days: u32,
        ) -> DispatchResult {
            let sender = ensure_signed(origin)?;
            let territory =
                Territory::<T>::get(&sender, &territory_name).ok_or(Error::<T>::NotHaveTerritory)?;
            ensure!(
                matches!(territory.state, TerritoryState::Active | TerritoryState::Frozen),
                Error::<T>::StateError
            );
            let price = Self::price(Self::gib_of(&territory), days)?;
            Self::pay(&sender, price)?;
            Self::prolong(&sender, &territory_name, days)?;
            Self::deposit_event(Event::RenewalTerritory { name: territory_name, days, spend: price });
            Ok(())
        }

        /// Root sets a territory's deadline. CESS has it for tests of expiry, and so have we.
        #[pallet::call_index(5)]
        #[pallet::weight(CALL_WEIGHT)]
        pub fn update_user_territory_life(
            origin: OriginFor<T>,
            user: AccountId,
            terr_name: TerrName,
            deadline: BlockNumber,
        ) -> DispatchResult {
            ensure_root(origin)?;
            Territory::<T>::try_mutate(&user, &terr_name, |slot| -> DispatchResult {
                let territory = slot.as_mut().ok_or(Error::<T>::NotPurchasedSpace)?;
                TerritoryFrozen::<T>::remove(territory.deadline, territory.token);
                territory.deadline = deadline;
                TerritoryFrozen::<T>::insert(deadline, territory.token, true);
                Ok(())
            })
        }

        /// Makes an order that anybody may pay within `expired` minutes.
        #[pallet::call_index(6)]
        #[pallet::weight(CALL_WEIGHT)]
        pub fn create_order(
            origin: OriginFor<T>,
            target_acc: AccountId,
            territory_name: TerrName,
            order_type: OrderType,
            gib_count: u32,
            days: u32,
            expired: u32,
        ) -> DispatchResult {
            let sender = ensure_signed(origin)?;
            let blocks = expired.checked_mul(6).ok_or(Error::<T>::Overflow)?;
            ensure!(blocks < ONE_HOUR, Error::<T>::ParamError);
            let pay = Self::order_price(&target_acc, &territory_name, order_type, gib_count, days)?;
            let expired = Self::now().checked_add(blocks).ok_or(Error::<T>::Overflow)?;
            let order_hash: OrderId = Self::fresh_hash(&sender)
                .as_bytes()
                .to_vec()
                .try_into()
                .map_err(|_| Error::<T>::BoundedVecError)?;
            PayOrder::<T>::insert(
                &order_hash,
                OrderInfo { territory_name, pay, gib_count, days, expired, target_acc, order_type },
            );
            Self::deposit_event(Event::CreatePayOrder { order_hash });
            Ok(())
        }

        /// Pays an order and does what it is for. An order that was paid stays, as in CESS.
        #[pallet::call_index(7)]
        #[pallet::weight(CALL_WEIGHT)]
        pub fn exec_order(origin: OriginFor<T>, order_id: OrderId) -> DispatchResult {
            let sender = ensure_signed(origin)?;
            let order = PayOrder::<T>::get(&order_id).ok_or(Error::<T>::NoOrder)?;
            ensure!(order.expired > Self::now(), Error::<T>::OrderExpired);
            Self::fill_order(&sender, &order)?;
            Self::pay(&sender, order.pay)?;
            Self::deposit_event(Event::PaidOrder { order_hash: order_id });
            Ok(())
        }

        /// Root sets the price in planck per GiB and day.
        #[pallet::call_index(9)]
        #[pallet::weight(CALL_WEIGHT)]
        pub fn define_update_price(origin: OriginFor<T>, price: u128) -> DispatchResult {
            ensure_root(origin)?;
            UnitPrice::<T>::put(price);
            Ok(())
        }

        /// Buys an expired territory again, empty, under its old name.
        #[pallet::call_index(101)]
        #[pallet::weight(CALL_WEIGHT)]
        pub fn reactivate_territory(
            origin: OriginFor<T>,
            territory_name: TerrName,
            days: u32,
        ) -> DispatchResult {
            let sender = ensure_signed(origin)?;
            let territory =
                Territory::<T>::get(&sender, &territory_name).ok_or(Error::<T>::NotHaveTerritory)?;
            ensure!(territory.state == TerritoryState::Expired, Error::<T>::NotExpire);
            let daily = UnitPrice::<T>::get().ok_or(Error::<T>::BugInvalid)? / 30;
            let price = daily
                .checked_mul(u128::from(days))
                .and_then(|p| p.checked_mul(territory.total_space / GIB))
                .ok_or(Error::<T>::Overflow)?;
            Self::pay(&sender, price)?;
            Self::add_purchased_space(territory.total_space)?;
            Self::reopen(&sender, &territory_name, days)?;
            Self::deposit_event(Event::ReactivateTerritory { name: territory_name, days, spend: price });
            Ok(())
        }

        /// Gives an empty territory away. Its new name is the 32 bytes of its token; CESS emits no event.
        #[pallet::call_index(107)]
        #[pallet::weight(CALL_WEIGHT)]
        pub fn territory_grants(
            origin: OriginFor<T>,
            territory_name: TerrName,
            receiver: AccountId,
        ) -> DispatchResult {
            let sender = ensure_signed(origin)?;
            let territory = Self::empty_territory(&sender, &territory_name)?;
            let name: TerrName =
                territory.token.0.to_vec().try_into().map_err(|_| Error::<T>::BoundedVecError)?;
            Self::move_territory((&sender, &territory_name), (receiver, name), territory)
        }

        /// Renames an empty territory. CESS emits no event.
        #[pallet::call_index(108)]
        #[pallet::weight(CALL_WEIGHT)]
        pub fn territory_rename(
            origin: OriginFor<T>,
            old_name: TerrName,
            new_name: TerrName,
        ) -> DispatchResult {
            let sender = ensure_signed(origin)?;
            ensure!(Territory::<T>::contains_key(&sender, &old_name), Error::<T>::NotHaveTerritory);
            ensure!(!Territory::<T>::contains_key(&sender, &new_name), Error::<T>::DuplicateName);
            let territory = Self::empty_territory(&sender, &old_name)?;
            Self::move_territory((&sender, &old_name), (sender.clone(), new_name), territory)
        }

        /// Root moves a territory's expiry from one block to another, so that tests need not make 100,800.
        #[pallet::call_index(201)]
        #[pallet::weight(CALL_WEIGHT)]
        pub fn update_expired_exec(
            origin: OriginFor<T>,
            old_block: BlockNumber,
            new_block: BlockNumber,
            token: TokenId,
        ) -> DispatchResult {
            ensure_root(origin)?;
            TerritoryExpired::<T>::remove(old_block, token);
            TerritoryExpired::<T>::insert(new_block, token, true);
            Ok(())
        }
    }
}

// Prices, payment and orders.
impl<T: Config> Pallet<T> {
    pub(super) fn now() -> BlockNumber {
        frame_system::Pallet::<T>::block_number().unique_saturated_into()
    }

    /// A hash nobody chose: of the parent block, the place in this one, and a salt.
    fn fresh_hash(salt: &impl Encode) -> H256 {
        let place = (
            frame_system::Pallet::<T>::parent_hash(),
            Self::now(),
            frame_system::Pallet::<T>::extrinsic_index(),
        );
        H256(sp_io::hashing::blake2_256(&(place, salt).encode()))
    }

    fn price(gib_count: u32, days: u32) -> Result<Balance, DispatchError> {
        let unit = UnitPrice::<T>::get().ok_or(Error::<T>::BugInvalid)?;
        let gib_days = u128::from(gib_count) * u128::from(days);
        gib_days.checked_mul(unit).ok_or(Error::<T>::Overflow.into())
    }

    fn gib_of(territory: &TerritoryInfo) -> u32 {
        u32::try_from(territory.total_space / GIB).unwrap_or(u32::MAX)
    }

    fn remaining_days(deadline: BlockNumber) -> Result<u32, DispatchError> {
        let blocks = deadline.checked_sub(Self::now()).ok_or(Error::<T>::Overflow)?;
        Ok(blocks.div_ceil(ONE_DAY))
    }

    fn pay(who: &AccountId, price: Balance) -> DispatchResult {
        ensure!(T::Currency::can_slash(who, price), Error::<T>::InsufficientBalance);
        T::Currency::transfer(who, &treasury(), price, ExistenceRequirement::KeepAlive)
    }

    fn order_price(
        target: &AccountId,
        name: &TerrName,
        order_type: OrderType,
        gib_count: u32,
        days: u32,
    ) -> Result<Balance, DispatchError> {
        let territory = Territory::<T>::get(target, name);
        match (order_type, territory) {
            (OrderType::Buy, None) => Self::price(gib_count, days),
            (OrderType::Buy, Some(_)) => Err(Error::<T>::PurchasedSpace.into()),
            (_, None) => Err(Error::<T>::NotHaveTerritory.into()),
            (OrderType::Expansion, Some(t)) => Self::price(gib_count, Self::remaining_days(t.deadline)?),
            (OrderType::Renewal, Some(t)) => Self::price(Self::gib_of(&t), days),
        }
    }

    fn fill_order(payer: &AccountId, order: &OrderInfo) -> DispatchResult {
        let OrderInfo { target_acc, territory_name, gib_count, days, order_type, .. } = order;
        let price = Self::order_price(target_acc, territory_name, *order_type, *gib_count, *days)?;
        let space = GIB * u128::from(*gib_count);
        match order_type {
            OrderType::Buy => {
                let token = Self::fresh_hash(&(payer, territory_name));
                ensure!(!TerritoryKey::<T>::contains_key(token), Error::<T>::DuplicateTokens);
                Self::add_purchased_space(space)?;
                Self::open_territory(token, target_acc, territory_name, space, *days)
            }
            OrderType::Expansion => {
                ensure!(price == order.pay, Error::<T>::InvalidOrder);
                Self::add_purchased_space(space)?;
                Self::grow(target_acc, territory_name, space)
            }
            OrderType::Renewal => {
                ensure!(price == order.pay, Error::<T>::InvalidOrder);
                Self::prolong(target_acc, territory_name, *days)
            }
        }
    }
}

// The life of a territory.
impl<T: Config> Pallet<T> {
    fn open_territory(
        token: TokenId,
        owner: &AccountId,
        name: &TerrName,
        space: u128,
        days: u32,
    ) -> DispatchResult {
        let start = Self::now();
        let deadline = Self::days_after(start, days)?;
        let territory = TerritoryInfo {
            token,
            total_space: space,
            used_space: 0,
            locked_space: 0,
            remaining_space: space,
            start,
            deadline,
            state: TerritoryState::Active,
        };
        Territory::<T>::insert(owner, name, territory);
        TerritoryKey::<T>::insert(token, (owner.clone(), name.clone()));
        Self::plan_freeze(deadline, token)
    }

    fn days_after(start: BlockNumber, days: u32) -> Result<BlockNumber, DispatchError> {
        ONE_DAY.checked_mul(days).and_then(|b| start.checked_add(b)).ok_or(Error::<T>::Overflow.into())
    }

    fn plan_freeze(deadline: BlockNumber, token: TokenId) -> DispatchResult {
        TerritoryFrozen::<T>::insert(deadline, token, true);
        TerritoryFrozenCounter::<T>::try_mutate(deadline, |counter| -> DispatchResult {
            *counter = counter.checked_add(1).ok_or(Error::<T>::Overflow)?;
            ensure!(*counter < FREEZES_MAX, Error::<T>::Overflow);
            Ok(())
        })
    }

    fn grow(owner: &AccountId, name: &TerrName, space: u128) -> DispatchResult {
        Self::with_territory(owner, name, |t| {
            t.remaining_space = t.remaining_space.checked_add(space).ok_or(Error::<T>::Overflow)?;
            t.total_space = t.total_space.checked_add(space).ok_or(Error::<T>::Overflow)?;
            Ok(())
        })
    }

    fn prolong(owner: &AccountId, name: &TerrName, days: u32) -> DispatchResult {
        Self::with_territory(owner, name, |t| {
            let now = Self::now();
            TerritoryFrozen::<T>::remove(t.deadline, t.token);
            TerritoryFrozenCounter::<T>::mutate(t.deadline, |counter| *counter = counter.saturating_sub(1));
            TerritoryExpired::<T>::remove(t.deadline.saturating_add(FROZEN_DAYS), t.token);
            if now > t.deadline {
                t.start = now;
            }
            t.deadline = Self::days_after(t.deadline.max(now), days)?;
            if t.deadline > now {
                t.state = TerritoryState::Active;
            }
            Self::plan_freeze(t.deadline, t.token)
        })
    }

    fn reopen(owner: &AccountId, name: &TerrName, days: u32) -> DispatchResult {
        Self::with_territory(owner, name, |t| {
            t.state = TerritoryState::Active;
            t.remaining_space = t.total_space;
            t.locked_space = 0;
            t.used_space = 0;
            t.start = Self::now();
            t.deadline = Self::days_after(t.start, days)?;
            Self::plan_freeze(t.deadline, t.token)
        })
    }

    fn empty_territory(owner: &AccountId, name: &TerrName) -> Result<TerritoryInfo, DispatchError> {
        let territory = Territory::<T>::get(owner, name).ok_or(Error::<T>::NotHaveTerritory)?;
        ensure!(territory.state == TerritoryState::Active, Error::<T>::NotActive);
        ensure!(territory.total_space == territory.remaining_space, Error::<T>::ObjectNotZero);
        Ok(territory)
    }

    fn move_territory(
        from: (&AccountId, &TerrName),
        to: (AccountId, TerrName),
        territory: TerritoryInfo,
    ) -> DispatchResult {
        ensure!(TerritoryKey::<T>::contains_key(territory.token), Error::<T>::Unexpected);
        Territory::<T>::remove(from.0, from.1);
        TerritoryKey::<T>::insert(territory.token, &to);
        Territory::<T>::insert(to.0, to.1, territory);
        Ok(())
    }

    fn with_territory(
        owner: &AccountId,
        name: &TerrName,
        change: impl FnOnce(&mut TerritoryInfo) -> DispatchResult,
    ) -> DispatchResult {
        Territory::<T>::try_mutate(owner, name, |slot| {
            change(slot.as_mut().ok_or(Error::<T>::NotHaveTerritory)?)
        })
    }

    /// Freezes and expires what is due in this block; gives the territories that expired.
    pub(super) fn freeze_and_expire() -> Vec<(AccountId, TerrName)> {
        let now = Self::now();
        let freezing: Vec<TokenId> = TerritoryFrozen::<T>::iter_key_prefix(now).collect();
        for token in freezing {
            let Some((owner, name)) = TerritoryKey::<T>::get(token) else { continue };
            Territory::<T>::mutate(&owner, &name, |slot| {
                if let Some(t) = slot {
                    t.state = TerritoryState::Frozen;
                    TerritoryExpired::<T>::insert(t.deadline.saturating_add(FROZEN_DAYS), t.token, true);
                }
            });
        }
        let expiring: Vec<TokenId> = TerritoryExpired::<T>::iter_key_prefix(now).collect();
        expiring.into_iter().filter_map(Self::expire).collect()
    }

    fn expire(token: TokenId) -> Option<(AccountId, TerrName)> {
        let (owner, name) = TerritoryKey::<T>::get(token)?;
        Territory::<T>::mutate(&owner, &name, |slot| {
            let t = slot.as_mut().filter(|t| t.state == TerritoryState::Frozen)?;
            t.state = TerritoryState::Expired;
            PurchasedSpace::<T>::mutate(|sold| *sold = sold.saturating_sub(t.total_space));
            Some(())
        })?;
        Some((owner, name))
    }
}

// What the file pallet asks for.
impl<T: Config> Pallet<T> {
    /// Sells `size` bytes; fails when the miners have not that many left.
    fn add_purchased_space(size: u128) -> DispatchResult {
        PurchasedSpace::<T>::try_mutate(|sold| -> DispatchResult {
            let total = TotalIdleSpace::<T>::get()
                .checked_add(TotalServiceSpace::<T>::get())
                .ok_or(Error::<T>::Overflow)?;
            let after = sold.checked_add(size).ok_or(Error::<T>::Overflow)?;
            ensure!(after <= total, Error::<T>::InsufficientAvailableSpace);
            *sold = after;
            Ok(())
        })
    }

    /// Adds to the free space of the network (a new miner).
    pub(super) fn add_idle_space(size: u128) {
        TotalIdleSpace::<T>::mutate(|total| *total = total.saturating_add(size));
    }

    /// Moves `size` bytes of the network's free space to the space that holds files.
    pub(super) fn idle_to_service(size: u128) -> DispatchResult {
        let idle = TotalIdleSpace::<T>::get().checked_sub(size).ok_or(Error::<T>::Overflow)?;
        let service = TotalServiceSpace::<T>::get().checked_add(size).ok_or(Error::<T>::Overflow)?;
        TotalIdleSpace::<T>::put(idle);
        TotalServiceSpace::<T>::put(service);
        Ok(())
    }

    /// The other way.
    pub(super) fn service_to_idle(size: u128) -> DispatchResult {
        let service = TotalServiceSpace::<T>::get().checked_sub(size).ok_or(Error::<T>::Overflow)?;
        let idle = TotalIdleSpace::<T>::get().checked_add(size).ok_or(Error::<T>::Overflow)?;
        TotalServiceSpace::<T>::put(service);
        TotalIdleSpace::<T>::put(idle);
        Ok(())
    }

    /// Free bytes of a territory.
    pub(super) fn remaining_space(owner: &AccountId, name: &TerrName) -> Result<u128, DispatchError> {
        let territory = Territory::<T>::get(owner, name).ok_or(Error::<T>::NotHaveTerritory)?;
        Ok(territory.remaining_space)
    }

    /// Whether the territory is expired, or there is none.
    pub(super) fn is_expired(owner: &AccountId, name: &TerrName) -> bool {
        Territory::<T>::get(owner, name).is_none_or(|t| t.state == TerritoryState::Expired)
    }

    /// Whether there is such a territory.
    pub(super) fn ensure_owner(owner: &AccountId, name: &TerrName) -> DispatchResult {
        ensure!(Territory::<T>::contains_key(owner, name), Error::<T>::NotHaveTerritory);
        Ok(())
    }

    /// Sets space aside for a deal.
    pub(super) fn lock_space(owner: &AccountId, name: &TerrName, size: u128) -> DispatchResult {
        Self::with_territory(owner, name, |t| {
            ensure!(t.state == TerritoryState::Active, Error::<T>::NotActive);
            ensure!(t.remaining_space >= size, Error::<T>::InsufficientStorage);
            t.locked_space = t.locked_space.checked_add(size).ok_or(Error::<T>::Overflow)?;
            t.remaining_space -= size;
            Ok(())
        })
    }

    /// The deal is complete: what was set aside is used.
    pub(super) fn locked_to_used(owner: &AccountId, name: &TerrName, size: u128) -> DispatchResult {
        Self::with_territory(owner, name, |t| {
            t.locked_space = t.locked_space.checked_sub(size).ok_or(Error::<T>::Overflow)?;
            t.used_space = t.used_space.checked_add(size).ok_or(Error::<T>::Overflow)?;
            Ok(())
        })
    }

    /// A file comes into the territory without a deal.
    pub(super) fn use_space(owner: &AccountId, name: &TerrName, size: u128) -> DispatchResult {
        Self::with_territory(owner, name, |t| {
            ensure!(t.state == TerritoryState::Active, Error::<T>::NotActive);
            ensure!(size <= t.remaining_space, Error::<T>::InsufficientStorage);
            t.used_space = t.used_space.checked_add(size).ok_or(Error::<T>::Overflow)?;
            t.remaining_space -= size;
            Ok(())
        })
    }

    /// A file leaves the territory.
    pub(super) fn free_space(owner: &AccountId, name: &TerrName, size: u128) -> DispatchResult {
        Self::with_territory(owner, name, |t| {
            t.used_space = t.used_space.checked_sub(size).ok_or(Error::<T>::Overflow)?;
            t.remaining_space = t.remaining_space.checked_add(size).ok_or(Error::<T>::Overflow)?;
            Ok(())
        })
    }
}
