//! Puts, reads, copies and deletes of single objects.

use std::time::Duration;

use bytes::Bytes;
use gw_store::{
    ByteRange, Checksum, ChecksumAlgorithm, ChecksumKind, ContentHeaders, CopyOptions, CopySource, Document,
    ErrorDetail, Etag, EtagMatch, FinishOptions, ObjectAttributes, PlacedState, PutOptions, ReadConditions,
    ReadOptions, StorageClass, StoreErrorKind, WriteConditions,
};
use gw_types::{Level, Timestamp};

use crate::assemble::Machine;
use crate::support::{Here, admin, collect, key, kind, name};

fn attributes() -> ObjectAttributes {
    ObjectAttributes {
        headers: ContentHeaders { content_type: Some("text/x".to_owned()), ..ContentHeaders::default() },
        user_metadata: vec![("colour".to_owned(), "grün".to_owned())],
        storage_class: StorageClass::StandardIa,
        documents: vec![Document { name: "opaque".to_owned(), value: b"a=b".to_vec() }],
    }
}

fn source(here: &Here, at: &str) -> CopySource {
    CopySource {
        bucket: here.bucket.clone(),
        key: key(at),
        version: None,
        conditions: ReadConditions::default(),
        customer_key: None,
    }
}

#[tokio::test]
async fn what_is_put_comes_back_with_all_that_was_said_about_it() {
    let here = Here::new(Machine::new().open().await, "bucket").await;
    let checksum = Checksum {
        algorithm: ChecksumAlgorithm::Crc32c,
        kind: ChecksumKind::FullObject,
        value: vec![1, 2, 3, 4],
    };
    let options = PutOptions { attributes: attributes(), len_hint: Some(11), ..PutOptions::default() };
    let mut writer = here.store.put(&here.who, &here.bucket, &key("d/é"), options).await.unwrap();
    for piece in ["hello", " ", "world"] {
        writer.write(Bytes::from_static(piece.as_bytes())).await.unwrap();
    }
    let finish = FinishOptions { content_md5: None, checksums: vec![checksum.clone()] };
    let put = writer.finish(finish).await.unwrap();
    assert_eq!(put.etag.to_string(), "5eb63bbbe01eeed093cb22bb8f5acdc3");
    assert_eq!((put.version_id, put.size), (None, 11));

    let read = here.store.get(&here.who, &here.bucket, &key("d/é"), ReadOptions::default()).await.unwrap();
    let info = read.info().clone();
    assert_eq!((info.size, info.etag, info.version_id), (11, put.etag, None));
    assert_eq!((&info.attributes, &info.checksums), (&attributes(), &vec![checksum]));
    assert_eq!(info.last_modified, put.last_modified);
    let part = |range| {
        let body = read.body(range);
        async { collect(body?).await.map(|bytes| String::from_utf8(bytes).unwrap()) }
    };
    assert_eq!(part(ByteRange::All).await.unwrap(), "hello world");
    assert_eq!(part(ByteRange::From(6)).await.unwrap(), "world");
    assert_eq!(part(ByteRange::Between(0, 4)).await.unwrap(), "hello");
    assert_eq!(part(ByteRange::Between(9, 900)).await.unwrap(), "ld");
    assert_eq!(part(ByteRange::Suffix(5)).await.unwrap(), "world");
    // Longer than the object: all of it, as readers of Parquet footers rely on.
    assert_eq!(part(ByteRange::Suffix(262_144)).await.unwrap(), "hello world");
    for bad in [ByteRange::From(11), ByteRange::Between(3, 2), ByteRange::Suffix(0)] {
        let error = read.body(bad).unwrap_err();
        assert_eq!(
            (error.kind(), error.detail()),
            (StoreErrorKind::InvalidRange, Some(&ErrorDetail::Len(11)))
        );
    }
    let head = here.store.head(&here.who, &here.bucket, &key("d/é"), ReadOptions::default()).await;
    assert_eq!(head.unwrap(), info);
    // A key that is only a prefix is not there.
    let prefix = here.store.head(&here.who, &here.bucket, &key("d"), ReadOptions::default()).await;
    assert_eq!(kind(prefix), StoreErrorKind::NoSuchKey);
}

