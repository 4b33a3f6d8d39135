//! The runtime: what CESS's chain does, as far as the gateway's path needs it.
//!
//! An ordinary FRAME runtime, compiled natively and called through `api::dispatch`; there is no wasm. Pallet
//! indices, call indices and names, events, storage and field names are those of CESS's spec 137, so that one
//! client serves both (cess-protocol.md section 7); a test holds them against CESS's own metadata. The figures
//! of `system_version`, weights and fees by weight are ours: only the fee by length is CESS's.

#[cfg(test)]
mod clearing_tests;
pub mod file_bank;
pub mod oss;
pub mod sminer;
pub mod storage_handler;
mod territory;
pub mod types;

use frame_support::{
    derive_impl,
    traits::{ConstU8, ConstU16, ConstU32, ConstU64, ConstU128, VariantCountOf},
    weights::{ConstantMultiplier, Weight},
};
use frame_system::limits::{BlockLength, BlockWeights};
use pallet_transaction_payment::{ConstFeeMultiplier, FungibleAdapter, Multiplier};
use sp_runtime::{
    Cow, generic,
    traits::{AccountIdLookup, BlakeTwo256, One},
};
use sp_version::RuntimeVersion;
use types::{AccountId, BYTE_FEE, Balance, BlockNumber, EXISTENTIAL_DEPOSIT, Nonce, Signature};

/// Weight of each call of our pallets: a millisecond, more than any takes.
pub(crate) const CALL_WEIGHT: Weight = Weight::from_parts(1_000_000_000, 0);
/// Planck for a picosecond of weight, so that a call costs about a hundredth of a CESS, as was seen on CESS.
const WEIGHT_FEE: Balance = 10_000_000;
/// Longest block in bytes. One declaration of 1000 segments has 833 kB.
const BLOCK_LENGTH_MAX: u32 = 8 << 20;
/// CESS's address format (SS58).
pub(crate) const SS58_PREFIX: u16 = 11330;

/// The version that clients read. `impl_name` tells it from the real one.
#[sp_version::runtime_version]
pub(crate) const VERSION: RuntimeVersion = RuntimeVersion {
    spec_name: Cow::Borrowed("cess-node"),
    impl_name: Cow::Borrowed("cess-gateway-devchain"),
    authoring_version: 1,
    spec_version: 137,
    impl_version: 1,
    apis: apis::RUNTIME_API_VERSIONS,
    transaction_version: 1,
    system_version: 1,
};

type TxExtension = (
    frame_system::CheckNonZeroSender<Runtime>,
    frame_system::CheckSpecVersion<Runtime>,
    frame_system::CheckTxVersion<Runtime>,
    frame_system::CheckGenesis<Runtime>,
    frame_system::CheckEra<Runtime>,
    frame_system::CheckNonce<Runtime>,
    frame_system::CheckWeight<Runtime>,
    pallet_transaction_payment::ChargeTransactionPayment<Runtime>,
);
type Address = sp_runtime::MultiAddress<AccountId, u32>;

/// A block's header.
pub type Header = generic::Header<BlockNumber, BlakeTwo256>;
/// A transaction.
pub type UncheckedExtrinsic = generic::UncheckedExtrinsic<Address, RuntimeCall, Signature, TxExtension>;
/// A block.
pub type Block = generic::Block<Header, UncheckedExtrinsic>;

type Executive = frame_executive::Executive<
    Runtime,
    Block,
    frame_system::ChainContext<Runtime>,
    Runtime,
    AllPalletsWithSystem,
>;

