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
    AccountId, Balance, BlockNumber, GIB, ONE_DAY, OrderInfo, OrderType, TerrName, TerritoryInfo,
};
use codec::Encode;
use frame_support::{
    PalletId,
    dispatch::DispatchResult,
    ensure,
    traits::{Currency, ExistenceRequirement},
};
use pallet::{Config, Error, Pallet, Territory, TerritoryKey, UnitPrice};
use sp_core::H256;
use sp_runtime::{
    DispatchError,
    traits::{AccountIdConversion, UniqueSaturatedInto},
};

/// The treasury's space pot, which gets what territories cost.
const SPACE_TREASURY: PalletId = PalletId(*b"spacedpt");
/// Fewest days a territory is sold for.
const DAYS_MIN: u32 = 30;

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