#[tokio::test]
async fn keys_that_look_alike_are_all_different_objects() {
    let here = Here::new(Machine::new().open().await, "bucket").await;
    let keys = ["a", "a/", "a/b", "a//b", "a//", "/", "//", "/a", "a/./b", "a/../b", ".", "..", "a\0", "A"];
    for at in keys {
        here.put(at, at.as_bytes()).await;
    }
    for at in keys {
        assert_eq!(here.get(at).await.unwrap(), at.as_bytes(), "{at:?}");
    }
    assert_eq!(here.usage().await.objects, keys.len() as u64);
    for at in keys {
        here.delete(at).await;
        assert_eq!(kind(here.get(at).await), StoreErrorKind::NoSuchKey, "{at:?}");
    }
    here.store.bucket_delete(&here.who, &here.bucket).await.unwrap();
}

#[tokio::test]
async fn a_wrong_digest_or_length_leaves_nothing_behind() {
    let machine = Machine::new();
    let here = Here::new(machine.open().await, "bucket").await;
    let begin = |len_hint| {
        let options = PutOptions { len_hint, ..PutOptions::default() };
        here.store.put(&here.who, &here.bucket, &KEY, options)
    };
    static KEY: std::sync::LazyLock<gw_types::ObjectKey> = std::sync::LazyLock::new(|| key("k"));
    let mut writer = begin(None).await.unwrap();
    writer.write(Bytes::from_static(b"body")).await.unwrap();
    let wrong = FinishOptions { content_md5: Some([0; 16]), ..FinishOptions::default() };
    assert_eq!(kind(writer.finish(wrong).await), StoreErrorKind::BadDigest);

    let mut writer = begin(Some(5)).await.unwrap();
    writer.write(Bytes::from_static(b"body")).await.unwrap();
    assert_eq!(kind(writer.finish(FinishOptions::default()).await), StoreErrorKind::IncompleteBody);
    let mut writer = begin(Some(3)).await.unwrap();
    assert_eq!(kind(writer.write(Bytes::from_static(b"body")).await), StoreErrorKind::IncompleteBody);
    drop(writer);
    assert_eq!(kind(begin(Some(6 << 30)).await), StoreErrorKind::EntityTooLarge);
    let big = ObjectAttributes {
        user_metadata: vec![("k".to_owned(), "v".repeat(2048))],
        ..ObjectAttributes::default()
    };
    let refused = here.put_with("k", b"", PutOptions { attributes: big, ..PutOptions::default() }).await;
    assert_eq!(kind(refused), StoreErrorKind::MetadataTooLarge);

    assert_eq!(kind(here.get("k").await), StoreErrorKind::NoSuchKey);
    assert_eq!(here.usage().await, gw_store::Usage::default());
    assert_eq!(machine.live_bytes(), 0);
}

#[tokio::test]
async fn a_reader_keeps_its_bytes_while_the_object_is_replaced_and_deleted() {
    let machine = Machine::new();
    let here = Here::new(machine.open().await, "bucket").await;
    let old: Vec<u8> = (0..300_000u32).map(|at| (at % 251) as u8).collect();
    here.put("k", &old).await;
    let read = here.store.get(&here.who, &here.bucket, &key("k"), ReadOptions::default()).await.unwrap();
    here.put("k", b"new").await;
    here.delete("k").await;
    let status = here.store.status(&admin()).await.unwrap();
    assert_eq!((status.pins, status.doomed), (1, 1));
    assert_ne!(machine.live_bytes(), 0);
    let body = read.body(ByteRange::All).unwrap();
    drop(read);
    assert_eq!(collect(body).await.unwrap(), old);
    let status = here.store.status(&admin()).await.unwrap();
    assert_eq!((status.pins, status.doomed), (0, 0));
    assert_eq!(machine.live_bytes(), 0);
}

#[tokio::test]
async fn what_a_dead_reader_held_is_released_at_the_next_start() {
    let machine = Machine::new();
    let here = Here::new(machine.open().await, "bucket").await;
    here.put("k", &[7; 100_000]).await;
    let read = here.store.get(&here.who, &here.bucket, &key("k"), ReadOptions::default()).await.unwrap();
    here.delete("k").await;
    machine.kill(here.store).await;
    drop(read);
    let store = machine.open().await;
    assert_eq!(store.status(&admin()).await.unwrap().doomed, 0);
    assert_eq!(machine.live_bytes(), 0);
}

