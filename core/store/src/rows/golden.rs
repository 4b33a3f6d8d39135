//! Golden bytes of every row. A test that fails here means that data directories in use would not be
//! read any more: raise the row's version byte and read both.

use std::fmt::Debug;

use gw_data::{BodyKey, DataMap, MapBody};
use gw_types::ports::{WrappedBucketKey, WrappedDataKey};
use gw_types::{InodeId, KeyId, Level, Lsn, StreamId, Timestamp, VersionSeq};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{
    AccessKeyRow, BucketRow, CompletedRow, DentryRow, DirCounts, Directory, DoomedRow, EventRow, ExportRow,
    FileBody, IamRevisionRow, InodeBody, InodeRow, KeptRow, KmsKeyRow, Leaf, LeafKind, Lease, OrphanRow,
    OutboxRow, PartRow, PartsRow, Place, Posix, Published, SnapshotRow, Summary, SweepRow, UploadRow,
    UserRow, VersionRow, VolumeRow, WorkingRow, decode, encode,
};
use crate::api::{
    BucketSettings, Checksum, ChecksumAlgorithm, ChecksumKind, ContentHeaders, Document, Etag, EventKind,
    IamBody, IamEntity, Inventory, InventoryEvery, InventoryField, InventoryRun, InventorySeal,
    InventoryState, KeyLimits, KeyUse, ObjectAttributes, ObjectPart, PartNumber, PolicyVersion, Quota,
    StorageClass, Usage, Versioning,
};
use crate::error::StoreErrorKind;

fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(row: &T, golden: &str) {
    let bytes = encode(row);
    assert_eq!(hex::encode(&bytes), golden, "{row:?}");
    assert_eq!(&decode::<T>("golden", &bytes).unwrap(), row);
    for cut in 0..bytes.len() {
        let short = decode::<T>("golden", &bytes[..cut]);
        assert!(short.is_err_and(|error| error.kind() == StoreErrorKind::Corrupt), "cut at {cut}");
    }
}

fn data() -> DataMap {
    DataMap {
        len: 300,
        keys: vec![(KeyId(9), WrappedDataKey(vec![0xaa, 0xbb]))],
        body: MapBody::Entries(Vec::new()),
    }
}

fn checksum() -> Checksum {
    Checksum { algorithm: ChecksumAlgorithm::Crc32c, kind: ChecksumKind::FullObject, value: vec![1, 2, 3, 4] }
}

fn attributes() -> ObjectAttributes {
    ObjectAttributes {
        headers: ContentHeaders { content_type: Some("t/x".to_owned()), ..ContentHeaders::default() },
        user_metadata: vec![("k".to_owned(), "v".to_owned())],
        storage_class: StorageClass::GlacierIr,
        documents: vec![Document { name: "tags".to_owned(), value: vec![7] }],
    }
}

fn summary() -> Summary {
    Summary {
        version: VersionSeq(4096),
        null: false,
        size: 300,
        etag: Etag::Parts([0x11; 16], 3),
        committed_at: Timestamp(1_000_000_000),
        class: StorageClass::Standard,
        checksum: Some((ChecksumAlgorithm::Crc64Nvme, ChecksumKind::Composite)),
    }
}

fn inode(body: InodeBody) -> InodeRow {
    let posix = Posix {
        mode: 0o644,
        uid: 1,
        gid: 2,
        nlink: 1,
        atime: Timestamp(1),
        mtime: Timestamp(2),
        ctime: Timestamp(3),
        btime: Timestamp(-4),
    };
    let places = vec![Place { parent: InodeId(5), name: b"n".to_vec() }];
    InodeRow { bucket: InodeId(6), posix, places, xattrs: vec![(b"a".to_vec(), b"b".to_vec())], body }
}

