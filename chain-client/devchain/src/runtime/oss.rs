//! Who may act for whom: the pallet `Oss`, index 108 of CESS (cess-protocol.md section 1b).
//!
//! An owner authorises a gateway either by `authorize`, or by signing a payload that the gateway sends and pays
//! for (`proxy_authorzie`, spelt so on CESS). Left out: `evm_proxy_authorzie`, which needs an EVM account mapping.

use super::types::{AccountId, ProxyAuthPayload};
use codec::Encode;
use pallet::{AuthorityList, Config, Pallet};

/// Most gateways of an account.
const AUTHORITIES_MAX: u32 = 20;
/// Blocks that a signed payload is good for after its date.
const PAYLOAD_LIFE: u32 = 100;

/// The pallet itself.
#[frame_support::pallet]
pub mod pallet {
    use super::{
        super::{
            CALL_WEIGHT,
            storage_handler::pallet as storage_handler,
            types::{AccountId, Domain, OssInfo, PeerId, ProxyAuthPayload},
        },
        AUTHORITIES_MAX, PAYLOAD_LIFE,
    };
    use frame_support::{
        Blake2_128Concat, BoundedVec,
        dispatch::DispatchResult,
        ensure,
        pallet_prelude::{StorageMap, ValueQuery},
        traits::ConstU32,
    };
    use frame_system::{ensure_signed, pallet_prelude::OriginFor};
    use sp_core::sr25519;

    /// What the pallet needs of its runtime.
    #[pallet::config]
    pub trait Config:
        frame_system::Config<RuntimeEvent: From<Event<Self>>, AccountId = AccountId> + storage_handler::Config
    {
    }

    /// The pallet.
    #[pallet::pallet]
    pub struct Pallet<T>(_);