#[tokio::test]
async fn conditions_of_reads_are_judged_with_the_object_in_hand() {
    let here = Here::new(Machine::new().open().await, "bucket").await;
    let put = here.put("k", b"1").await;
    let read = |conditions| {
        let options = ReadOptions { conditions, ..ReadOptions::default() };
        let here = here.clone();
        async move { here.store.get(&here.who, &here.bucket, &key("k"), options).await }
    };
    let tag = |etag| Some(EtagMatch::OneOf(vec![etag]));
    let later = Some(Timestamp(put.last_modified.0 + 5_000_000_000));
    read(ReadConditions { if_match: tag(put.etag), ..Default::default() }).await.unwrap();
    let changed = read(ReadConditions { if_match: tag(Etag::Md5([0; 16])), ..Default::default() }).await;
    assert_eq!(kind(changed), StoreErrorKind::PreconditionFailed);
    for same in [
        ReadConditions { if_none_match: tag(put.etag), ..Default::default() },
        ReadConditions { if_modified_since: later, ..Default::default() },
    ] {
        let error = read(same).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::NotModified);
        let Some(ErrorDetail::Object(info)) = error.detail() else { panic!("no object") };
        assert_eq!(info.etag, put.etag);
    }
}

#[tokio::test]
async fn conditions_of_writes_decide_what_happens() {
    let here = Here::new(Machine::new().open().await, "bucket").await;
    let any = || WriteConditions { if_match: Some(EtagMatch::Any), ..WriteConditions::default() };
    assert_eq!(kind(here.put_if("k", b"0", any()).await), StoreErrorKind::NoSuchKey);
    let first = here.put_if("k", b"1", WriteConditions::absent()).await.unwrap();
    let again = here.put_if("k", b"2", WriteConditions::absent()).await;
    assert_eq!(kind(again), StoreErrorKind::PreconditionFailed);
    let second = here.put_if("k", b"2", WriteConditions::matches(first.etag)).await.unwrap();
    let stale = here.put_if("k", b"3", WriteConditions::matches(first.etag)).await;
    assert_eq!(kind(stale), StoreErrorKind::PreconditionFailed);
    let not_first = WriteConditions {
        if_none_match: Some(EtagMatch::OneOf(vec![first.etag])),
        ..WriteConditions::default()
    };
    here.put_if("k", b"2", not_first).await.unwrap();
    let delete = |conditions| {
        let target =
            gw_store::DeleteTarget { key: key("k"), version: None, conditions, bypass_governance: false };
        here.store.delete(&here.who, &here.bucket, target, None)
    };
    let wrong_size = WriteConditions { if_match_size: Some(2), ..WriteConditions::default() };
    assert_eq!(kind(delete(wrong_size).await), StoreErrorKind::PreconditionFailed);
    assert_eq!(kind(delete(WriteConditions::matches(first.etag)).await), StoreErrorKind::PreconditionFailed);
    delete(WriteConditions::matches(second.etag)).await.unwrap();
    assert_eq!(kind(delete(any()).await), StoreErrorKind::NoSuchKey);
    delete(WriteConditions::default()).await.unwrap();
}

