//! The life of a territory, and the space in it: what stands behind the calls of [`super::storage_handler`].
//!
//! A territory is opened, grows, is prolonged, freezes, expires and is opened again; all changes of a stored
//! territory go through `with_territory`. Its three parts of space always sum up to `total_space`: files use it,
//! open deals lock it, the rest remains. (The one exception is CESS's own: what a second declaration of an open
//! deal locked stays locked.) The network's space is counted beside it, for what may still be sold.

use super::{
    storage_handler::pallet::{
        Config, Error, Pallet, PurchasedSpace, Territory, TerritoryExpired, TerritoryFrozen,
        TerritoryFrozenCounter, TerritoryKey, TotalIdleSpace, TotalServiceSpace,
    },
    types::{AccountId, BlockNumber, FROZEN_DAYS, ONE_DAY, TerrName, TerritoryInfo, TerritoryState, TokenId},
};
use frame_support::{dispatch::DispatchResult, ensure};
use sp_runtime::DispatchError;

/// Most territories that may freeze in one block.
const FREEZES_MAX: u32 = 2000;

// The life of a territory.
impl<T: Config> Pallet<T> {
    pub(super) fn open_territory(
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

    pub(super) fn grow(owner: &AccountId, name: &TerrName, space: u128) -> DispatchResult {
        Self::with_territory(owner, name, |t| {
            t.remaining_space = t.remaining_space.checked_add(space).ok_or(Error::<T>::Overflow)?;
            t.total_space = t.total_space.checked_add(space).ok_or(Error::<T>::Overflow)?;
            Ok(())
        })
    }

    pub(super) fn prolong(owner: &AccountId, name: &TerrName, days: u32) -> DispatchResult {
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

    pub(super) fn reopen(owner: &AccountId, name: &TerrName, days: u32) -> DispatchResult {
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

    pub(super) fn empty_territory(
        owner: &AccountId,
        name: &TerrName,
    ) -> Result<TerritoryInfo, DispatchError> {
        let territory = Territory::<T>::get(owner, name).ok_or(Error::<T>::NotHaveTerritory)?;
        ensure!(territory.state == TerritoryState::Active, Error::<T>::NotActive);
        ensure!(territory.total_space == territory.remaining_space, Error::<T>::ObjectNotZero);
        Ok(territory)
    }

    pub(super) fn move_territory(
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
    pub(super) fn add_purchased_space(size: u128) -> DispatchResult {
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
