//! The types of CESS's pallets, as the chain encodes them.
//!
//! Field names, their order and their widths are those of the spec-137 metadata (cess-protocol.md sections 1
//! and 7): a client finds them by name in our metadata, and SCALE encodes them by position, so neither may
//! change. The pallets of CESS are generic over the runtime; ours know one runtime only, so the types are plain.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::{BoundedVec, traits::ConstU32};
use scale_info::TypeInfo;
use sp_core::H256;
use sp_runtime::{AccountId32, MultiSignature};

/// An account: the 32 bytes of an sr25519 public key.
pub type AccountId = AccountId32;
/// A signature of any of the usual kinds; CESS accounts use sr25519.
pub type Signature = MultiSignature;
/// Money in planck; 10^18 planck are one CESS.
pub type Balance = u128;
/// A block's number.
pub type BlockNumber = u32;
/// How many transactions an account has sent.
pub type Nonce = u32;

/// One CESS in planck.
pub const CESS: Balance = 1_000_000_000_000_000_000;
/// The smallest balance an account may hold, in planck.
pub const EXISTENTIAL_DEPOSIT: Balance = CESS;
/// What one byte of a transaction costs, in planck (`TransactionByteFee` = one milli-cent).
pub const BYTE_FEE: Balance = 10_000_000_000_000;

/// Bytes of a GiB.
pub const GIB: u128 = 1 << 30;
/// Bytes of a TiB.
pub const TIB: u128 = 1 << 40;
/// Bytes of a fragment.
pub const FRAGMENT_SIZE: u128 = 8 << 20;
/// Fragments of a segment, and miners of a deal.
pub const FRAGMENT_COUNT: u32 = 12;
/// Territory that one segment takes, in bytes: 32 MiB of data at three times redundancy.
pub const SEGMENT_SPACE: u128 = FRAGMENT_SIZE * FRAGMENT_COUNT as u128;
/// Most segments of a file.
pub const SEGMENT_COUNT: u32 = 1000;
/// Blocks of a day at CESS's six seconds a block.
pub const ONE_DAY: BlockNumber = 14_400;
/// Blocks of an hour.
pub const ONE_HOUR: BlockNumber = 600;
/// Blocks between the freezing of a territory and its expiry: seven days.
pub const FROZEN_DAYS: BlockNumber = 7 * ONE_DAY;

const _: () = assert!(SEGMENT_SPACE == 96 << 20);
const _: () = assert!(FROZEN_DAYS == 100_800);

/// A territory's name.
pub type TerrName = BoundedVec<u8, ConstU32<63>>;
/// A miner's endpoint: a URL or host:port.
pub type EndPoint = BoundedVec<u8, ConstU32<100>>;
/// A territory's identity.
pub type TokenId = H256;
/// A pay order's identity.
pub type OrderId = BoundedVec<u8, ConstU32<32>>;
/// A libp2p peer id, or a CD2N pool id.
pub type PeerId = [u8; 38];
/// An OSS's domain or URL.
pub type Domain = BoundedVec<u8, ConstU32<50>>;
/// A miner's state, a word in ASCII.
pub type StateWord = BoundedVec<u8, ConstU32<200_000>>;

/// A SHA-256 as CESS keeps it: 64 ASCII characters of lower-case hex, not 32 bytes.
#[derive(
    Copy,
    Clone,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub struct Hash(pub [u8; 64]);

impl Hash {
    /// Whether all 64 characters are lower-case hex.
    pub fn is_lower_hex(&self) -> bool {
        self.0.iter().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
    }
}