#[tokio::test]
async fn copies_share_bytes_and_outlive_their_source() {
    let machine = Machine::new();
    let here = Here::new(machine.open().await, "bucket").await;
    let other = Here::new(here.store.clone(), "other").await;
    let body: Vec<u8> = (0..200_000u32).map(|at| (at % 241) as u8).collect();
    let options = PutOptions { attributes: attributes(), ..PutOptions::default() };
    let put = here.put_with("from", &body, options).await.unwrap();
    let once = machine.live_bytes();

    let copy = |to: &Here, at: &str, options| {
        let (to, at) = (to.clone(), key(at));
        let source = source(&here, "from");
        async move { to.store.copy(&to.who, source, &to.bucket, &at, options).await }
    };
    let kept = copy(&here, "same", CopyOptions::default()).await.unwrap();
    assert_eq!((kept.put.etag, kept.source_version_id), (put.etag, None));
    let headers = ContentHeaders { cache_control: Some("no-store".to_owned()), ..ContentHeaders::default() };
    let replaced = CopyOptions { metadata: Some((headers.clone(), Vec::new())), ..CopyOptions::default() };
    copy(&other, "cross", replaced).await.unwrap();
    // Onto itself, with other metadata.
    let onto = CopyOptions { metadata: Some((headers.clone(), Vec::new())), ..CopyOptions::default() };
    copy(&here, "from", onto).await.unwrap();

    here.delete("from").await;
    assert_eq!(here.get("same").await.unwrap(), body);
    assert_eq!(other.get("cross").await.unwrap(), body);
    let info =
        other.store.head(&other.who, &other.bucket, &key("cross"), ReadOptions::default()).await.unwrap();
    assert_eq!((info.attributes.headers, info.attributes.documents.len()), (headers, 0));
    let info = here.store.head(&here.who, &here.bucket, &key("same"), ReadOptions::default()).await.unwrap();
    assert_eq!(info.attributes.user_metadata, attributes().user_metadata);
    assert_eq!(info.attributes.storage_class, StorageClass::Standard);
    assert!(machine.live_bytes() >= once);
    here.delete("same").await;
    other.delete("cross").await;
    assert_eq!(machine.live_bytes(), 0);
}

#[tokio::test]
async fn copies_judge_both_ends() {
    let here = Here::new(Machine::new().open().await, "bucket").await;
    let put = here.put("from", b"1").await;
    here.put("to", b"2").await;
    let run = |conditions: ReadConditions, target: WriteConditions| {
        let source = CopySource { conditions, ..source(&here, "from") };
        let options = CopyOptions { conditions: target, ..CopyOptions::default() };
        let here = here.clone();
        async move { here.store.copy(&here.who, source, &here.bucket, &key("to"), options).await }
    };
    let same = ReadConditions { if_none_match: Some(EtagMatch::OneOf(vec![put.etag])), ..Default::default() };
    assert_eq!(kind(run(same, WriteConditions::default()).await), StoreErrorKind::PreconditionFailed);
    let taken = run(ReadConditions::default(), WriteConditions::absent()).await;
    assert_eq!(kind(taken), StoreErrorKind::PreconditionFailed);
    run(ReadConditions::default(), WriteConditions::default()).await.unwrap();
    assert_eq!(here.get("to").await.unwrap(), b"1");
    let copy = |from: &str, bucket: &str| {
        let (here, source, bucket) = (here.clone(), source(&here, from), name(bucket));
        let options = CopyOptions::default();
        async move { here.store.copy(&here.who, source, &bucket, &key("to"), options).await }
    };
    assert_eq!(kind(copy("nothing", "bucket").await), StoreErrorKind::NoSuchKey);
    assert_eq!(kind(copy("from", "nothing").await), StoreErrorKind::NoSuchBucket);
}

#[tokio::test]
async fn tags_change_without_a_new_version_and_go_with_a_copy() {
    let here = Here::versioned(Machine::new().open().await, "bucket").await;
    let put = here.put("k", b"1").await;
    let at = key("k");
    let tag = |value: &str| vec![("colour".to_owned(), value.to_owned())];
    let set = |tags: Option<Vec<gw_store::Tag>>| {
        here.store.object_tags_set(&here.who, (&here.bucket, &at), put.version_id, tags)
    };
    assert_eq!(set(Some(tag("red"))).await.unwrap(), put.version_id);
    let head = |at: &str| {
        let (here, at) = (here.clone(), key(at));
        async move { here.store.head(&here.who, &here.bucket, &at, ReadOptions::default()).await.unwrap() }
    };
    let info = head("k").await;
    assert_eq!(info.attributes.tags().unwrap(), tag("red"));
    assert_eq!((info.etag, info.last_modified), (put.etag, put.last_modified));

    let copy = |to: &'static str, tags: Option<Vec<gw_store::Tag>>| {
        let options = CopyOptions {
            wants: gw_store::ObjectWants { tags, ..Default::default() },
            ..CopyOptions::default()
        };
        let (here, source) = (here.clone(), source(&here, "k"));
        async move { here.store.copy(&here.who, source, &here.bucket, &key(to), options).await }
    };
    copy("same", None).await.unwrap();
    copy("other", Some(tag("blue"))).await.unwrap();
    assert_eq!(head("same").await.attributes.tags().unwrap(), tag("red"));
    assert_eq!(head("other").await.attributes.tags().unwrap(), tag("blue"));

    set(None).await.unwrap();
    assert!(head("k").await.attributes.tags().unwrap().is_empty());
    let many = (0..11).map(|index| (index.to_string(), String::new())).collect();
    assert_eq!(kind(set(Some(many)).await), StoreErrorKind::InvalidTag);
    let absent = key("no");
    let nothing = here.store.object_tags_set(&here.who, (&here.bucket, &absent), None, Some(tag("x")));
    assert_eq!(kind(nothing.await), StoreErrorKind::NoSuchKey);
}

