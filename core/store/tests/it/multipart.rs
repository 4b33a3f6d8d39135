//! Uploads in parts.

use bytes::Bytes;
use gw_store::{
    ByteRange, Checksum, ChecksumAlgorithm, ChecksumKind, CompleteOptions, CompletePart, CopySource, Etag,
    FinishOptions, PartNumber, PutOutcome, ReadConditions, ReadOptions, StoreErrorKind, StoreResult,
    UploadId, UploadOptions, WriteConditions,
};

use crate::assemble::Machine;
use crate::support::{Here, collect, key, kind};

fn number(number: u16) -> PartNumber {
    PartNumber::new(number).unwrap()
}

async fn begin(here: &Here, at: &str) -> UploadId {
    here.store
        .upload_create(&here.who, &here.bucket, &key(at), UploadOptions::default())
        .await
        .unwrap()
        .upload_id
}

async fn put_part(here: &Here, at: &str, upload: UploadId, part: u16, body: &[u8]) -> StoreResult<Etag> {
    let at = key(at);
    let mut writer =
        here.store.upload_put_part(&here.who, &here.bucket, &at, upload, number(part), None, None).await?;
    writer.write(Bytes::copy_from_slice(body)).await?;
    let checksum = Checksum {
        algorithm: ChecksumAlgorithm::Crc32,
        kind: ChecksumKind::FullObject,
        value: vec![part as u8; 4],
    };
    let finish = FinishOptions { content_md5: None, checksums: vec![checksum] };
    Ok(writer.finish(finish).await?.etag)
}

async fn complete(
    here: &Here,
    at: &str,
    upload: UploadId,
    parts: &[(u16, Etag)],
    options: CompleteOptions,
) -> StoreResult<PutOutcome> {
    let parts = parts
        .iter()
        .map(|(part, etag)| CompletePart { number: number(*part), etag: Some(*etag), checksums: Vec::new() })
        .collect();
    here.store.upload_complete(&here.who, &here.bucket, &key(at), upload, parts, options).await
}

#[tokio::test]
async fn parts_become_one_object_and_a_retry_answers_the_same() {
    let machine = Machine::new();
    let here = Here::new(machine.open().await, "bucket").await;
    let upload = begin(&here, "big").await;
    let (one, two) = (vec![1; 100_000], vec![2; 70_000]);
    let three = put_part(&here, "big", upload, 30, b"tail").await.unwrap();
    let second = put_part(&here, "big", upload, 7, &two).await.unwrap();
    put_part(&here, "big", upload, 1, b"replaced, by far too small").await.unwrap();
    let first = put_part(&here, "big", upload, 1, &one).await.unwrap();
    let unused = put_part(&here, "big", upload, 8, &[9; 50_000]).await.unwrap();
    assert_ne!(unused, first);
    assert_eq!(kind(here.get("big").await), StoreErrorKind::NoSuchKey);
    let usage = here.usage().await;
    assert_eq!((usage.uploads, usage.upload_bytes, usage.objects), (1, 220_004, 0));

    let page = here.store.upload_parts(&here.who, &here.bucket, &key("big"), upload, None, 2).await.unwrap();
    assert_eq!(page.parts.iter().map(|part| part.number.get()).collect::<Vec<_>>(), [1, 7]);
    let rest =
        here.store.upload_parts(&here.who, &here.bucket, &key("big"), upload, page.next, 2).await.unwrap();
    assert_eq!(rest.parts.iter().map(|part| part.number.get()).collect::<Vec<_>>(), [8, 30]);
    assert_eq!(rest.next, None);

    let list = [(1, first), (7, second), (30, three)];
    let options = CompleteOptions {
        size: Some(170_004),
        combine: Some(Box::new(|parts| {
            assert_eq!(parts.len(), 3);
            let value = parts.iter().map(|part| part.checksums[0].value[0]).collect();
            Ok(vec![Checksum { algorithm: ChecksumAlgorithm::Crc32, kind: ChecksumKind::Composite, value }])
        })),
        ..CompleteOptions::default()
    };
    let made = complete(&here, "big", upload, &list, options).await.unwrap();
    assert!(made.etag.to_string().ends_with("-3"));
    assert_eq!(made.checksums[0].value, [1, 7, 30]);
    let again = complete(&here, "big", upload, &list, CompleteOptions::default()).await.unwrap();
    assert_eq!(again, made);
    let other = complete(&here, "big", upload, &list[..2], CompleteOptions::default()).await;
    assert_eq!(kind(other), StoreErrorKind::NoSuchUpload);

    assert_eq!(here.get("big").await.unwrap(), [one.clone(), two.clone(), b"tail".to_vec()].concat());
    let options = ReadOptions { parts: true, ..ReadOptions::default() };
    let read = here.store.get(&here.who, &here.bucket, &key("big"), options).await.unwrap();
    assert_eq!(read.info().parts.len(), 3);
    let range = read.info().part_range(1).unwrap();
    assert_eq!(collect(read.body_of(range).unwrap()).await.unwrap(), two);
    assert_eq!(read.info().part_range(3), None);
    assert_eq!(collect(read.body(ByteRange::Between(99_999, 100_000)).unwrap()).await.unwrap(), [1, 2]);
    drop(read);
    let usage = here.usage().await;
    assert_eq!((usage.uploads, usage.upload_bytes, usage.bytes, usage.objects), (0, 0, 170_004, 1));
    here.delete("big").await;
    assert_eq!(machine.live_bytes(), 0);
    // Even after the object has gone, the answer stays.
    assert_eq!(complete(&here, "big", upload, &list, CompleteOptions::default()).await.unwrap(), made);
}