#[frame_support::runtime]
mod runtime {
    /// The runtime.
    #[runtime::runtime]
    #[runtime::derive(
        RuntimeCall,
        RuntimeEvent,
        RuntimeError,
        RuntimeOrigin,
        RuntimeFreezeReason,
        RuntimeHoldReason,
        RuntimeSlashReason,
        RuntimeLockId,
        RuntimeTask,
        RuntimeViewFunction
    )]
    pub struct Runtime;

    #[runtime::pallet_index(0)]
    pub type System = frame_system;
    #[runtime::pallet_index(3)]
    pub type Timestamp = pallet_timestamp;
    #[runtime::pallet_index(6)]
    pub type Balances = pallet_balances;
    #[runtime::pallet_index(7)]
    pub type TransactionPayment = pallet_transaction_payment;
    #[runtime::pallet_index(22)]
    pub type Sudo = pallet_sudo;
    #[runtime::pallet_index(104)]
    pub type FileBank = crate::runtime::file_bank::pallet;
    #[runtime::pallet_index(105)]
    pub type Sminer = crate::runtime::sminer::pallet;
    #[runtime::pallet_index(107)]
    pub type StorageHandler = crate::runtime::storage_handler::pallet;
    #[runtime::pallet_index(108)]
    pub type Oss = crate::runtime::oss::pallet;
}

frame_support::parameter_types! {
    /// The version.
    pub const Version: RuntimeVersion = VERSION;
    /// A block's weights.
    pub RuntimeBlockWeights: BlockWeights =
        BlockWeights::simple_max(Weight::from_parts(2_000_000_000_000, u64::MAX));
    /// A block's length.
    pub RuntimeBlockLength: BlockLength = BlockLength::builder().max_length(BLOCK_LENGTH_MAX).build();
    /// Fees do not follow load here.
    pub FeeMultiplier: Multiplier = Multiplier::one();
}

#[derive_impl(frame_system::config_preludes::SolochainDefaultConfig)]
impl frame_system::Config for Runtime {
    type Block = Block;
    type BlockWeights = RuntimeBlockWeights;
    type BlockLength = RuntimeBlockLength;
    type AccountId = AccountId;
    type Nonce = Nonce;
    type Lookup = AccountIdLookup<AccountId, u32>;
    type BlockHashCount = ConstU32<2400>;
    type Version = Version;
    type AccountData = pallet_balances::AccountData<Balance>;
    type SS58Prefix = ConstU16<SS58_PREFIX>;
    type MaxConsumers = ConstU32<16>;
}

impl pallet_timestamp::Config for Runtime {
    type Moment = u64;
    type OnTimestampSet = ();
    type MinimumPeriod = ConstU64<0>;
    type WeightInfo = ();
}

impl pallet_balances::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type RuntimeHoldReason = RuntimeHoldReason;
    type RuntimeFreezeReason = RuntimeFreezeReason;
    type WeightInfo = ();
    type Balance = Balance;
    type DustRemoval = ();
    type ExistentialDeposit = ConstU128<EXISTENTIAL_DEPOSIT>;
    type AccountStore = System;
    type ReserveIdentifier = [u8; 8];
    type FreezeIdentifier = RuntimeFreezeReason;
    type MaxLocks = ConstU32<50>;
    type MaxReserves = ConstU32<50>;
    type MaxFreezes = VariantCountOf<RuntimeFreezeReason>;
    type DoneSlashHandler = ();
}

impl pallet_transaction_payment::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type OnChargeTransaction = FungibleAdapter<Balances, ()>;
    type WeightToFee = ConstantMultiplier<Balance, ConstU128<WEIGHT_FEE>>;
    type LengthToFee = ConstantMultiplier<Balance, ConstU128<BYTE_FEE>>;
    type FeeMultiplierUpdate = ConstFeeMultiplier<FeeMultiplier>;
    type OperationalFeeMultiplier = ConstU8<5>;
    type WeightInfo = ();
}

impl pallet_sudo::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type RuntimeCall = RuntimeCall;
    type WeightInfo = ();
}

impl storage_handler::pallet::Config for Runtime {
    type Currency = Balances;
}
impl sminer::pallet::Config for Runtime {}
impl oss::pallet::Config for Runtime {}
impl file_bank::pallet::Config for Runtime {}

pub(crate) use apis::api::dispatch;