#[test]
fn users_and_buckets() {
    let created = Timestamp(1_000_000_000);
    let row = UserRow {
        admin: true,
        created,
        access_keys: vec!["AK".to_owned()],
        quota: Quota { bytes_max: Some(500), objects_max: None },
        limits: KeyLimits { requests_per_second: Some(9), bytes_per_second: None },
    };
    check(&row, "010180a8d6b9070102414b01f40300010900");
    check(
        &AccessKeyRow {
            user: "u".to_owned(),
            of: Some("v".to_owned()),
            created,
            active: true,
            sealed_secret: vec![1, 2],
        },
        "01017501017680a8d6b90701020102",
    );
    check(&IamRevisionRow(300), "01ac02");
    let used = KeyUse { at: created, service: "s3".to_owned(), region: "r".to_owned() };
    check(&used, "0180a8d6b9070273330172");
    let entity = |body| IamEntity {
        name: "n".to_owned(),
        path: "/".to_owned(),
        id: "I".to_owned(),
        created,
        description: String::new(),
        inline: vec![("p".to_owned(), "{}".to_owned())],
        attached: vec!["a".to_owned()],
        tags: vec![("k".to_owned(), "v".to_owned())],
        body,
    };
    let head = "01016e012f014980a8d6b907000101 70027b7d01016101016b0176".replace(' ', "");
    let (access_keys, groups) = (vec!["K".to_owned()], vec!["g".to_owned()]);
    let user = IamBody::User { access_keys, groups, sessions_after: Timestamp(1) };
    check(&entity(user), &format!("{head}0001014b01016702"));
    check(&entity(IamBody::Group), &format!("{head}01"));
    let (trust, session_seconds_max) = ("{}".to_owned(), 3600);
    let role = IamBody::Role { trust, session_seconds_max, sessions_after: Timestamp(0) };
    check(&entity(role), &format!("{head}02027b7d901c00"));
    let version = PolicyVersion { number: 1, document: "{}".to_owned(), created: Timestamp(1) };
    let policy = IamBody::Policy { versions: vec![version], default: 1, updated: Timestamp(2) };
    check(&entity(policy), &format!("{head}030101027b7d020104"));
    let settings = BucketSettings {
        versioning: Versioning::Suspended,
        quota: Quota { bytes_max: Some(500), objects_max: None },
        region: "cess-1".to_owned(),
        level: Level::Dispersed,
    };
    let row = BucketRow {
        root: InodeId(4096),
        owner: "o".to_owned(),
        created,
        stream: StreamId(1),
        key: WrappedBucketKey(vec![0xcc]),
        settings,
        rules: crate::api::BucketRules::default(),
    };
    check(&row, "018020016f80a8d6b9070101cc0201f4030006636573732d3101");
    let usage = Usage { objects: 1, noncurrent: 2, markers: 3, bytes: 400, uploads: 5, upload_bytes: 6 };
    check(&usage, "0101020390030506");
}

#[test]
fn names() {
    let leaf = Leaf { inode: InodeId(4097), kind: LeafKind::File, published: Some(summary()), cookie: None };
    check(
        &DentryRow::Leaf(leaf),
        "010081200001802000ac0201111111111111111111111111111111110380a8d6b9070001020100",
    );
    check(
        &DentryRow::Leaf(Leaf { kind: LeafKind::BlockDevice, published: None, cookie: Some(9), ..leaf }),
        "0100812005000109",
    );
    let directory = Directory { inode: InodeId(3), visible: true, history: false, live: true };
    check(&DentryRow::Directory(directory), "010103010001");
    check(
        &VersionRow::Object { inode: InodeId(4097), summary: summary() },
        "01008120802000ac0201111111111111111111111111111111110380a8d6b90700010201",
    );
    check(&VersionRow::Marker { null: true, committed_at: Timestamp(2) }, "01010104");
    check(&VersionSeq(4096), "018020");
}

#[test]
fn inodes() {
    let published = Published {
        version: VersionSeq(4096),
        null: true,
        etag: Etag::Md5([0x22; 16]),
        committed_at: Timestamp(7),
        attributes: attributes(),
        checksums: vec![checksum()],
        has_parts: false,
        data: data(),
    };
    let file = FileBody { working: Some(data()), published: Some(published) };
    check(
        &inode(InodeBody::File(Box::new(file))),
        "0106a403010201020406070105016e01016101620101ac02010902aabb00000180200100222222222222222222222222222222220e0103742f7800000000000001016b0176080104746167730107010100040102030400ac02010902aabb0000",
    );
    check(
        &inode(InodeBody::Directory(DirCounts {
            entries: 3,
            visible: 2,
            history: 1,
            live: 4,
            directories: 5,
            kept: true,
            generation: 6,
        })),
        "0106a403010201020406070105016e01016101620003020104050106",
    );
    check(&inode(InodeBody::Symlink(b"to".to_vec())), "0106a403010201020406070105016e01016101620202746f");
    check(&inode(InodeBody::Special(0x0801)), "0106a403010201020406070105016e0101610162038110");
    let part = ObjectPart { number: PartNumber::new(300).unwrap(), len: 8, checksums: vec![checksum()] };
    check(&PartsRow(vec![part]), "0101ac02080101000401020304");
    assert_eq!(hex::encode(encode(&OrphanRow)), "01");
    check(&DoomedRow(vec![data()]), "0101ac02010902aabb0000");
    check(&WorkingRow { bucket: "b".to_owned() }, "010162");
    let lease = Lease { epoch: 300, holder: "h".to_owned(), since: Timestamp(1) };
    let volume = VolumeRow {
        bucket: "b".to_owned(),
        key: "k".to_owned(),
        created: Timestamp(2),
        snapshots: 3,
        lease: Some(lease),
    };
    check(&volume, "010162016b040301ac02016802");
    check(&SnapshotRow { created: Timestamp(2), data: data() }, "0104ac02010902aabb0000");
    let export = ExportRow {
        inode: InodeId(300),
        bucket: "b".to_owned(),
        key: "k".to_owned(),
        snapshot: Some("s".to_owned()),
        read_only: true,
        anyone: false,
        users: vec!["u".to_owned()],
    };
    check(&export, "01ac020162016b010173010001 0175".replace(' ', "").as_str());
}