#[tokio::test]
async fn wrong_lists_are_refused_and_change_nothing() {
    let here = Here::new(Machine::new().open().await, "bucket").await;
    let upload = begin(&here, "k").await;
    let one = put_part(&here, "k", upload, 1, &[1; 64]).await.unwrap();
    let two = put_part(&here, "k", upload, 2, b"small").await.unwrap();
    let three = put_part(&here, "k", upload, 3, b"last").await.unwrap();
    let attempt = |parts: Vec<(u16, Etag)>, options| {
        let here = here.clone();
        async move { kind(complete(&here, "k", upload, &parts, options).await) }
    };
    let plain = CompleteOptions::default;
    assert_eq!(attempt(vec![(2, two), (1, one)], plain()).await, StoreErrorKind::InvalidPartOrder);
    assert_eq!(attempt(vec![(1, one), (1, one)], plain()).await, StoreErrorKind::InvalidPartOrder);
    assert_eq!(attempt(vec![(1, two)], plain()).await, StoreErrorKind::InvalidPart);
    assert_eq!(attempt(vec![(1, one), (9, one)], plain()).await, StoreErrorKind::InvalidPart);
    assert_eq!(attempt(vec![(1, one), (2, two), (3, three)], plain()).await, StoreErrorKind::EntityTooSmall);
    assert_eq!(attempt(vec![], plain()).await, StoreErrorKind::InvalidArgument);
    let wrong_size = CompleteOptions { size: Some(1), ..plain() };
    assert_eq!(attempt(vec![(1, one), (3, three)], wrong_size).await, StoreErrorKind::InvalidArgument);
    here.put("k", b"there").await;
    let absent = CompleteOptions { conditions: WriteConditions::absent(), ..plain() };
    assert_eq!(attempt(vec![(1, one)], absent).await, StoreErrorKind::PreconditionFailed);
    assert_eq!(here.get("k").await.unwrap(), b"there");
    // The upload is as it was.
    let made = complete(&here, "k", upload, &[(1, one), (3, three)], plain()).await.unwrap();
    assert_eq!(made.size, 68);
}