impl core::fmt::Debug for Hash {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

macro_rules! chain_type {
    ($(#[$doc:meta])* $vis:vis struct $name:ident { $($(#[$fdoc:meta])* $field:ident: $ty:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
        $vis struct $name { $($(#[$fdoc])* pub $field: $ty,)* }
    };
    ($(#[$doc:meta])* $vis:vis enum $name:ident { $($(#[$fdoc:meta])* $variant:ident,)* }) => {
        $(#[$doc])*
        #[derive(Copy, Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
        $vis enum $name { $($(#[$fdoc])* $variant,)* }
    };
}

chain_type! {
    /// A segment in a declaration: its hash and those of its 12 fragments.
    pub struct SegmentList {
        /// SHA-256 of the padded segment.
        hash: Hash,
        /// SHA-256 of each fragment, data first.
        fragment_list: BoundedVec<Hash, ConstU32<FRAGMENT_COUNT>>,
    }
}

chain_type! {
    /// Who owns a file, under which name, in which territory.
    pub struct UserBrief {
        /// The owner.
        user: AccountId,
        /// 3 to 63 bytes.
        file_name: BoundedVec<u8, ConstU32<63>>,
        /// The territory that pays for it.
        territory_name: TerrName,
    }
}

chain_type! {
    /// One miner's report in an open deal.
    pub struct CompleteInfo {
        /// The column, 1 to 12.
        index: u8,
        /// The miner that holds it.
        miner: AccountId,
    }
}

/// The segments of a declaration.
pub type DealSegments = BoundedVec<SegmentList, ConstU32<SEGMENT_COUNT>>;

chain_type! {
    /// A declared upload that waits for its twelve reports.
    pub struct DealInfo {
        /// Bytes of the user's file, before padding.
        file_size: u128,
        /// Its segments.
        segment_list: DealSegments,
        /// The owner.
        user: UserBrief,
        /// The reports so far.
        complete_list: BoundedVec<CompleteInfo, ConstU32<FRAGMENT_COUNT>>,
    }
}

chain_type! {
    /// Where a fragment lies.
    pub struct FragmentInfo {
        /// SHA-256 of the fragment.
        hash: Hash,
        /// False while a restoral order is open.
        avail: bool,
        /// Block of the proof-of-data tag; this chain sets none.
        tag: Option<BlockNumber>,
        /// The miner that holds it.
        miner: AccountId,
    }
}

chain_type! {
    /// A stored segment.
    pub struct SegmentInfo {
        /// SHA-256 of the padded segment.
        hash: Hash,
        /// Its twelve fragments.
        fragment_list: BoundedVec<FragmentInfo, ConstU32<FRAGMENT_COUNT>>,
    }
}

chain_type! {
    /// State of a stored file.
    pub enum FileState {
        /// All fragments are placed.
        Active,
        /// Tags are being computed (unused here).
        Calculate,
        /// Fragments are missing (unused here).
        Missing,
        /// Fragments are being restored (unused here).
        Recovery,
    }
}

chain_type! {
    /// A stored file.
    pub struct FileInfo {
        /// Its segments, with the place of each fragment.
        segment_list: BoundedVec<SegmentInfo, ConstU32<SEGMENT_COUNT>>,
        /// Its owners; more than one after flash uploads.
        owner: BoundedVec<UserBrief, ConstU32<50_000>>,
        /// Bytes of the user's file, before padding.
        file_size: u128,
        /// The block that completed it.
        completion: BlockNumber,
        /// Its state.
        stat: FileState,
    }
}

chain_type! {
    /// An account's view of one of its files.
    pub struct UserFileSliceInfo {
        /// The territory it lies in.
        territory_name: TerrName,
        /// The file.
        file_hash: Hash,
        /// The territory it takes, in bytes (not the file's length).
        file_size: u128,
    }
}

chain_type! {
    /// Public parameters of a miner's idle-space proof.
    pub struct PoISKey {
        /// Generator.
        g: [u8; 256],
        /// Modulus.
        n: [u8; 256],
    }
}

chain_type! {
    /// A miner's idle-space proof; this chain keeps none.
    pub struct SpaceProofInfo {
        /// The miner.
        miner: AccountId,
        /// First idle file.
        front: u64,
        /// Last idle file.
        rear: u64,
        /// Its key.
        pois_key: PoISKey,
        /// The accumulator.
        accumulator: [u8; 256],
    }
}

/// The filter of a miner's service fragments; this chain leaves it empty.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct BloomFilter(pub [u64; 256]);

chain_type! {
    /// A storage miner. Spaces are bytes.
    pub struct MinerInfo {
        /// Who gets its rewards.
        beneficiary: AccountId,
        /// Who pays its collateral.
        staking_account: AccountId,
        /// Where it serves fragments.
        endpoint: EndPoint,
        /// Collateral in planck.
        collaterals: Balance,
        /// What it owes in planck.
        debt: Balance,
        /// `positive`, `lock`, ...
        state: StateWord,
        /// What it promised to hold.
        declaration_space: u128,
        /// Free.
        idle_space: u128,
        /// Held for completed files.
        service_space: u128,
        /// Held for open deals.
        lock_space: u128,
        /// Its idle-space proof; none here.
        space_proof_info: Option<SpaceProofInfo>,
        /// Filter of its service fragments; empty here.
        service_bloom_filter: BloomFilter,
        /// The enclave's signature over its key; zero here.
        tee_signature: [u8; 64],
    }
}

chain_type! {
    /// When an account last drew from the faucet.
    pub struct FaucetRecord {
        /// The block.
        last_claim_time: BlockNumber,
    }
}

chain_type! {
    /// State of a territory.
    pub enum TerritoryState {
        /// Paid for.
        Active,
        /// Past its deadline: readable, not writable, may be renewed.
        Frozen,
        /// Seven days later: its files are removed, its space is free again.
        Expired,
        /// For sale (unused here).
        OnConsignment,
    }
}

chain_type! {
    /// A rented territory. Spaces are bytes, times are blocks.
    pub struct TerritoryInfo {
        /// Its identity.
        token: TokenId,
        /// What was bought.
        total_space: u128,
        /// Taken by stored files.
        used_space: u128,
        /// Taken by open deals.
        locked_space: u128,
        /// Free.
        remaining_space: u128,
        /// Since when.
        start: BlockNumber,
        /// Until when.
        deadline: BlockNumber,
        /// Its state.
        state: TerritoryState,
    }
}

chain_type! {
    /// What a pay order is for.
    pub enum OrderType {
        /// A new territory.
        Buy,
        /// More space.
        Expansion,
        /// More time.
        Renewal,
    }
}

chain_type! {
    /// An order that somebody else may pay.
    pub struct OrderInfo {
        /// The territory.
        territory_name: TerrName,
        /// The price in planck.
        pay: Balance,
        /// GiB.
        gib_count: u32,
        /// Days.
        days: u32,
        /// The block after which it cannot be paid.
        expired: BlockNumber,
        /// Whose territory it is.
        target_acc: AccountId,
        /// What it is for.
        order_type: OrderType,
    }
}

chain_type! {
    /// A registered OSS (a gateway).
    pub struct OssInfo {
        /// Its peer id.
        peer_id: PeerId,
        /// Its domain.
        domain: Domain,
    }
}

chain_type! {
    /// What a user signs to authorise a gateway without paying a fee.
    pub struct ProxyAuthPayload {
        /// The gateway.
        oss: AccountId,
        /// The block it is dated.
        exp: BlockNumber,
    }
}