#[test]
fn uploads() {
    let upload = UploadRow {
        created: Timestamp(1),
        initiator: "i".to_owned(),
        attributes: attributes(),
        checksum: Some((ChecksumAlgorithm::Sha256, ChecksumKind::Composite)),
        body_key: BodyKey { id: KeyId(9), wrapped: WrappedDataKey(vec![0xdd]) },
        bytes: 300,
        parts: 2,
        revision: 3,
    };
    check(&upload, "010201690103742f7800000000000001016b01760801047461677301070104010901ddac020203");
    let part = PartRow {
        etag: Etag::Md5([0x33; 16]),
        checksums: vec![checksum()],
        committed_at: Timestamp(5),
        data: data(),
    };
    check(&part, "01003333333333333333333333333333333301010004010203040aac02010902aabb0000");
    let completed = CompletedRow {
        list: [0x44; 16],
        etag: Etag::Parts([0x55; 16], 2),
        version: Some(Some(4096)),
        lsn: Lsn(9),
        size: 300,
        completed_at: Timestamp(6),
        checksums: Vec::new(),
    };
    check(
        &completed,
        "01444444444444444444444444444444440155555555555555555555555555555555020101802009ac020c00",
    );
    let mut sweep = SweepRow::default();
    for number in [1, 9, 16] {
        sweep.keep(PartNumber::new(number).unwrap());
    }
    assert!(sweep.is_kept(PartNumber::new(9).unwrap()) && !sweep.is_kept(PartNumber::new(10_000).unwrap()));
    check(&sweep, "0103020201");
}

#[test]
fn a_row_of_another_form_is_refused() {
    let mut bytes = encode(&VersionSeq(1));
    bytes[0] = 2;
    assert_eq!(decode::<VersionSeq>("golden", &bytes).unwrap_err().kind(), StoreErrorKind::Corrupt);
}

#[test]
fn events_and_their_queues() {
    let event = EventRow {
        kind: EventKind::RemovedMarker,
        rule: "r".to_owned(),
        bucket: "b".to_owned(),
        owner: "o".to_owned(),
        key: "k/1".to_owned(),
        size: Some(300),
        etag: Some(Etag::Md5([0x11; 16])),
        version: Some(None),
        at: Timestamp(7),
        who: None,
        source_ip: "::1".to_owned(),
        request_id: "X".to_owned(),
    };
    check(&event, "010501720162016f036b2f3101ac0201001111111111111111111111111111111101000e00033a3a310158");
    check(&OutboxRow { pending: 1, delivered: 300, dead: 2, dropped: 3 }, "0101ac020203");
}

#[test]
fn named_keys_and_what_is_kept() {
    check(&KmsKeyRow { created: Timestamp(7), sealed: vec![1, 2] }, "010e020102");
    check(&KeptRow(300), "01ac02");
    assert_eq!(hex::encode(super::key::kept(20_000)), "3100004e20");
}

#[test]
fn inventories() {
    let inventory = Inventory {
        id: "i".to_owned(),
        enabled: true,
        all_versions: false,
        every: InventoryEvery::Week,
        prefix: "p".to_owned(),
        fields: vec![InventoryField::Size, InventoryField::Owner],
        target: "t".to_owned(),
        target_prefix: String::new(),
        seal: InventorySeal::Kms("k".to_owned()),
    };
    check(&inventory, "01016901000101700200 0d01740002016b".replace(' ', "").as_str());
    let run = |slot| InventoryRun { slot, started: Timestamp(7) };
    let state = InventoryState {
        done: Some(Timestamp(1)),
        running: Some(run(None)),
        last: Some(run(Some(Timestamp(2)))),
    };
    check(&state, "0101020100 0e 01 0104 0e".replace(' ', "").as_str());
}
