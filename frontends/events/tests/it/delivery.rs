//! Webhooks: at least once, in order for each key, over failures and restarts.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gw_events::{RunningEvents, SecretText, TargetConfig, TargetKind, WebhookConfig};
use gw_store::Store;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::backing::{Here, Machine};
use crate::receiver::{Received, Receiver};

pub(crate) fn quick(kind: TargetKind) -> TargetConfig {
    TargetConfig {
        pause_min: Duration::from_millis(2),
        pause_max: Duration::from_millis(10),
        ..TargetConfig::new("t", kind)
    }
}

fn webhook(receiver: &Receiver) -> TargetConfig {
    let secret = Some(SecretText::new("canary"));
    quick(TargetKind::Webhook(WebhookConfig { url: receiver.url(), secret, token: None }))
}

fn deliver(store: &Store, config: TargetConfig) -> RunningEvents {
    RunningEvents::start(store, "cess-1", vec![config]).unwrap()
}

fn taken(all: &[Received]) -> Vec<&Received> {
    all.iter().filter(|received| received.status == 200).collect()
}

#[tokio::test]
async fn each_event_comes_signed_and_in_the_order_of_its_key() {
    let machine = Machine::new();
    let here = Here::new(&machine).await;
    let mut receiver = Receiver::start(|_| 200).await;
    let running = deliver(&here.store, webhook(&receiver));
    for round in 0..5 {
        for key in ["a b", "c", "d/e"] {
            here.put(key).await;
            assert!(round < 5);
        }
    }
    let all = receiver.when(|all| all.len() == 16).await;
    assert_eq!(all.iter().filter(|received| received.key() == "-").count(), 1);
    for key in ["a+b", "c", "d/e"] {
        let of_key: Vec<_> = all.iter().filter(|received| received.key() == key).collect();
        assert_eq!(of_key.len(), 5);
        let numbers: Vec<&str> = of_key
            .iter()
            .map(|received| received.json["Records"][0]["s3"]["object"]["sequencer"].as_str().unwrap())
            .collect();
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    }
    for received in &all {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"canary").unwrap();
        mac.update(format!("{}.{}", received.header("x-cess-timestamp"), received.text).as_bytes());
        let expected = format!("v1={}", hex::encode(mac.finalize().into_bytes()));
        assert_eq!(received.header("x-cess-signature"), expected);
    }
    here.queue_becomes(|queue| queue.pending == 0 && queue.delivered == 16).await;
    assert!(receiver.connections() <= 8, "connections are used again");
    assert_eq!(running.health()[0].failures, 0);
    running.stop().await;
}

#[tokio::test]
async fn nothing_is_lost_over_a_receiver_that_is_away_and_a_restart() {
    let machine = Machine::new();
    let here = Here::new(&machine).await;
    let away = Arc::new(AtomicBool::new(true));
    let judged = Arc::clone(&away);
    let mut receiver = Receiver::start(move |_| if judged.load(Ordering::SeqCst) { 503 } else { 200 }).await;
    let running = deliver(&here.store, webhook(&receiver));
    for index in 0..40 {
        here.put(&format!("k{index}")).await;
    }
    receiver.when(|all| all.len() > 20).await;
    let health = running.health().remove(0);
    assert!(health.failures > 0 && health.last_error.unwrap().contains("503"));
    assert_eq!(here.queue().await.delivered, 0);
    running.stop().await;
    here.store.close().await.unwrap();
    drop(here);

    let here = machine.open().await;
    assert_eq!(here.queue().await.pending, 41);
    away.store(false, Ordering::SeqCst);
    let running = deliver(&here.store, webhook(&receiver));
    let all = receiver.when(|all| taken(all).len() >= 41).await;
    let keys: BTreeSet<&str> = taken(&all).into_iter().map(Received::key).collect();
    assert_eq!(keys.len(), 41);
    here.queue_becomes(|queue| queue.pending == 0).await;
    running.stop().await;
}

#[tokio::test]
async fn a_key_that_is_refused_holds_up_nobody_and_is_given_up_in_time() {
    let machine = Machine::new();
    let here = Here::new(&machine).await;
    let mut receiver =
        Receiver::start(|received| if received.key().starts_with("bad") { 400 } else { 200 }).await;
    let running = deliver(&here.store, webhook(&receiver));
    for index in 0..20 {
        here.put(&format!("bad{index}")).await;
        here.put(&format!("good{index}")).await;
    }
    here.queue_becomes(|queue| queue.delivered == 21).await;
    assert_eq!((here.queue().await.pending, here.queue().await.dead), (20, 0));
    running.stop().await;
    let hasty = TargetConfig { give_up_after: Duration::ZERO, ..webhook(&receiver) };
    let running = deliver(&here.store, hasty);
    here.queue_becomes(|queue| queue.dead == 20 && queue.pending == 0).await;
    let all = receiver.when(|_| true).await;
    let good: Vec<_> = all.iter().filter(|received| received.key().starts_with("good")).collect();
    assert_eq!(good.len(), 20, "what was taken is not told again");
    running.stop().await;
}

#[tokio::test]
async fn a_target_that_cannot_be_is_refused_at_the_start() {
    let here = Machine::new().open().await;
    let kind = TargetKind::Webhook(WebhookConfig { url: "ftp://x".to_owned(), secret: None, token: None });
    assert!(RunningEvents::start(&here.store, "cess-1", vec![quick(kind)]).is_err());
}
