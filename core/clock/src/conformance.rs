//! What every [`Clock`] promises, as a suite that panics with the promise that was broken.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::future::join_all;
use gw_types::ports::Clock;

/// Runs the suite. `step` is a duration that the clock tells apart from none; `pass` lets at least so
/// much of its time pass while the suite's own waits are polled beside it (for the system's clock:
/// sleeping).
///
/// # Panics
/// When a promise is broken.
pub async fn clock(clock: Arc<dyn Clock>, step: Duration, pass: impl AsyncFn(Duration)) {
    elapsed_never_goes_back(&*clock, step, &pass).await;
    sleeps_end_after_their_time_and_in_its_order(&*clock, step, &pass).await;
    a_dropped_sleep_ends_and_disturbs_nobody(&*clock, step, &pass).await;
    no_time_is_over_at_once(&*clock, &pass).await;
    endless_waits_do_not_end(&*clock, step, &pass).await;
}

async fn elapsed_never_goes_back(clock: &dyn Clock, step: Duration, pass: &impl AsyncFn(Duration)) {
    let mut last = clock.elapsed();
    let wall = clock.now();
    for _ in 0..4 {
        pass(step).await;
        let now = clock.elapsed();
        assert!(now >= last + step, "elapsed time runs: {now:?} is not {step:?} behind {last:?}");
        last = now;
    }
    assert!(clock.now() >= wall, "without anybody setting it the wall clock does not go back");
}

async fn sleeps_end_after_their_time_and_in_its_order(
    clock: &dyn Clock,
    step: Duration,
    pass: &impl AsyncFn(Duration),
) {
    let begin = clock.elapsed();
    let sleeps = [3, 1, 2].map(|steps| async move {
        clock.sleep(step * steps).await;
        let over = clock.elapsed() - begin;
        assert!(over >= step * steps, "a sleep of {steps} steps ended after {over:?}");
        (over, steps)
    });
    let (mut woken, ()) = futures::join!(join_all(sleeps), pass(step * 8));
    woken.sort_unstable();
    let order: Vec<u32> = woken.into_iter().map(|(_, steps)| steps).collect();
    assert_eq!(order, [1, 2, 3], "shorter sleeps end earlier");
}

async fn a_dropped_sleep_ends_and_disturbs_nobody(
    clock: &dyn Clock,
    step: Duration,
    pass: &impl AsyncFn(Duration),
) {
    let begin = clock.elapsed();
    {
        let mut dropped = pin!(clock.sleep(step));
        std::future::poll_fn(|context| {
            assert!(dropped.as_mut().poll(context).is_pending(), "a sleep is not over when it begins");
            Poll::Ready(())
        })
        .await;
    }
    let (over, ()) = futures::join!(
        async {
            clock.sleep(step * 2).await;
            clock.elapsed() - begin
        },
        pass(step * 4)
    );
    assert!(over >= step * 2, "the time of a dropped sleep is nobody else's");
}

async fn no_time_is_over_at_once(clock: &dyn Clock, pass: &impl AsyncFn(Duration)) {
    futures::join!(clock.sleep(Duration::ZERO), pass(Duration::ZERO));
}

async fn endless_waits_do_not_end(clock: &dyn Clock, step: Duration, pass: &impl AsyncFn(Duration)) {
    let mut endless = pin!(clock.sleep(Duration::MAX));
    let is_over = |polled: Poll<()>| Poll::Ready(polled.is_ready());
    assert!(!std::future::poll_fn(|context| is_over(endless.as_mut().poll(context))).await);
    pass(step * 2).await;
    let is_over = std::future::poll_fn(|context| is_over(endless.as_mut().poll(context))).await;
    assert!(!is_over, "the longest sleep of all does not end, overflow or not");
}
