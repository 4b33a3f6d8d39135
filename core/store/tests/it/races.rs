//! Many tasks at once: conditions are decided at one place.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use gw_store::{
    CompleteOptions, CompletePart, CopyOptions, CopySource, FinishOptions, PartNumber, ReadConditions,
    StoreErrorKind, UploadOptions, WriteConditions,
};

use crate::assemble::Machine;
use crate::support::{Here, key};

const TASKS: u8 = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn create_if_absent_has_exactly_one_winner() {
    let here = Here::new(Machine::new().open().await, "bucket").await;
    here.put("source", b"copied").await;
    let wins: Arc<Vec<AtomicU32>> = Arc::new((0..60).map(|_| AtomicU32::new(0)).collect());
    let mut tasks = Vec::new();
    for task in 0..TASKS {
        let (here, wins) = (here.clone(), wins.clone());
        tasks.push(tokio::spawn(async move {
            for (number, wins) in wins.iter().enumerate() {
                let at = format!("_delta_log/{number:020}.json");
                let made = match (number + usize::from(task)) % 3 {
                    0 => here.put_if(&at, &[task; 100], WriteConditions::absent()).await.map(|_| ()),
                    1 => by_copy(&here, &at).await,
                    _ => by_parts(&here, &at, task).await,
                };
                match made {
                    Ok(()) => {
                        wins.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(error) => assert_eq!(error.kind(), StoreErrorKind::PreconditionFailed),
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert!(wins.iter().all(|wins| wins.load(Ordering::Relaxed) == 1), "{wins:?}");
    assert_eq!(here.usage().await.objects, 61);
}

async fn by_copy(here: &Here, at: &str) -> gw_store::StoreResult<()> {
    let source = CopySource {
        bucket: here.bucket.clone(),
        key: key("source"),
        version: None,
        conditions: ReadConditions::default(),
        customer_key: None,
    };
    let options = CopyOptions { conditions: WriteConditions::absent(), ..CopyOptions::default() };
    here.store.copy(&here.who, source, &here.bucket, &key(at), options).await.map(|_| ())
}

async fn by_parts(here: &Here, at: &str, task: u8) -> gw_store::StoreResult<()> {
    let (store, who, bucket, at) = (&here.store, &here.who, &here.bucket, key(at));
    let upload = store.upload_create(who, bucket, &at, UploadOptions::default()).await?.upload_id;
    let number = PartNumber::new(1).unwrap();
    let mut writer = store.upload_put_part(who, bucket, &at, upload, number, None, None).await?;
    writer.write(vec![task; 50].into()).await?;
    let etag = writer.finish(FinishOptions::default()).await?.etag;
    let parts = vec![CompletePart { number, etag: Some(etag), checksums: Vec::new() }];
    let options = CompleteOptions { conditions: WriteConditions::absent(), ..CompleteOptions::default() };
    store.upload_complete(who, bucket, &at, upload, parts, options).await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn compare_and_swap_loses_no_increment() {
    let here = Here::new(Machine::new().open().await, "bucket").await;
    here.put("counter", b"0").await;
    let mut tasks = Vec::new();
    for _ in 0..TASKS {
        let here = here.clone();
        tasks.push(tokio::spawn(async move {
            let mut done = 0;
            while done < 20 {
                let read = here
                    .store
                    .get(&here.who, &here.bucket, &key("counter"), Default::default())
                    .await
                    .unwrap();
                let etag = read.info().etag;
                let body = crate::support::collect(read.body(Default::default()).unwrap()).await.unwrap();
                let count: u32 = std::str::from_utf8(&body).unwrap().parse().unwrap();
                let next = (count + 1).to_string();
                match here.put_if("counter", next.as_bytes(), WriteConditions::matches(etag)).await {
                    Ok(_) => done += 1,
                    Err(error) => assert_eq!(error.kind(), StoreErrorKind::PreconditionFailed),
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(here.get("counter").await.unwrap(), b"160");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_see_one_whole_version_while_writers_replace_it() {
    let machine = Machine::new();
    let here = Here::new(machine.open().await, "bucket").await;
    here.put("k", &[0; 30_000]).await;
    let mut tasks = Vec::new();
    for task in 1..=4u8 {
        let here = here.clone();
        tasks.push(tokio::spawn(async move {
            for _ in 0..60 {
                here.put("k", &vec![task; 30_000 + usize::from(task)]).await;
            }
        }));
    }
    for _ in 0..4 {
        let here = here.clone();
        tasks.push(tokio::spawn(async move {
            for _ in 0..150 {
                let body = here.get("k").await.unwrap();
                let first = body[0];
                assert_eq!(body.len(), 30_000 + usize::from(first));
                assert!(body.iter().all(|byte| *byte == first));
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    here.delete("k").await;
    assert_eq!(here.store.status(&here.who).await.unwrap().doomed, 0);
    assert_eq!(machine.live_bytes(), 0);
}