#[tokio::test]
async fn an_aborted_upload_leaves_nothing() {
    let machine = Machine::new();
    let here = Here::new(machine.open().await, "bucket").await;
    let upload = begin(&here, "k").await;
    put_part(&here, "k", upload, 1, &[1; 100_000]).await.unwrap();
    let at = key("k");
    let mut late = here
        .store
        .upload_put_part(&here.who, &here.bucket, &at, upload, number(2), None, None)
        .await
        .unwrap();
    late.write(Bytes::from_static(b"late")).await.unwrap();
    here.store.upload_abort(&here.who, &here.bucket, &at, upload).await.unwrap();
    assert_eq!(kind(late.finish(FinishOptions::default()).await), StoreErrorKind::NoSuchUpload);
    assert_eq!(kind(put_part(&here, "k", upload, 1, b"x").await), StoreErrorKind::NoSuchUpload);
    let abort = here.store.upload_abort(&here.who, &here.bucket, &at, upload).await;
    assert_eq!(kind(abort), StoreErrorKind::NoSuchUpload);
    assert_eq!(kind(UploadId::parse("what?")), StoreErrorKind::NoSuchUpload);
    assert_eq!(here.usage().await, gw_store::Usage::default());
    assert_eq!(machine.live_bytes(), 0);
}

#[tokio::test]
async fn a_large_upload_is_completed_in_one_commit_and_swept_behind_it() {
    let machine = Machine::new();
    let here = Here::new(machine.open().await, "bucket").await;
    let upload = begin(&here, "many").await;
    let mut list = Vec::new();
    for part in 1..=600 {
        let etag = put_part(&here, "many", upload, part, &[part as u8; 32]).await.unwrap();
        if part % 2 == 1 {
            list.push((part, etag));
        }
    }
    let made = complete(&here, "many", upload, &list, CompleteOptions::default()).await.unwrap();
    assert_eq!(made.size, 300 * 32);
    let body = here.get("many").await.unwrap();
    assert!(body.chunks(32).zip(&list).all(|(chunk, (part, _))| chunk == [*part as u8; 32]));
    here.delete("many").await;
    assert_eq!(machine.live_bytes(), 0);
}

#[tokio::test]
async fn parts_are_copied_by_reference_from_any_range() {
    let machine = Machine::new();
    let here = Here::new(machine.open().await, "bucket").await;
    let other = Here::new(here.store.clone(), "other").await;
    let body: Vec<u8> = (0..150_000u32).map(|at| (at % 239) as u8).collect();
    let put = here.put("from", &body).await;
    let upload = begin(&other, "k").await;
    let source = || CopySource {
        bucket: here.bucket.clone(),
        key: key("from"),
        version: None,
        conditions: ReadConditions::default(),
        customer_key: None,
    };
    let copy = |part: u16, range| {
        let other = other.clone();
        let source = source();
        async move {
            let at = key("k");
            other
                .store
                .upload_copy_part(&other.who, &other.bucket, &at, upload, number(part), (source, range), None)
                .await
        }
    };
    let one = copy(1, Some(ByteRange::Between(1000, 99_999))).await.unwrap();
    let two = copy(2, None).await.unwrap();
    assert_eq!(two.etag, put.etag);
    let far = copy(3, Some(ByteRange::From(150_000))).await;
    assert_eq!(kind(far), StoreErrorKind::InvalidRange);
    let over = copy(3, Some(ByteRange::Between(0, 150_000))).await;
    assert_eq!(kind(over), StoreErrorKind::InvalidRange);
    here.delete("from").await;
    let list = [(1, one.etag), (2, two.etag)];
    complete(&other, "k", upload, &list, CompleteOptions::default()).await.unwrap();
    assert_eq!(other.get("k").await.unwrap(), [&body[1000..100_000], &body].concat());
    other.delete("k").await;
    assert_eq!(machine.live_bytes(), 0);
}