    /// Order is that of CESS.
    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// A gateway may act for an account.
        Authorize {
            /// The account.
            acc: AccountId,
            /// The gateway.
            operator: AccountId,
        },
        /// It may no longer.
        CancelAuthorize {
            /// The account.
            acc: AccountId,
            /// The gateway.
            oss: AccountId,
        },
        /// A gateway registered.
        OssRegister {
            /// The gateway.
            acc: AccountId,
            /// Its peer id.
            endpoint: PeerId,
        },
        /// A gateway moved.
        OssUpdate {
            /// The gateway.
            acc: AccountId,
            /// Its peer id.
            new_endpoint: PeerId,
        },
        /// A gateway left.
        OssDestroy {
            /// The gateway.
            acc: AccountId,
        },
    }

    /// Order and names are those of CESS, also of the errors that are not raised here.
    #[pallet::error]
    pub enum Error<T> {
        /// The account authorised nobody.
        NoAuthorization,
        /// The gateway is registered already.
        Registered,
        /// The gateway is not registered.
        UnRegister,
        /// Unused here.
        OptionParseError,
        /// A bounded list is full.
        BoundedVecError,
        /// The gateway is authorised already.
        Existed,
        /// The signature has not 64 bytes.
        MalformedSignature,
        /// The signature is another's.
        VerifySigFailed,
        /// The payload is too old.
        Expired,
        /// Unused here.
        ConvertError,
    }

    /// Who may act for an account.
    #[pallet::storage]
    pub type AuthorityList<T: Config> = StorageMap<
        _,
        Blake2_128Concat,
        AccountId,
        BoundedVec<AccountId, ConstU32<AUTHORITIES_MAX>>,
        ValueQuery,
    >;

    /// Registered gateways.
    #[pallet::storage]
    pub type Oss<T: Config> = StorageMap<_, Blake2_128Concat, AccountId, OssInfo>;

    #[pallet::extra_constants]
    impl<T: Config> Pallet<T> {
        /// Most gateways of an account.
        #[pallet::constant_name(AuthorLimit)]
        fn author_limit() -> u32 {
            AUTHORITIES_MAX
        }
        /// Blocks that a signed payload is good for after its date.
        #[pallet::constant_name(PayloadExpired)]
        fn payload_expired() -> u32 {
            PAYLOAD_LIFE
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// `operator` may act for the sender. A second call changes nothing.
        #[pallet::call_index(0)]
        #[pallet::weight(CALL_WEIGHT)]
        pub fn authorize(origin: OriginFor<T>, operator: AccountId) -> DispatchResult {
            let sender = ensure_signed(origin)?;
            AuthorityList::<T>::try_mutate(&sender, |list| {
                if list.contains(&operator) { Ok(()) } else { list.try_push(operator.clone()) }
            })
            .map_err(|_| Error::<T>::BoundedVecError)?;
            Self::deposit_event(Event::Authorize { acc: sender, operator });
            Ok(())
        }

        /// `oss` may no longer act for the sender.
        #[pallet::call_index(1)]
        #[pallet::weight(CALL_WEIGHT)]
        pub fn cancel_authorize(origin: OriginFor<T>, oss: AccountId) -> DispatchResult {
            let sender = ensure_signed(origin)?;
            ensure!(AuthorityList::<T>::contains_key(&sender), Error::<T>::NoAuthorization);
            AuthorityList::<T>::mutate(&sender, |list| list.retain(|entry| entry != &oss));
            Self::deposit_event(Event::CancelAuthorize { acc: sender, oss });
            Ok(())
        }

        /// Registers the sender as a gateway.
        #[pallet::call_index(2)]
        #[pallet::weight(CALL_WEIGHT)]
        pub fn register(origin: OriginFor<T>, endpoint: PeerId, domain: Domain) -> DispatchResult {
            let sender = ensure_signed(origin)?;
            ensure!(!Oss::<T>::contains_key(&sender), Error::<T>::Registered);
            Oss::<T>::insert(&sender, OssInfo { peer_id: endpoint, domain });
            Self::deposit_event(Event::OssRegister { acc: sender, endpoint });
            Ok(())
        }

        /// Changes the registration.
        #[pallet::call_index(3)]
        #[pallet::weight(CALL_WEIGHT)]
        pub fn update(origin: OriginFor<T>, endpoint: PeerId, domain: Domain) -> DispatchResult {
            let sender = ensure_signed(origin)?;
            ensure!(Oss::<T>::contains_key(&sender), Error::<T>::UnRegister);
            Oss::<T>::insert(&sender, OssInfo { peer_id: endpoint, domain });
            Self::deposit_event(Event::OssUpdate { acc: sender, new_endpoint: endpoint });
            Ok(())
        }

        /// Removes the registration.
        #[pallet::call_index(4)]
        #[pallet::weight(CALL_WEIGHT)]
        pub fn destroy(origin: OriginFor<T>) -> DispatchResult {
            let sender = ensure_signed(origin)?;
            ensure!(Oss::<T>::take(&sender).is_some(), Error::<T>::UnRegister);
            Self::deposit_event(Event::OssDestroy { acc: sender });
            Ok(())
        }

        /// Authorises `payload.oss` for whoever holds `auth_puk` and signed the payload. CESS emits no event.
        #[pallet::call_index(5)]
        #[pallet::weight(CALL_WEIGHT)]
        pub fn proxy_authorzie(
            origin: OriginFor<T>,
            auth_puk: sr25519::Public,
            sig: BoundedVec<u8, ConstU32<64>>,
            payload: ProxyAuthPayload,
        ) -> DispatchResult {
            ensure_signed(origin)?;
            let now = super::super::storage_handler::pallet::Pallet::<T>::now();
            ensure!(payload.exp.saturating_add(PAYLOAD_LIFE) > now, Error::<T>::Expired);
            let sig =
                sr25519::Signature::try_from(sig.as_slice()).map_err(|_| Error::<T>::MalformedSignature)?;
            let message = Self::signed_message(&payload);
            ensure!(sp_io::crypto::sr25519_verify(&sig, &message, &auth_puk), Error::<T>::VerifySigFailed);
            let account = AccountId::from(auth_puk.0);
            AuthorityList::<T>::try_mutate(&account, |list| {
                ensure!(!list.contains(&payload.oss), Error::<T>::Existed);
                list.try_push(payload.oss).map_err(|_| Error::<T>::BoundedVecError)
            })?;
            Ok(())
        }
    }
}

impl<T: Config> Pallet<T> {
    /// What a user signs: the payload between the tags that polkadot.js puts around bytes.
    fn signed_message(payload: &ProxyAuthPayload) -> Vec<u8> {
        [b"<Bytes>".as_slice(), &payload.encode(), b"</Bytes>"].concat()
    }

    /// Whether `operator` may act for `owner`: he is the owner, or the owner authorised him.
    pub(super) fn may_act(operator: &AccountId, owner: &AccountId) -> bool {
        owner == operator || AuthorityList::<T>::get(owner).contains(operator)
    }
}