mod apis {
    use super::{AccountId, Balance, Block, Executive, Nonce, Runtime, System, TransactionPayment, VERSION};
    use frame_support::view_functions::{ViewFunctionDispatchError, ViewFunctionId};
    use frame_support::weights::Weight;
    use pallet_transaction_payment::{FeeDetails, RuntimeDispatchInfo};
    use sp_api::impl_runtime_apis;
    use sp_core::OpaqueMetadata;
    use sp_inherents::{CheckInherentsResult, InherentData};
    use sp_runtime::{
        ApplyExtrinsicResult, ExtrinsicInclusionMode,
        traits::Block as BlockT,
        transaction_validity::{TransactionSource, TransactionValidity},
    };
    use sp_version::RuntimeVersion;

    impl_runtime_apis! {
        impl sp_api::Core<Block> for Runtime {
            fn version() -> RuntimeVersion {
                VERSION
            }
            fn execute_block(block: <Block as BlockT>::LazyBlock) {
                Executive::execute_block(block);
            }
            fn initialize_block(header: &<Block as BlockT>::Header) -> ExtrinsicInclusionMode {
                Executive::initialize_block(header)
            }
        }

        impl sp_api::Metadata<Block> for Runtime {
            fn metadata() -> OpaqueMetadata {
                OpaqueMetadata::new(Runtime::metadata().into())
            }
            fn metadata_at_version(version: u32) -> Option<OpaqueMetadata> {
                Runtime::metadata_at_version(version)
            }
            fn metadata_versions() -> Vec<u32> {
                Runtime::metadata_versions()
            }
        }

        impl frame_support::view_functions::runtime_api::RuntimeViewFunction<Block> for Runtime {
            fn execute_view_function(
                id: ViewFunctionId,
                input: Vec<u8>,
            ) -> Result<Vec<u8>, ViewFunctionDispatchError> {
                Runtime::execute_view_function(id, input)
            }
        }

        impl sp_block_builder::BlockBuilder<Block> for Runtime {
            fn apply_extrinsic(extrinsic: <Block as BlockT>::Extrinsic) -> ApplyExtrinsicResult {
                Executive::apply_extrinsic(extrinsic)
            }
            fn finalize_block() -> <Block as BlockT>::Header {
                Executive::finalize_block()
            }
            // The node makes the one inherent there is, the timestamp, itself.
            fn inherent_extrinsics(_data: InherentData) -> Vec<<Block as BlockT>::Extrinsic> {
                Vec::new()
            }
            fn check_inherents(
                _block: <Block as BlockT>::LazyBlock,
                _data: InherentData,
            ) -> CheckInherentsResult {
                CheckInherentsResult::new()
            }
        }

        impl sp_transaction_pool::runtime_api::TaggedTransactionQueue<Block> for Runtime {
            fn validate_transaction(
                source: TransactionSource,
                tx: <Block as BlockT>::Extrinsic,
                block_hash: <Block as BlockT>::Hash,
            ) -> TransactionValidity {
                Executive::validate_transaction(source, tx, block_hash)
            }
        }

        impl frame_system_rpc_runtime_api::AccountNonceApi<Block, AccountId, Nonce> for Runtime {
            fn account_nonce(account: AccountId) -> Nonce {
                System::account_nonce(account)
            }
        }

        impl pallet_transaction_payment_rpc_runtime_api::TransactionPaymentApi<Block, Balance> for Runtime {
            fn query_info(uxt: <Block as BlockT>::Extrinsic, len: u32) -> RuntimeDispatchInfo<Balance> {
                TransactionPayment::query_info(uxt, len)
            }
            fn query_fee_details(uxt: <Block as BlockT>::Extrinsic, len: u32) -> FeeDetails<Balance> {
                TransactionPayment::query_fee_details(uxt, len)
            }
            fn query_weight_to_fee(weight: Weight) -> Balance {
                TransactionPayment::weight_to_fee(weight)
            }
            fn query_length_to_fee(length: u32) -> Balance {
                TransactionPayment::length_to_fee(length)
            }
        }
    }
}