#[tokio::test]
async fn a_level_that_nobody_provides_is_refused_and_never_pretended() {
    let here = Here::new(Machine::new().open().await, "bucket").await;
    let options = PutOptions { level: Some(Level::Dispersed), ..PutOptions::default() };
    let error = here.put_with("k", b"1", options).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::NoTerritory);
    assert_eq!(error.outcome(), gw_types::Outcome::Unknown);
    // It is staged all the same, as the outcome says.
    assert_eq!(here.get("k").await.unwrap(), b"1");
    assert_eq!(kind(here.store.flush(&here.who, Level::Finalized).await), StoreErrorKind::NoTerritory);
    here.store.flush(&here.who, Level::Staged).await.unwrap();
}

#[tokio::test]
async fn a_wait_for_dispersal_ends_when_its_time_is_over() {
    let machine = Machine::new();
    let store = machine.open_with_stalled_dispersal().await;
    let here = Here::new(store, "bucket").await;
    let options = PutOptions { level: Some(Level::Finalized), ..PutOptions::default() };
    let put = here.put_with("k", b"1", options);
    let error = machine.clock.run_until(put).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::NotDurable);
    assert!(error.message().contains("11 of 14 miners answer"), "{error}");
    assert!(gw_types::ports::Clock::elapsed(&machine.clock) >= Duration::from_secs(300));
    assert_eq!(here.get("k").await.unwrap(), b"1");
}

#[tokio::test]
async fn placement_covers_the_range_and_says_what_is_true() {
    let here = Here::new(Machine::new().open().await, "bucket").await;
    let put = here.put("k", &vec![3; 5_000_000]).await;
    let at = key("k");
    let range = ByteRange::Between(100, 4_999_998);
    let placement = here.store.placement(&here.who, &here.bucket, &at, None, range).await.unwrap();
    assert_eq!((placement.size, placement.etag), (5_000_000, put.etag));
    let mut next = 100;
    for placed in &placement.ranges {
        assert_eq!(placed.range.start, next);
        next = placed.range.end;
        assert_eq!((placed.state, placed.local, placed.fid), (PlacedState::Staged, true, None));
        assert!(placed.fragment.is_data() && placed.fragments.is_empty());
        // Sealed bytes are whole frames, so there are a few more of them.
        let sealed = u64::from(placed.fragment_range.end - placed.fragment_range.start);
        assert!(sealed >= placed.range.end - placed.range.start);
    }
    assert_eq!(next, 4_999_999);
    let status = here.store.status(&admin()).await.unwrap();
    assert_eq!((status.buckets.len(), status.usage.bytes), (1, 5_000_000));
    assert!(status.data.open.live_bytes > 5_000_000);
    assert_eq!((status.watermarks.staged, status.watermarks.dispersed), (put.lsn, None));
}

#[tokio::test]
async fn a_full_territory_refuses_bodies_and_nothing_else() {
    let machine = Machine::new();
    let here = Here::new(machine.open().await, "bucket").await;
    here.put("kept", b"these bytes").await;
    here.put("gone", b"those bytes").await;
    machine.set_room(Some(0));
    let refused = here.put_if("new", b"more bytes", WriteConditions::default()).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::DiskFull);
    assert_eq!(refused.outcome(), gw_types::Outcome::Definite);
    assert!(refused.message().contains("territory is full"), "{refused}");
    assert_eq!(kind(here.get("new").await), StoreErrorKind::NoSuchKey);
    here.put("empty", b"").await;
    here.delete("gone").await;
    assert_eq!(here.get("kept").await.unwrap(), b"these bytes");
    machine.set_room(Some(1 << 20));
    here.put("new", b"more bytes").await;
}
